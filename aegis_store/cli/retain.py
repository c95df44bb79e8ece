"""`aegis retain`: what the rules do not keep goes; with --dry-run it is shown and stays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aegis_store.cli import figures
from aegis_store.cli.compact import compacted, rate_of, show_compacted
from aegis_store.cli.opening import AsJson, Keys, StorePath, reading, writing
from aegis_store.cli.outcome import guarded
from aegis_store.cli.output import answers, bar, command, emit, line, shown, table

if TYPE_CHECKING:
    from rich.console import Console

    from aegis_store import Retained
    from aegis_store.types import Ordinal

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
        int | None, typer.Option("--keep-last", metavar="N", help="Without a file: the newest of each session.")
    ] = None,
    keep_age: Annotated[
        str | None, typer.Option("--keep-age", metavar="AGE", help="Without a file: and what is younger, such as 30d.")
    ] = None,
    tier: Annotated[str, typer.Option("--tier", help="Without a file: what the rule is for, session or memory.")] = "session",
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
    if dry_run and compact:
        raise typer.BadParameter("a dry run changes nothing: give one of --dry-run and --compact", param_hint="--compact")
    if rate is not None and not compact:
        raise typer.BadParameter("it is the pace of --compact, which was not given", param_hint="--rate")
    pace = rate_of(rate)  # before anything goes
    rules = rules_of(config, keep_last, keep_age, tier)
    with reading(path, keys=keys) if dry_run else writing(path, keys=keys) as store:
        with bar("retain", None, "sessions") as advance:
            found = store.retain(rules, dry_run=dry_run, watch=lambda what, done, total: advance(done, total))
        done = compacted(store, pace) if compact else None
    if as_json:
        also = {} if found.memory is None else {"memory": memory_fields(found.memory, dry_run)}
        emit({"path": str(path), **as_fields(found, dry_run), **also, **({} if done is None else {"compaction": done})})
        return
    console = answers()
    if found.memory is None or found.decisions.policy.rules_of_tier:
        show_decisions(console, shown(path), found, dry_run)
    if found.memory is not None:
        show_memory(console, shown(path), found.memory, dry_run)
    if done is not None:
        show_compacted(console, done)
    elif not dry_run and (found.decisions.gone or (found.memory is not None and found.memory.decisions.gone)):
        line(console, f"  to give the space back: {command('compact', path)}", "dim")


def rules_of(config: Path | None, keep_last: int | None, keep_age: str | None, tier: str = "session") -> Any:
    """The rules that are meant. InvalidArgument: there are none, and then nothing would go."""
    import aegis_store
    from aegis_store.errors import InvalidArgument
    from aegis_store.rules import Rule

    if keep_last is not None or keep_age is not None:
        if config is not None:
            raise typer.BadParameter(
                "it has rules of its own: give one of --config, and --keep-last or --keep-age", param_hint="--config"
            )
        return [Rule(tier=tier, keep_last=keep_last, keep_age=keep_age)]
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


def memory_fields(found: Retained, dry_run: bool) -> dict[str, Any]:
    """What was decided on the memory, for machines: keys in the place of sessions."""
    from aegis_store.schema import names

    decided = as_fields(found, dry_run)
    keys = []
    for each in decided.pop("sessions"):
        namespace, key = names.split(each.pop("session"))
        keys.append({"namespace": namespace, "key": key, **each})
    return {
        "records_gone": decided.pop("checkpoints_gone"),
        "versions_kept": decided.pop("checkpoints_kept"),
        **decided,
        "keys": keys,
    }


def show_memory(console: Console, name: str, found: Retained, dry_run: bool) -> None:
    """What was decided on the memory, for people."""
    decisions = found.decisions
    verb = "would go" if dry_run else "went"
    touched = sum(1 for each in decisions.sessions if each.goes)
    line(
        console,
        f"{name}   of the memory {figures.counted(decisions.gone, 'record')} {verb} of {figures.counted(touched, 'key')}, "
        f"{figures.counted(decisions.kept, 'version')} stay   {figures.size(decisions.freed_bytes)} of payload",
        "bold",
    )


def show_decisions(console: Console, name: str, found: Retained, dry_run: bool) -> None:
    """What was decided, for people."""
    decisions, views = found.decisions, {view.number: view for view in found.views}
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
                _oldest(decisions.reasons(views[each.number])),
            ]
            for each in touched[:SESSIONS_SHOWN]
        ]
        headings = ["session", "goes", "frees", "stay", "the oldest that stays"]
        table(console, headings, rows, right=headings[1:4])
    if len(touched) > SESSIONS_SHOWN:
        line(console, f"  and {figures.counted(len(touched) - SESSIONS_SHOWN, 'more session')}; all of them: --json", "dim")
    for use in decisions.budgets:
        over = "" if use.kept_bytes <= use.budget_bytes else ": what always stays takes more"
        line(console, f"  rule {use.rule}: {figures.size(use.kept_bytes)} of its {figures.size(use.budget_bytes)}{over}")


def _oldest(reasons: dict[Ordinal, str]) -> str:
    """The oldest that stays, and why. There is one: the newest of a session never goes."""
    ordinal, why = next(iter(reasons.items()))
    return f"{figures.count(ordinal)}: {why}"
