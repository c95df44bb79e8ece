"""`aegis keys`: whose keys the store allows, and taking one back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aegis_store.cli import figures
from aegis_store.cli.opening import AsJson, Keys, StorePath, reading, writing
from aegis_store.cli.outcome import guarded
from aegis_store.cli.output import answers, command, emit, line, shown, table

if TYPE_CHECKING:
    from aegis_store import KeyInfo

keys = typer.Typer(help="List the agents' keys, or revoke one.", no_args_is_help=True, rich_markup_mode=None)


@keys.command("list")
@guarded
def list_(path: StorePath, keys: Keys = None, as_json: AsJson = False) -> None:
    """List the agents' keys that the store allows or allowed."""
    with reading(path, keys=keys) as store:
        found = store.agent_keys()
    if as_json:
        emit({"path": str(path), "keys": [_fields(each) for each in found]})
        return
    console = answers()
    if not found:
        line(console, f"{shown(path)}   no agent's key yet")
        return
    rows = [[each.agent, each.key_id, _where(each.added), _where(each.revoked), _state(each)] for each in found]
    table(console, ["agent", "key", "allowed from record", "revoked by record", "now"], rows)


@keys.command("revoke")
@guarded
def revoke(
    path: StorePath,
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="Whose key.")],
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who says so.")] = "aegis keys revoke",
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Let an agent's key sign nothing more. What it signed before stays good."""
    with writing(path, keys=keys) as store:
        done = store.revoke_key(agent, reason=reason, by=by)
    if as_json:
        emit({"path": str(path), "agent": done.agent, "key_ids": done.key_ids, "records": done.records})
        return
    console = answers()
    many = "keys" if len(done.key_ids) > 1 else "key"
    line(console, f"{many} {', '.join(done.key_ids)} of agent {done.agent} revoked", "bold")
    for tier, records in done.records.items():
        line(console, f"  {tier:<8} from record {', '.join(map(figures.count, records))} on")
    line(console, f"  who writes in that name from now on has a new key; see: {command('keys list', path)}", "dim")


def _where(records: dict[str, Any]) -> str:
    return ", ".join(f"{tier} {figures.count(index)}" for tier, index in sorted(records.items()))


def _state(each: KeyInfo) -> str:
    if not each.is_allowed:
        return "revoked"
    return "allowed" if each.is_here else "allowed, and not in the key directory"


def _fields(each: KeyInfo) -> dict[str, Any]:
    return {
        "agent": each.agent,
        "key_id": each.key_id,
        "public_key": each.public_key.hex(),
        "added": each.added,
        "revoked": each.revoked,
        "allowed": each.is_allowed,
        "in_key_directory": each.is_here,
    }
