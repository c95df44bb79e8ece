"""`aegis retain`: what the rules do not keep goes; with --dry-run it is shown and stays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aegis_store.cli import figures
from aegis_store.cli.compact import compacted, rate_of
from aegis_store.cli.opening import AsJson, Keys, StorePath, reading, writing
from aegis_store.cli.outcome import guarded
from aegis_store.cli.output import answers, bar, command, emit, line, shown, table

if TYPE_CHECKING:
    from rich.console import Console

    from aegis_store import Retained
    from aegis_store.retention.policy import SessionDecision

#: Sessions that are shown; the rest is counted.
SESSIONS_SHOWN: Final = 20


@guarded
def retain(
    path: StorePath,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", help="Options in TOML whose tables [[retention]] are the rules.", readable=False
        ),
    ] = None,
    keep_last: Annotated[
        int | None, typer.Option("--keep-last", metavar="N", help="Instead: the newest of each session.")
    ] = None,
    keep_age: Annotated[str | None, typer.Option("--keep-age", metavar="AGE", help="And what is younger, such as 30d.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go, and what it would free. Changes nothing.")
    ] = False,
    compact: Annotated[bool, typer.Option("--compact", help="Give the space back at once.")] = False,
    rate: Annotated[str | None, typer.Option("--rate", metavar="SIZE", help="With --compact: bytes a second at most.")] = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Let go what no rule keeps.

    The newest checkpoint of a session, what is held, and what a fork goes on from always stay. Without a rule everything does.
    """
    rules = rules_of(config, keep_last, keep_age)
    with reading(path, keys=keys) if dry_run else writing(path, keys=keys) as store:
        with bar("retain", 1, "sessions") as show:
            found = store.retain(rules, dry_run=dry_run, watch=lambda what, done, total: show(done))
        fields = as_fields(found, dry_run)
        done = compacted(store, rate_of(rate)) if compact and not dry_run else None
    if as_json:
        emit({"path": str(path), **fields, **({} if done is None else {"compaction": done})})
        return
    console = answers()
    show_decisions(console, shown(path), found, dry_run)
    if done is not None:
        line(console, f"  {figures.size(done['bytes_before'] - done['bytes_after'])} given back")
    elif not dry_run and found.decisions.gone:
        line(console, f"  to give the space back: {command('compact', path)}", "dim")


def rules_of(config: Path | None, keep_last: int | None, keep_age: str | None) -> Any:
    """The rules that are meant. InvalidArgument: there are none, and then nothing would go."""
    import aegis_store
    from aegis_store.errors import InvalidArgument
    from aegis_store.rules import Rule

    if keep_last is not None or keep_age is not None:
        return [Rule(keep_last=keep_last, keep_age=keep_age)]
    rules = () if config is None else aegis_store.Config.load(config).retention
    if not rules:
        raise InvalidArgument(
            "there is no rule, so everything stays",
            op="retain",
            hint="give a file with tables [[retention]] by --config, or --keep-last N, or --keep-age 30d",
        )
    return rules


def as_fields(found: Retained, dry_run: bool) -> dict[str, Any]:
    """What was decided, for machines; on a dry run with the reason why each checkpoint stays that does."""
    decisions = found.decisions
    views = {view.number: view for view in found.views}
    return {
        "dry_run": dry_run,
        "checkpoints_gone": decisions.gone,
        "checkpoints_kept": decisions.kept,
        "bytes_freed": decisions.freed_bytes,
        "records": list(found.records),
        "sessions": [
            {
                "session": each.id,
                "rule": each.rule,
                "kept": each.kept,
                "goes": list(each.goes),
                "bytes_freed": each.freed_bytes,
                "over_budget": each.over_budget,
                **({"stays": {str(key): why for key, why in decisions.reasons(views[each.number]).items()}} if dry_run else {}),
            }
            for each in decisions.sessions
            if each.goes
        ],
        "budgets": [
            {"rule": each.rule, "budget_bytes": each.budget_bytes, "kept_bytes": each.kept_bytes} for each in decisions.budgets
        ],
    }


def show_decisions(console: Console, name: str, found: Retained, dry_run: bool) -> None:
    """What was decided, for people."""
    decisions = found.decisions
    verb = "would go" if dry_run else "went"
    line(
        console,
        f"{name}   {figures.counted(decisions.gone, 'checkpoint')} {verb}, {figures.count(decisions.kept)} stay   "
        f"{figures.size(decisions.freed_bytes)} of payload",
        "bold",
    )
    touched = sorted((each for each in decisions.sessions if each.goes), key=lambda each: -each.freed_bytes)
    if touched:
        rows = [
            [
                each.id,
                figures.count(len(each.goes)),
                figures.size(each.freed_bytes),
                figures.count(each.kept),
                _why(found, each),
            ]
            for each in touched[:SESSIONS_SHOWN]
        ]
        headings = ["session", "goes", "frees", "stay", "the oldest that stays"]
        table(console, headings, rows, right=headings[1:4])
    if len(touched) > SESSIONS_SHOWN:
        line(console, f"  and {figures.counted(len(touched) - SESSIONS_SHOWN, 'more session')}")
    for use in decisions.budgets:
        over = "" if use.kept_bytes <= use.budget_bytes else ": what always stays takes more"
        line(console, f"  rule {use.rule}: {figures.size(use.kept_bytes)} of its {figures.size(use.budget_bytes)}{over}")


def _why(found: Retained, decision: SessionDecision) -> str:
    view = next(each for each in found.views if each.number == decision.number)
    ordinal, why = next(iter(found.decisions.reasons(view).items()))
    return f"{ordinal}: {why}"
