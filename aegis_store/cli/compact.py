"""`aegis compact`: the space of what was pruned or erased comes back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from aegis_store.cli import figures
from aegis_store.cli.init import bytes_of
from aegis_store.cli.opening import AsJson, Keys, StorePath, writing
from aegis_store.cli.outcome import guarded
from aegis_store.cli.output import answers, emit, line, problems, shown

if TYPE_CHECKING:
    from rich.console import Console

    from aegis_store import Store
    from aegis_store.compaction import Stage


@guarded
def compact(
    path: StorePath,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="SIZE", help="Read and write at most so much a second, such as 20MiB.")
    ] = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Take out of the files what was pruned or erased.

    No root, proof or signature changes. What is interrupted goes on at the next call.
    """
    pace = rate_of(rate)
    with writing(path, keys=keys) as store:
        done = compacted(store, pace)
    if as_json:
        emit({"path": str(path), **done})
        return
    console = answers()
    if not done["segments"]:
        line(console, f"{shown(path)}   nothing to do: no payload waits to go", "bold")
        return
    line(console, f"{shown(path)}   {figures.size(done['bytes_before'] - done['bytes_after'])} given back", "bold")
    show_compacted(console, done)


def show_compacted(console: Console, done: dict[str, Any]) -> None:
    """What was done, for people."""
    line(
        console,
        f"  compacted {figures.counted(done['segments'], 'segment')}: {figures.size(done['bytes_before'])} before, "
        f"{figures.size(done['bytes_after'])} after, in {figures.seconds(done['seconds'])}",
    )
    line(
        console,
        f"  {figures.counted(done['payloads_gone'], 'payload')} gone, "
        f"{figures.counted(done['reencoded'], 'checkpoint')} in another form",
    )


def rate_of(text: str | None) -> int | None:
    """Bytes a second."""
    pace = None if text is None else bytes_of(text, option="--rate")
    if pace == 0:
        raise typer.BadParameter("at 0 bytes a second it would never end", param_hint="--rate")
    return pace


def compacted(store: Store, bytes_a_second: int | None) -> dict[str, Any]:
    """Compact, with a bar on the terminal; what was done, for machines."""
    from rich.progress import BarColumn, Progress, TextColumn

    console = problems()
    columns = (TextColumn("compact"), BarColumn(), TextColumn("{task.fields[done]}"))
    begin = time.perf_counter()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("compact", total=None, done="")

        def watch(stage: Stage) -> None:
            rate = stage.bytes_done / max(time.perf_counter() - begin, 1e-3)
            text = f"segment {stage.segment} of {stage.segments} · {figures.size(stage.bytes_done)} · {figures.size(rate)}/s"
            progress.update(task, total=stage.bytes_total, completed=stage.bytes_done, done=text)

        done = store.compact(bytes_a_second=bytes_a_second, watch=watch)
    fields: dict[str, Any] = msgspec.to_builtins(done)
    del fields["old_files"]
    return {**fields, "seconds": time.perf_counter() - begin}
