"""Which branches of the C core no test takes, held against tests/native/uncovered.txt, where each is named with a reason.

    coverage.py FOLDER            the table, and what differs from the list; exit status 1 where too many branches are not taken
    coverage.py FOLDER --strict   the same; exit status 1 where anything differs from the list
    coverage.py FOLDER --write    the list as it would be, with the reasons that are there, to standard output

FOLDER holds what `make -C tests/native check COVERAGE=1` left. A branch is named by file, function and text of its line, not
by the line's number, so that the list stands when other lines move. An entry is two lines:

    native/src/log.c log_init 2: why no test takes these two branches
        if (l->segments == NULL) return fail(AEGIS_E_NOMEM, "no memory");
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

TOP = Path(__file__).resolve().parents[2]
LISTING = TOP / "tests" / "native" / "uncovered.txt"
#: The reason of what waits for a test. Their number is shown, to be seen going down.
WAITING = "not covered yet"
#: What fails without --strict: which branches threads take differs a little from run to run.
LEAST_PERCENT = 90
#: A reason that starts so belongs to a branch that threads take or do not: it may be taken in one run and not in the next.
RACE = "race"


class Spot(NamedTuple):
    """A line with branches."""

    file: str
    function: str
    text: str


class Entry(NamedTuple):
    """How many branches of a line are not taken, and why."""

    count: int
    reason: str


def measure(folder: Path) -> list[dict[str, Any]]:
    """What gcovr finds of each file of the core; the simulated machine is a part of the tests."""
    with tempfile.TemporaryDirectory() as made:
        report = Path(made, "coverage.json")
        command = [sys.executable, "-m", "gcovr", "--root", str(TOP), "--object-directory", str(folder), "--json", str(report)]
        # What gcovr calls suspicious are the true counts of the hashes.
        command += ["--gcov-ignore-parse-errors=suspicious_hits.warn_once_per_file", "--filter", "native/src/"]
        subprocess.run([*command, "--exclude", ".*vfs_sim.*", str(folder)], check=True, cwd=TOP)
        found: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["files"]
    return found


def branches(line: dict[str, Any]) -> list[bool]:
    """Of a line, whether each of its branches was taken."""
    return [branch["count"] > 0 for branch in line.get("branches", ())]


def not_taken(files: list[dict[str, Any]]) -> Counter[Spot]:
    """Branches that nothing took, by spot; what a line has twice in a function counts together."""
    spots: Counter[Spot] = Counter()
    for file in files:
        lines = (TOP / file["file"]).read_text(encoding="utf-8").splitlines()
        for line in file["lines"]:
            missed = branches(line).count(False)
            if missed:
                text = " ".join(lines[line["line_number"] - 1].split())
                spots[Spot(file["file"], line.get("function_name", "-"), text)] += missed
    return spots


def parse(text: str) -> dict[Spot, Entry]:
    """The list. ValueError for a line that is no part of an entry."""
    entries: dict[Spot, Entry] = {}
    head: list[str] | None = None
    reason = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if head is None:
            left, colon, reason = line.partition(": ")
            head = left.split()
            if not colon or not reason.strip() or len(head) != 3:
                raise ValueError(f"{LISTING.name}:{number}: not `file function count: reason`")
            continue
        if not line.startswith("    "):
            raise ValueError(f"{LISTING.name}:{number}: the text of the line is missing")
        entries[Spot(head[0], head[1], line.strip())] = Entry(int(head[2]), reason.strip())
        head = None
    return entries


def differences(found: Counter[Spot], listed: dict[Spot, Entry]) -> list[str]:
    """What the list does not name, and what it names that is taken now."""
    said = []
    for spot, count in found.items():
        entry = listed.get(spot, Entry(0, ""))
        if count > entry.count:
            said.append(f"{spot.file}: {spot.function}: {count - entry.count} not taken and not named:\n    {spot.text}")
    for spot, entry in listed.items():
        if found[spot] < entry.count and not entry.reason.startswith(RACE):
            said.append(
                f"{spot.file}: {spot.function}: {entry.count - found[spot]} named and taken; shorten the list:\n    {spot.text}"
            )
    return said


def listing(found: Counter[Spot], listed: dict[Spot, Entry]) -> str:
    """The list as it would be: reasons are kept, what is new waits for a test."""
    lines = []
    for spot, count in found.items():
        reason = listed[spot].reason if spot in listed else WAITING
        lines += [f"{spot.file} {spot.function} {count}: {reason}", f"    {spot.text}"]
    return "\n".join(lines) + "\n"


def table(files: list[dict[str, Any]]) -> str:
    """Lines and branches of each file."""
    rows = []
    whole = {"file": "all", "lines": [line for file in files for line in file["lines"]]}
    for one in [*files, whole]:
        lines = [line["count"] > 0 for line in one["lines"]]
        taken = [each for line in one["lines"] for each in branches(line)]
        parts = (f"{sum(each):>6} of {len(each):>5} {100 * sum(each) / max(len(each), 1):>6.1f} %" for each in (lines, taken))
        rows.append(f"{one['file']:<34}" + "   ".join(parts))
    return "\n".join([f"{'':<34}{'lines':>24}   {'branches':>24}", *rows])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true", help="print the list as it would be")
    parser.add_argument("--strict", action="store_true", help="fail for every difference between the list and what was found")
    asked = parser.parse_args()
    files = measure(asked.folder.resolve())
    found = not_taken(files)
    listed = parse(LISTING.read_text(encoding="utf-8")) if LISTING.exists() else {}
    if asked.write:
        head = (
            [line for line in LISTING.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
            if LISTING.exists()
            else []
        )
        sys.stdout.write("\n".join([*head, listing(found, listed)]))
        return 0
    said = differences(found, listed)
    total = sum(len(branches(line)) for file in files for line in file["lines"])
    share = 100 - 100 * found.total() / total
    waiting = sum(entry.count for entry in listed.values() if entry.reason.startswith(WAITING))
    named = sum(entry.count for entry in listed.values()) - waiting
    sys.stdout.write(f"{table(files)}\n\nnot taken: {found.total()}; {named} with a reason, {waiting} wait for a test\n")
    sys.stdout.write("".join(f"{each}\n" for each in said))
    return 1 if share < LEAST_PERCENT or (asked.strict and said) else 0


if __name__ == "__main__":
    sys.exit(main())
