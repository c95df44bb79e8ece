"""`aegis import langgraph-sqlite` and `langgraph-postgres`: threads from what LangGraph's own savers wrote.

Three passes: how much there is, the transfer, and reading back what was transferred. The store is closed between the last two,
so what is compared comes from its files.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from aegis_store.cli import figures
from aegis_store.cli.opening import Keys, opening
from aegis_store.cli.outcome import FINDING, guarded
from aegis_store.cli.output import answers, bar, command, emit, line, problems, shown

if TYPE_CHECKING:
    from aegis_store import Config
    from aegis_store.importers.reading_back import Comparison, Difference
    from aegis_store.importers.source import Size, Source
    from aegis_store.importers.transfer import Outcome, Refusal

#: Findings that are shown; with --json all are.
SHOWN_MAX: Final = 20
#: Of the source, what a dry run transfers to a store of its own, to see what the rest would take.
SAMPLE_BYTES: Final = 16 << 20

StorePath = Annotated[Path, typer.Argument(metavar="PATH", help="The store's directory; a new one is made.", readable=False)]
Threads = Annotated[list[str] | None, typer.Option("--thread", metavar="ID", help="Only this thread. May be repeated.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read and count everything, say what it would take. Changes nothing.")]
NoVerify = Annotated[bool, typer.Option("--no-verify", help="Do not read back what was imported.")]
AsJson = Annotated[bool, typer.Option("--json", help="What was done as JSON.")]


class Estimate(msgspec.Struct, kw_only=True):
    """What a store would take for all of a source, from a part of it."""

    sample_bytes: int
    store_bytes: int


class Report(msgspec.Struct, kw_only=True):
    """One import."""

    source: str
    path: str
    created: bool
    dry_run: bool
    size: Size | None
    outcome: Outcome
    store_bytes: int | None = None
    estimate: Estimate | None = None
    read_back: Comparison | None = None
    own_saver: str | None = None


@guarded
def import_langgraph_sqlite(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What SqliteSaver or AsyncSqliteSaver wrote.", readable=False)],
    path: StorePath,
    thread: Threads = None,
    dry_run: DryRun = False,
    no_verify: NoVerify = False,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Bring LangGraph's SQLite checkpoints into a store.

    Ids, parents, namespaces, metadata and pending writes are kept; AegisSaver goes on where a thread stopped. The file is only
    read. May be interrupted and run again, and again when the file has grown: what is there already is not doubled. Nothing is
    unpickled. Exit code 1: something was refused, or reads back differently; it is named, and the rest is there.
    """
    _langgraph()
    from aegis_store.importers.langgraph_sqlite import SqliteSource

    _import(lambda: SqliteSource(file), "SqliteSaver", path, thread, dry_run, no_verify, keys, as_json)


@guarded
def import_langgraph_postgres(
    url: Annotated[str, typer.Argument(metavar="URL", help="postgresql://USER@HOST/DATABASE; PGPASSWORD counts.")],
    path: StorePath,
    thread: Threads = None,
    dry_run: DryRun = False,
    no_verify: NoVerify = False,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Bring LangGraph's PostgreSQL checkpoints into a store.

    As langgraph-sqlite does, from the database that PostgresSaver or AsyncPostgresSaver wrote; one read-only transaction.
    """
    _langgraph()
    from aegis_store.importers.langgraph_postgres import PostgresSource

    _import(lambda: PostgresSource(url), "PostgresSaver", path, thread, dry_run, no_verify, keys, as_json)


def _langgraph() -> None:
    """NotInstalled, with what to install."""
    import aegis_store.adapters.langgraph  # noqa: F401  # what it imports is what is asked for


def _import(
    open_source: Callable[[], Source],
    saver: str,
    path: Path,
    threads: list[str] | None,
    dry_run: bool,
    no_verify: bool,
    keys: Path | None,
    as_json: bool,
) -> None:
    wanted = list(dict.fromkeys(threads or ()))
    with closing(open_source()) as source:
        size = source.size(wanted)
        if dry_run:
            report = _rehearsed(source, path, wanted, keys, size)
        else:
            report = _transferred(source, path, wanted, keys, size)
            if not no_verify:
                _read_back(report, source, saver, path, wanted, keys)
        source.demand_unchanged()
    if as_json:
        emit(msgspec.to_builtins(report))
    else:
        _show(report, path, keys)
    if report.outcome.refused or (report.read_back is not None and report.read_back.different):
        raise typer.Exit(FINDING)


# ---- passes ---------------------------------------------------------------------------------------------------------------


def _rehearsed(source: Source, path: Path, threads: list[str], keys: Path | None, size: Size | None) -> Report:
    import aegis_store
    from aegis_store.importers.transfer import Transfer

    is_there = path.exists()
    with (
        nullcontext() if not is_there else aegis_store.open(path, mode="r", keys=keys) as store,
        bar(f"read {source.name}", None if size is None else size.bytes, "bytes") as advance,
    ):
        outcome = Transfer(source, store, rehearse=True, progress=lambda _, done: advance(done)).run(threads)
    with tempfile.TemporaryDirectory(prefix="aegis-import-") as folder:
        sample = Path(folder) / "state"
        with aegis_store.open(sample, config=_config()) as store:
            taken = Transfer(source, store).run(threads, bytes_max=SAMPLE_BYTES)
        store_bytes = _bytes_of(sample)
    share = outcome.bytes / taken.bytes if taken.bytes else 0
    return Report(
        source=source.name,
        path=str(path),
        created=not is_there,
        dry_run=True,
        size=size,
        outcome=outcome,
        estimate=Estimate(sample_bytes=taken.bytes, store_bytes=round(store_bytes * share)),
    )


def _transferred(source: Source, path: Path, threads: list[str], keys: Path | None, size: Size | None) -> Report:
    import aegis_store
    from aegis_store.importers.transfer import Transfer

    with opening(shown(path)):
        store = aegis_store.open(path, keys=keys, config=_config())
    with store:
        created = store.report.created
        with bar(f"import {source.name}", None if size is None else size.bytes, "bytes") as advance:
            outcome = Transfer(source, store, progress=lambda _, done: advance(done)).run(threads)
    return Report(
        source=source.name,
        path=str(path),
        created=created,
        dry_run=False,
        size=size,
        outcome=outcome,
        store_bytes=_bytes_of(path),
    )


def _read_back(report: Report, source: Source, saver: str, path: Path, threads: list[str], keys: Path | None) -> None:
    import aegis_store
    from aegis_store.importers.reading_back import compare

    size = report.size
    with (
        aegis_store.open(path, mode="r", keys=keys) as store,
        bar(f"read back {shown(path)}", None if size is None else size.bytes, "bytes") as advance,
    ):
        report.read_back = compare(source, store, threads, progress=lambda _, done: advance(done))
    report.own_saver = saver if report.read_back.with_own_saver else None


def _config() -> Config:
    import aegis_store

    # Durable at the end, not with each checkpoint: whatever is lost before that, a second run brings.
    return aegis_store.Config(durability=aegis_store.TierDurability(session=aegis_store.Durability.WRITE))


def _bytes_of(path: Path) -> int:
    return sum(os.lstat(os.path.join(folder, name)).st_blocks * 512 for folder, _, names in os.walk(path) for name in names)


# ---- words ----------------------------------------------------------------------------------------------------------------


def _show(report: Report, path: Path, keys: Path | None) -> None:
    console, outcome = answers(), report.outcome
    done = "would be imported" if report.dry_run else "imported"
    there = f", {figures.count(outcome.present)} are there already" if outcome.present else ""
    line(console, f"{shown(path)}: {figures.counted(outcome.checkpoints, 'checkpoint')} {done}{there}", "bold")
    line(
        console,
        f"  of {figures.counted(outcome.threads, 'thread')} in {figures.counted(outcome.lines, 'namespace')},"
        f" with what {figures.counted(outcome.tasks, 'task')} wrote",
    )
    if outcome.replaced:
        line(console, f"  {figures.counted(outcome.replaced, 'checkpoint')} put again, as the source had them since")
    if outcome.gone:
        line(console, f"  {figures.counted(outcome.gone, 'checkpoint')} left out: pruned or erased here since the last import")
    if report.estimate is not None:
        line(console, f"  {figures.size(outcome.bytes)} of values; the store would take about {_about(report.estimate)}")
    elif report.store_bytes is not None:
        line(console, f"  {figures.size(outcome.bytes)} of values; the store takes {figures.size(report.store_bytes)}")
    found = report.read_back
    if found is not None:
        line(console, f"  read back: {_equal(found, report.own_saver)}", "green" if not found.different else None)
    if report.created and not report.dry_run:
        where = shown(f"{path}.keys" if keys is None else keys)
        line(console, f"  the store is new; its keys are in {where}: copy them to where the store is not")
    _show_findings(report)


def _about(estimate: Estimate) -> str:
    return f"{figures.size(estimate.store_bytes)}, judging by {figures.size(estimate.sample_bytes)} that were tried"


def _equal(found: Comparison, own_saver: str | None) -> str:
    count = figures.counted(found.equal, "checkpoint is", "checkpoints are")
    if own_saver is None:
        return f"{count} byte for byte what the source has"
    if found.with_own_saver == found.equal:
        return f"{count} byte for byte what the source has, and equal to what {own_saver} reads"
    return (
        f"{count} byte for byte what the source has,"
        f" and {figures.count(found.with_own_saver)} of them equal to what {own_saver} reads"
    )


def _show_findings(report: Report) -> None:
    console, refused = problems(), report.outcome.refused
    if refused:
        line(console, f"aegis: {report.source}: {figures.counted(len(refused), 'row')} refused, and the rest is taken")
        for each in refused[:SHOWN_MAX]:
            line(console, f"  {_refused(each)}")
        _more(len(refused))
    found = report.read_back
    if found is not None and found.different:
        line(
            console,
            f"aegis: {shown(report.path)}: {figures.counted(found.different, 'checkpoint is', 'checkpoints are')}"
            " not what the source has",
        )
        for other in found.differences[:SHOWN_MAX]:
            line(console, f"  {_different(other)}")
        _more(found.different)
        line(console, f"  is the store well? {command('verify', report.path, '--deep')}")


def _more(number: int) -> None:
    if number > SHOWN_MAX:
        line(problems(), f"  and {figures.count(number - SHOWN_MAX)} more; all of them: --json")


def _refused(each: Refusal) -> str:
    parts = [f"thread {each.thread!r}"] if each.thread is not None else []
    named = (
        ("namespace", each.namespace or None),
        ("checkpoint", each.checkpoint),
        ("task", each.task),
        ("channel", each.channel),
    )
    parts += [f"{what} {name!r}" for what, name in named if name is not None]
    return f"{', '.join(parts) or 'somewhere'}: {each.why}"


def _different(each: Difference) -> str:
    namespace = f", namespace {each.namespace!r}" if each.namespace else ""
    return f"thread {each.thread!r}{namespace}, checkpoint {each.checkpoint!r}: {each.what}"
