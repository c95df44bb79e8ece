"""`aegis bench`: the workloads on the user's own disk, each beside its peers in the same run; a table, and a picture if wanted.

Folders for stores are made below --dir, which says which disk is measured, and are removed at the end, after Ctrl-C too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aegis_store.cli.outcome import guarded
from aegis_store.cli.output import answers, emit, line, problems, shown
from aegis_store.errors import InvalidArgument

if TYPE_CHECKING:
    from rich.console import Console

    from aegis_store.bench.results import Result
    from aegis_store.bench.suite import Asked
    from aegis_store.bench.workload import Workload


@guarded
def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORKLOAD",
            help="checkpoint, langgraph, large, commit-1, commit-n, bytes, compact, resume, workflows, verify, overhead, "
            "footprint; else all.",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small and short, within a minute: figures mean little.")] = False,
    place: Annotated[
        Path, typer.Option("--dir", metavar="PATH", help="A folder on the disk to measure.", show_default="here")
    ] = Path(),
    sessions: Annotated[
        Path | None,
        typer.Option("--sessions", metavar="FILE", help="Recorded sessions, JSON lines, .zst or not; else made-up ones."),
    ] = None,
    records: Annotated[
        int | None,
        typer.Option(
            "--records", min=100, metavar="N", help="Records of resume, verify and compact, where the usual are too many."
        ),
    ] = None,
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, metavar="N", help="Rounds that count.")] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=0.01, metavar="S", help="Time of each side in each round.")
    ] = None,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Draw the ratios there.")] = None,
    keep: Annotated[
        Path | None, typer.Option("--results", metavar="DIR", help="Keep raw results there, a JSON file a workload.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All results as one JSON object, and no table.")] = False,
) -> None:
    """Measure this disk, beside other stores.

    SQLite, LMDB, RocksDB and LangGraph's savers do the same work in the same run. They come with:

    pip install "aegis-store[bench]"

    Whoever is missing is named and left out.
    """
    from aegis_store.bench import picture, results, suite, table

    chosen = _chosen(names or [])
    asked = suite.Asked(place=place, quick=quick, rounds=rounds, seconds=seconds, sessions=sessions, records=records)
    _check_places(place, sessions, svg)
    console, said = answers(), problems()
    if not console.is_terminal:
        console.width = table.WIDTH
    if results.keeps_nothing(results.file_system_of(place.resolve())):
        line(said, f"aegis: {shown(place)} is in memory, where a sync costs nothing", "bold yellow")
        line(said, "  the figures say nothing about a disk; name a folder on one:  aegis bench --dir PATH")
    done = []
    for workload in chosen:
        result = _run(workload, asked, said)
        done.append(result)
        if not as_json:
            table.show(result, console)
        if keep is not None:
            results.write(result, keep)
    if svg is not None:
        svg.write_text(picture.draw(done), encoding="utf-8")
        line(said, f"the picture is in {shown(svg)}")
    if as_json:
        emit({"ok": True, "results": done})


def _chosen(names: list[str]) -> list[Workload]:
    from aegis_store.bench import suite

    try:
        return suite.chosen(names)
    except KeyError as error:
        raise InvalidArgument(
            f"there is no workload {error.args[0]!r}", op="bench", hint=f"there are: {', '.join(suite.WORKLOADS)}"
        ) from None


def _check_places(place: Path, sessions: Path | None, svg: Path | None) -> None:
    """Before minutes of work, not after."""
    if not place.is_dir():
        raise InvalidArgument("this is no folder", op="bench", path=str(place), hint="give one that is there: --dir PATH")
    if sessions is not None and not sessions.is_file():
        raise InvalidArgument("there is no such file of sessions", op="bench", path=str(sessions))
    if svg is not None and not svg.absolute().parent.is_dir():
        raise InvalidArgument("the picture's folder is not there", op="bench", path=str(svg.parent))


def _run(workload: Workload, asked: Asked, said: Console) -> Result:
    from rich.text import Text

    from aegis_store.bench import suite

    if not said.is_terminal:
        return suite.run(workload, asked, lambda what: None)
    with said.status(Text(workload.name)) as status:
        return suite.run(workload, asked, lambda what: status.update(Text(f"{workload.name}: {what}")))
