"""`aegis verify`: is everything as it was written?

Opens the store for reading, which changes nothing, beside a writer too. Every byte is read again and each tree recomputed;
`--deep` adds signatures, envelopes and chains. Damage that keeps the store from opening is a finding like any other.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from aegis_store.cli import figures
from aegis_store.cli.completion import complete_tier
from aegis_store.cli.opening import AsJson, Keys, StorePath, opening
from aegis_store.cli.outcome import FINDING, guarded
from aegis_store.cli.output import answers, command, emit, line, problems, shown
from aegis_store.cli.whereabouts import Place, losses, whereabouts

if TYPE_CHECKING:
    from rich.console import Console

    from aegis_store import Finding, Head, Result, Store, Tier
    from aegis_store._engine import Report, Verdict
    from aegis_store.verification import TierResult, Watcher

#: Findings that are shown; the rest is counted.
FINDINGS_SHOWN: Final = 20


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A finding with what it means: which checkpoints are hit, if that can be told, in words and for machines."""

    problem: str
    tier: str | None = None
    index: int | None = None
    path: str | None = None
    where: str | None = None
    place: Place | None = None


@guarded
def verify(
    path: StorePath,
    deep: Annotated[bool, typer.Option("--deep", help="Check every signature, envelope and chain too.")] = False,
    tier: Annotated[
        str | None, typer.Option("--tier", metavar="TIER", help="Only this tier.", autocompletion=complete_tier)
    ] = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Read everything again and name what is damaged.

    Every byte is checked, and the trees are recomputed. Nothing is changed, and a writer may go on meanwhile. Exit code 1:
    something was found.
    """
    import aegis_store
    from aegis_store.open_tier import tier_named

    tiers = None if tier is None else [tier_named(tier)]
    name, key_name = shown(path), shown(f"{path.absolute()}.keys" if keys is None else keys)
    begin = time.perf_counter()
    try:
        with opening(name):
            store = aegis_store.open(path, mode="r", keys=keys)
    except aegis_store.errors.Corrupt as error:
        found = [Found(problem=error.message, tier=error.tier, index=error.index, path=error.path)]
        if as_json:
            emit(as_fields(path, None, found, []))
        else:
            show_findings(problems(), name, found, key_name=key_name, opened=False)
        raise typer.Exit(FINDING) from None
    with store:
        with watched() as watch:
            result = store.verify(deep=deep, watch=watch, tiers=tiers)
        took_seconds = time.perf_counter() - begin
        found = [located(store, finding) for finding in result.findings] + list(damage_at_open(store.report))
        notes = list(notes_at_open(store.report))
        remembered = list(store.keys.released().values())
    if as_json:
        emit(as_fields(path, result, found, notes))
    else:
        show(answers(), name, result, took_seconds=took_seconds, remembered=remembered, notes=notes)
        show_findings(problems(), name, found, key_name=key_name)
    if found:
        raise typer.Exit(FINDING)


# ---- while it works -------------------------------------------------------------------------------------------------------


@contextmanager
def watched() -> Iterator[Watcher]:
    """A progress bar on the terminal, for as long as the work takes; nothing where stderr is not one."""
    from rich.progress import BarColumn, Progress, TaskID, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]}"))
    console = problems()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks: dict[tuple[Tier, str], tuple[TaskID, float]] = {}

        def watch(tier: Tier, what: str, done: int, total: int) -> None:
            now = time.perf_counter()
            if (tier, what) not in tasks:
                task = progress.add_task(f"verify  {tier.label:<9} {what:<7}", total=total, done="")
                tasks[tier, what] = task, now
            task, begin = tasks[tier, what]
            if what == "bytes":
                text = f"{figures.size(done)} of {figures.size(total)} · {figures.size(done / max(now - begin, 1e-3))}/s"
            else:
                text = f"{figures.count(done)} of {figures.count(total)}"
            progress.update(task, completed=done, done=text)

        yield watch


# ---- the answer -----------------------------------------------------------------------------------------------------------


def show(
    console: Console,
    name: str,
    result: Result,
    *,
    took_seconds: float,
    remembered: Sequence[Head] = (),
    notes: Sequence[str] = (),
) -> None:
    """A heading, a line or two for each tier, and what else is worth knowing."""
    records = sum(tier.records for tier in result.tiers)
    total = sum(tier.bytes for tier in result.tiers)
    heading = f"verify {name}   {figures.counted(records, 'record')} · {figures.size(total)} · {figures.seconds(took_seconds)}"
    line(console, heading, "bold")
    show_tiers(console, result)
    # Opening has demanded them of what it found.
    sizes = [f"{head.tier.label} at {figures.count(head.size)}" for head in remembered if head.size > 0]
    if sizes and result.ok:
        line(console, f"  heads that the key directory remembers: {', '.join(sizes)}, consistent")
    for note in notes:
        line(console, f"  {note}")
    if result.tiers and not result.deep:
        line(console, "  checked: bytes, checksums, trees; signatures, envelopes and chains too: --deep", "dim")


def show_tiers(console: Console, result: Result) -> None:
    """`session  1 204 331 records   root a71f…09c2   ok   signatures 1 204 331 of 1 204 331`, for each tier."""
    from rich.text import Text

    damaged = {finding.tier for finding in result.findings}
    width = max((len(figures.count(tier.records)) for tier in result.tiers), default=0)
    for tier in result.tiers:
        verdict, style = ("damaged", "bold red") if tier.tier in damaged else ("ok", "green")
        root = root_of(tier)
        text = Text(f"  {tier.tier.label:<9} {figures.count(tier.records):>{width}} records   ")
        text.append(f"root {'unknown' if root is None else figures.root(root)}   ")
        text.append(verdict, style)
        if tier.signatures is not None:
            text.append(f"   signatures {figures.count(tier.signatures)} of {figures.count(tier.records)}")
        console.print(text, soft_wrap=True)
        if tier.segments > 1:
            full = f"{figures.count(tier.segments_sealed)} sealed, {figures.count(tier.segments_signed)} of them signed"
            line(console, f"  {'':<9} {figures.counted(tier.segments, 'segment')}: {full}")
    if not result.tiers:
        line(console, "  no records yet")


def root_of(tier: TierResult) -> bytes | None:
    """The root [32] that was recomputed; None where damage prevented it."""
    return tier.root if tier.root is not None and any(tier.root) else None


def notes_at_open(report: Report) -> Iterator[str]:
    """What opening saw that is no damage, and that somebody may want to know."""
    from aegis_store._engine import Verdict

    if _any_tier(report, Verdict.POISON):
        yield "the last writer had a failed write; opening the store for writing recovers"
    if _any_tier(report, Verdict.TAIL_AMBIGUOUS):
        yield "the last group was torn by a crash, or damaged, which look the same; it was left out"


# ---- what was found -------------------------------------------------------------------------------------------------------


def damage_at_open(report: Report) -> Iterator[Found]:
    """Damage that opening has seen and gone around."""
    from aegis_store._engine import Verdict

    if _any_tier(report, Verdict.MANIFEST_COPY):
        yield Found(problem="one of the two copies in MANIFEST is damaged", where="the other one is used in its place")
    if _any_tier(report, Verdict.MANIFEST_REBUILT):
        yield Found(problem="MANIFEST is missing, or both copies in it are damaged", where="the segments told what it held")


def _any_tier(report: Report, flag: Verdict) -> bool:
    return any(flag in tier.verdict for tier in report.tiers.values())


def located(store: Store, finding: Finding) -> Found:
    """A finding with the checkpoint that it is about, where there is one."""
    is_ours = finding.tier is store.records.tier
    place = whereabouts(store.catalog, finding.index) if is_ours else None
    return Found(
        problem=finding.problem,
        tier=finding.tier.label,
        index=finding.index,
        path=finding.path,
        where=None if place is None else str(place),
        place=place,
    )


def show_findings(
    console: Console, name: str, found: Sequence[Found], *, key_name: str | None = None, opened: bool = True
) -> None:
    """Each finding: what is wrong where, and which checkpoints that hits; at the end, what to do."""
    for each in found[:FINDINGS_SHOWN]:
        place = name if each.tier is None else f"{name}/{each.tier}"
        line(console, f"aegis: {place}: {each.problem}", "bold red")
        if each.where is not None:
            line(console, f"  {each.where}")
    if len(found) > FINDINGS_SHOWN:
        line(
            console,
            f"aegis: {name}: {figures.count(len(found) - FINDINGS_SHOWN)} more findings, all of them with --json",
            "bold red",
        )
    if not opened:
        line(console, "  so the store can't be opened, and nothing is served from it")
    lost = losses(each.place for each in found if each.place is not None)
    if len(found) > 1:
        for each_loss in lost[:FINDINGS_SHOWN]:
            line(console, f"  {each_loss}")
    if found and key_name is not None:
        line(console, "  nothing was changed; leave the store as it is for now")
        whole = next((each for each in lost if each.before is not None), None)
        if whole is not None:
            line(console, f"  the newest before the damage: {command('show', name, whole.session)} --at {whole.before}")
        line(console, f"  see whether a copy or a backup is whole: aegis verify COPY --keys {shlex.quote(key_name)}")


def as_fields(path: Path, result: Result | None, found: Sequence[Found], notes: Sequence[str]) -> dict[str, object]:
    """The answer for machines. `result` is None where the store could not be opened."""
    tiers = [
        {
            "tier": tier.tier.label,
            "records": tier.records,
            "bytes": tier.bytes,
            "root": None if (root := root_of(tier)) is None else root.hex(),
            "segments": tier.segments,
            "segments_sealed": tier.segments_sealed,
            "segments_signed": tier.segments_signed,
            "signatures": tier.signatures,
        }
        for tier in (() if result is None else result.tiers)
    ]
    return {
        "ok": not found,
        "path": str(path),
        "opened": result is not None,
        "deep": result is not None and result.deep,
        "tiers": tiers,
        "findings": found,
        "notes": notes,
    }
