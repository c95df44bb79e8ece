"""Runs the fuzz targets and says in a table what came of it.

    run.py … ci                  RUNS of each target, from the seed SEED: the same inputs every time
    run.py … long --seconds N    N seconds of each target; what it finds is kept in BUILD/new for `merge`
    run.py … planted             each target against the bug that was planted in its decoder, PLANTED_RUNS at most
    run.py … merge               the smallest set of BUILD/new and the corpus that covers what both cover becomes the corpus

tests/fuzz/Makefile builds what this starts. A finding ends with exit code 1; its input is in BUILD/findings.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

SEED = 1
#: Runs of each target in CI: what a few seconds of one core are worth, under the sanitizers.
RUNS = {
    "frame": 60_000,
    "segment": 12_000,
    "footer": 12_000,
    "manifest": 20_000,
    "tile": 500,
    "proof": 20_000,
    "outline": 20_000,
    "chains": 60_000,
    "delta": 40_000,
    "store": 500,
}
#: Within how many runs a planted bug has to be found.
PLANTED_RUNS = 500_000
#: The sources that a target is about: whose edges are counted.
DECODERS = {
    "frame": ["frame"],
    "segment": ["segment", "scan", "frame"],
    "footer": ["footer"],
    "manifest": ["manifest"],
    "tile": ["tree", "merkle"],
    "proof": ["merkle"],
    "outline": ["outline"],
    "chains": ["chains"],
    "delta": ["delta"],
    "store": ["store", "recover", "rebuild", "log", "verify", "commit", "lockfile", "compact", "unlisted"],
}
#: Larger inputs say nothing that smaller ones don't; the corpus holds none.
INPUT_MAX = 4096
CORPUS_FILES_MAX = 40


class Outcome(NamedTuple):
    target: str
    runs: int
    seconds: float
    edges: int
    lines: str
    found: str

    @property
    def a_second(self) -> int:
        return round(self.runs / self.seconds) if self.seconds else 0


def number(pattern: str, text: str) -> int:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def decoder_edges(target: str, text: str) -> int:
    """Covered edges of the functions in the target's decoder, from -print_coverage=1; 0 without a symbolizer (llvm-symbolizer).

    How many there are says little: each check of the sanitizers has an edge for its failure, too.
    """
    files = tuple(f"native/src/{name}.c" for name in DECODERS[target])
    found = re.findall(r"^COVERED_FUNC: hits: \d+ edges: (\d+)/\d+ \S+ (\S+?):\d+", text, re.MULTILINE)
    return sum(int(edges) for edges, place in found if place.endswith(files))


def decoder_lines(target: str, args: argparse.Namespace) -> str:
    """How many lines of the decoder the corpus and what was found since run, by gcov, as "97 % of 80"."""
    build = args.build / "coverage"
    if not (build / target).exists():
        return "-"
    for counts in build.rglob("*.gcda"):
        counts.unlink()
    folders = [folder for folder in (args.corpus / target, args.build / "new" / target) if folder.is_dir()]
    subprocess.run([str(build / target), *map(str, folders)], capture_output=True, check=True)
    objects = [str(build / "native" / "src" / f"{name}.gcda") for name in DECODERS[target]]
    text = subprocess.run(["gcov", "-n", *objects], capture_output=True, text=True, check=True).stdout
    pattern = r"^File '\S*native/src/(\w+)\.c'\nLines executed:([\d.]+)% of (\d+)$"
    shares = [(float(share) / 100 * int(of), int(of)) for name, share, of in re.findall(pattern, text, re.MULTILINE)]
    lines = sum(of for _, of in shares)
    return f"{sum(run for run, _ in shares) * 100 / lines:.1f} % of {lines}" if lines else "-"


def fuzz(program: Path, options: list[str], folders: list[Path], findings: Path) -> tuple[int, str, float]:
    """Exit code, output and seconds of one libFuzzer run."""
    findings.mkdir(parents=True, exist_ok=True)
    command = [
        str(program), f"-seed={SEED}", f"-max_len={INPUT_MAX}", "-print_final_stats=1", "-rss_limit_mb=2048", "-timeout=20",
        f"-artifact_prefix={findings}/{program.name}-", *options, *map(str, folders),
    ]  # fmt: skip
    # Debian's llvm-14 has the symbolizer under this name alone.
    symbolizer = shutil.which("llvm-symbolizer") or shutil.which("llvm-symbolizer-14")
    environment = os.environ | ({"ASAN_SYMBOLIZER_PATH": symbolizer} if symbolizer else {})
    begin = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    return done.returncode, done.stdout + done.stderr, time.monotonic() - begin


def search(target: str, args: argparse.Namespace, limits: list[str], keep: bool) -> Outcome:
    new = args.build / "new" / target
    with tempfile.TemporaryDirectory() as scratch:
        # libFuzzer writes to the first folder: never to the corpus of the repository.
        first = new if keep else Path(scratch)
        first.mkdir(parents=True, exist_ok=True)
        options = [*limits, "-print_coverage=1"]
        code, text, seconds = fuzz(
            args.build / "fuzz" / target, options, [first, args.corpus / target], args.build / "findings"
        )
    edges = decoder_edges(target, text)
    found = "" if code == 0 else finding(text) or f"exit code {code}"
    return Outcome(target, number(r"number_of_executed_units: (\d+)", text), seconds, edges, "-", found)


def finding(text: str) -> str:
    """What a demand, a sanitizer or libFuzzer said, without folders."""
    for pattern in (r"^.*does not hold: .*$", r"^.*: runtime error: .*$", r"^SUMMARY: (.*)$"):
        if found := re.search(pattern, text, re.MULTILINE):
            return re.sub(r"(?<!\S)/\S*/", "", found[found.lastindex or 0])
    return ""


def table(outcomes: list[Outcome], corpus: Path) -> None:
    print(f"{'target':10} {'executions':>12} {'exec/s':>8} {'edges':>7} {'lines of the decoder':>21} {'corpus':>7}  finding")
    for each in outcomes:
        files = len(list((corpus / each.target).iterdir()))
        edges = each.edges or "-"
        print(
            f"{each.target:10} {each.runs:12,} {each.a_second:8,} {edges:>7} {each.lines:>21} {files:7}  {each.found or 'none'}"
        )


def searches(args: argparse.Namespace) -> int:
    keep = args.what == "long"

    def one(target: str) -> Outcome:
        return search(target, args, [f"-max_total_time={args.seconds}"] if keep else [f"-runs={RUNS[target]}"], keep)

    # The longest first, so that two cores end together.
    order = sorted(args.targets, key=lambda target: RUNS[target])
    with ThreadPoolExecutor(args.jobs) as pool:
        outcomes = sorted(pool.map(one, order))
    if keep:
        outcomes = [each._replace(lines=decoder_lines(each.target, args)) for each in outcomes]
    table(outcomes, args.corpus)
    bad = [each for each in outcomes if each.found]
    for each in bad:
        print(f"{each.target}: {each.found}")
    if bad:
        print(f"the inputs are in {args.build / 'findings'}: mend the decoder, and keep the input as a corpus file")
    return 1 if bad else 0


def planted(args: argparse.Namespace) -> int:
    source = Path(__file__).parent

    def one(target: str) -> tuple[str, str, int, str]:
        bug = re.search(r"^FUZZ_WITHOUT\((\w+)\)", (source / f"fuzz_{target}.c").read_text(), re.MULTILINE)
        assert bug is not None, f"fuzz_{target}.c plants nothing"
        with tempfile.TemporaryDirectory() as scratch:
            _, text, _ = fuzz(
                args.build / "planted" / target, [f"-runs={PLANTED_RUNS}"], [Path(scratch), args.corpus / target], Path(scratch)
            )
        return target, bug[1], number(r"number_of_executed_units: (\d+)", text), finding(text)

    with ThreadPoolExecutor(args.jobs) as pool:
        rows = list(pool.map(one, args.targets))
    print(f"{'target':10} {'planted':18} {'executions until found':>23}  by")
    for target, bug, runs, said in rows:
        print(f"{target:10} {bug:18} {format(runs, ',') if said else 'NOT FOUND':>23}  {said[:90]}")
    return 0 if all(said for *_, said in rows) else 1


def merge(args: argparse.Namespace) -> int:
    for target in args.targets:
        corpus, new = args.corpus / target, args.build / "new" / target
        new.mkdir(parents=True, exist_ok=True)
        kept_by_hand = [file for file in corpus.iterdir() if not re.fullmatch(r"[0-9a-f]{40}", file.name)]
        with tempfile.TemporaryDirectory() as scratch:
            merged = Path(scratch) / "merged"
            merged.mkdir()
            subprocess.run(
                [str(args.build / "fuzz" / target), "-merge=1", f"-max_len={INPUT_MAX}", str(merged), str(corpus), str(new)],
                capture_output=True, check=True,
            )  # fmt: skip
            # Of those that cover something, the smallest: a larger one differs mostly in how often.
            files = sorted(merged.iterdir(), key=lambda file: (file.stat().st_size, file.name))
            for file in corpus.iterdir():
                if file not in kept_by_hand:
                    file.unlink()
            for file in choose(args.build / "fuzz" / target, kept_by_hand, files):
                shutil.copy(file, corpus / file.name)
        print(f"{target}: {len(files)} inputs cover what was found; the corpus has {len(list(corpus.iterdir()))}")
    return 0


def choose(program: Path, kept: list[Path], files: list[Path]) -> list[Path]:
    """As many of the files as there is room for; the first choice of libFuzzer goes by edges alone where there are too many."""
    room = CORPUS_FILES_MAX - len(kept)
    if len(files) <= room:
        return files
    with tempfile.TemporaryDirectory() as scratch:
        few, all_of_them = Path(scratch) / "few", Path(scratch) / "all"
        few.mkdir()
        all_of_them.mkdir()
        for file in files:
            shutil.copy(file, all_of_them)
        # A set cover of the edges, without how often each was taken.
        subprocess.run(
            [str(program), "-set_cover_merge=1", "-use_counters=0", f"-max_len={INPUT_MAX}", str(few), str(all_of_them)],
            capture_output=True, check=True,
        )  # fmt: skip
        names = {file.name for file in few.iterdir()}
    return [file for file in files if file.name in names][:room]


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the fuzz targets; tests/fuzz/Makefile says how.")
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--targets", type=str.split, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("what", choices=["ci", "long", "planted", "merge"])
    args = parser.parse_args()
    return {"planted": planted, "merge": merge}.get(args.what, searches)(args)


if __name__ == "__main__":
    sys.exit(main())
