"""python -m bench [NAME …] [--quick] [--place FOLDER] [--sessions FILE]

Runs the workloads, shows their figures and writes results/NAME.json; with --quick, which only shows that everything works, it
writes nothing unless told where. The disk that holds --place is the one that is measured.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
# Last, and nowhere else: the installed aegis_store is measured, not the source tree, which has no extension anyway.
sys.path[:] = [*(each for each in sys.path if Path(each or ".").resolve() not in (TOP, TOP / "bench")), str(TOP)]

from rich.console import Console  # noqa: E402 - after the line above, as all below

from bench import checkpoint, commit_1, commit_n, footprint, results, sessions  # noqa: E402
from bench.workload import Run, Workload, open_engine  # noqa: E402

WORKLOADS = [module.WORKLOAD for module in (commit_1, commit_n, checkpoint, footprint, sessions)]
ROUNDS, SECONDS = 15, 0.5
ROUNDS_QUICK, SECONDS_QUICK = 3, 0.1
#: Of tables that go to a file.
WIDTH = 128


def main(arguments: list[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    chosen = [each for each in WORKLOADS if not given.names or each.name in given.names]
    for workload in chosen:
        with tempfile.TemporaryDirectory(prefix=".aegis-bench-", dir=given.place) as place:
            result = _run(workload, Path(place), given, console)
        results.show(result, console)
        if given.results or not given.quick:
            path = results.write(result, given.results or results.RESULTS)
            console.print(f"[dim]  written to {path}[/]\n", highlight=False)
    return 0


def _run(workload: Workload, place: Path, given: argparse.Namespace, console: Console) -> results.Result:
    load = os.getloadavg()[0]
    with open_engine(place / "describe") as engine:
        described = engine.describe()
    with console.status(workload.name) as status:
        how = Run(
            place=place,
            quick=given.quick,
            rounds=given.rounds or (ROUNDS_QUICK if given.quick else ROUNDS),
            seconds=given.seconds or (SECONDS_QUICK if given.quick else SECONDS),
            sessions=given.sessions,
            say=lambda what: status.update(f"{workload.name}: {what}"),
        )
        outcome = workload.run(how)
    return results.Result(
        name=workload.name,
        promise=workload.promise,
        quick=given.quick,
        facts=results.facts(place, described, load),
        outcome=outcome,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures aegis-store beside its peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *(each.name for each in WORKLOADS)],
                        help=f"which ones: {', '.join(each.name for each in WORKLOADS)}; all if none is given")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="short rounds, few of them: figures mean little")
    parser.add_argument("--place", type=Path, default=Path(), help="a folder on the disk to measure (default: here)")
    parser.add_argument("--sessions", type=Path, help="recorded sessions, JSON lines, .zst or not")
    parser.add_argument("--results", type=Path, help="where NAME.json goes (default: bench/results; nowhere with --quick)")
    parser.add_argument("--rounds", type=int, help=f"rounds after the first, which does not count (default: {ROUNDS})")
    parser.add_argument("--seconds", type=float, help=f"of each side in each round (default: {SECONDS})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
