"""Runs tests/native/test_crash_states over all its workloads, side by side, and makes one table of what they found.

    python tests/native/crash_states.py PROGRAM --states 50000
    python tests/native/crash_states.py PROGRAM --states 500000 --evidence docs/evidence/crash-states.txt

A workload is done when `--states` distinct disks of it were opened and found sound, and twice as many when those of
interrupted recoveries are counted in and what lies past the recovered tails is not. The exit status is 0 only if every
promise held on every disk.
"""

import argparse
import os
import platform
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

TEST = "no_crash_state_breaks_a_promise"
HEAD = ("workload", "seeds", "operations", "cuts", "tried", "distinct", "recoveries cut", "theirs", "normalised", "broken")


@dataclass(frozen=True)
class Row:
    """What one workload found; the fields after its name are columns of the program's own table."""

    name: str
    seeds: int
    operations: int
    cuts: int
    tried: int
    distinct: int
    recoveries: int
    theirs: int
    normalised: int
    broken: int

    @property
    def disks(self) -> int:
        return self.distinct + self.theirs


@dataclass
class Progress:
    """A line on a terminal that says how many disks were seen so far; on anything else nothing."""

    began: float = field(default_factory=time.monotonic)
    disks: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, disks: int) -> None:
        with self.lock:
            self.disks[name] = disks
            if sys.stderr.isatty():
                seconds = time.monotonic() - self.began
                print(f"\r{sum(self.disks.values()):>12,} disks, {seconds:.0f} s", end="", file=sys.stderr, flush=True)


def run(program: Path, name: str, states: int, seed: int, progress: Progress) -> Row | str:
    """The row of one workload, or all that the program said where there is none."""
    env = {**os.environ, "AEGIS_CRASH_STATES": str(states), "AEGIS_CRASH_WORKLOAD": name, "AEGIS_CRASH_SEED": str(seed)}
    said, row = [], None
    env["AEGIS_CRASH_PROGRESS"] = "1"
    with subprocess.Popen([program, TEST], env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("progress "):
                progress.add(name, int(line.split()[1]))
            elif line.startswith(f"    {name} "):
                row = Row(name, *map(int, line.split()[-9:]))
                progress.add(name, row.disks)
            else:
                said.append(line)
    if process.returncode == 0 and row is not None:
        return row
    return f"{name}: exit status {process.returncode}\n{''.join(said)}"


def table(rows: list[Row]) -> str:
    total = Row("all", *(sum(column) for column in zip(*(astuple(row)[1:] for row in rows), strict=True)))
    lines = [HEAD, *([f"{cell:,}" if isinstance(cell, int) else cell for cell in astuple(row)] for row in [*rows, total])]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    formats = [f"{{:{'<' if i == 0 else '>'}{width}}}" for i, width in enumerate(widths)]
    return "\n".join("  ".join(form.format(cell) for form, cell in zip(formats, line, strict=True)) for line in lines)


def summary(rows: list[Row], seconds: float, cpu_seconds: float, seed: int, states: int) -> str:
    disks, normal = sum(row.disks for row in rows), sum(row.normalised for row in rows)
    described = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    system = f"{platform.system()} {platform.release()}, {os.cpu_count()} processors"
    return f"""\
{disks:,} distinct disks that a power cut may leave; {normal:,} where bytes past the recovered tails do not count.
No promise was broken on any.

commit {described.stdout.strip() or "unknown"}, {datetime.now(UTC):%Y-%m-%d}
{system}
python tests/native/crash_states.py build/native/plain/test_crash_states --states {states} --seed {seed}
{seconds:.0f} s; {cpu_seconds:.0f} s of processor time, {cpu_seconds / disks * 1e6:.0f} µs a disk

{table(rows)}

tried: choices of what reached the disk. distinct: different disks after a cut in the workload. recoveries cut: of how many of
these the recovery was recorded and cut in turn; theirs: different disks after that which were not among the others.
normalised: different disks of both kinds, with nothing past the tails that recovery finds.
On each disk: opened twice and compared byte by byte; every record, every root, verified, the catalogue; heads that were
given out; another group, and opened again. On one in 8: opened by a reader first.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("--states", type=int, default=50_000, help="distinct disks of each workload")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--evidence", type=Path, help="write the summary to this file, too")
    options = parser.parse_args()
    program = options.program.resolve()
    asking = {**os.environ, "AEGIS_CRASH_WORKLOAD": "?"}
    asked = subprocess.run([program, TEST], env=asking, capture_output=True, text=True, check=True).stdout
    names = [line.removeprefix("workload ") for line in asked.splitlines() if line.startswith("workload ")]
    progress = Progress()
    with ThreadPoolExecutor(options.jobs) as pool:
        found = list(pool.map(lambda name: run(program, name, options.states, options.seed, progress), names))
    if sys.stderr.isatty():
        print(file=sys.stderr)
    rows = [row for row in found if isinstance(row, Row)]
    for failure in found:
        if isinstance(failure, str):
            print(failure)
    if not rows or len(rows) < len(found):
        return 1
    times = os.times()
    seconds, cpu_seconds = time.monotonic() - progress.began, times.children_user + times.children_system
    text = summary(rows, seconds, cpu_seconds, options.seed, options.states)
    print(text)
    if options.evidence is not None:
        options.evidence.parent.mkdir(parents=True, exist_ok=True)
        options.evidence.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
