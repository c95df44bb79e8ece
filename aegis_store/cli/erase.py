"""`aegis erase`: a session, or what one checkpoint of it holds, is gone when this ends."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from aegis_store.cli import figures
from aegis_store.cli.opening import AsJson, Keys, SessionId, StorePath, writing
from aegis_store.cli.outcome import FINDING, guarded
from aegis_store.cli.output import answers, busy, command, emit, line, problems, shown

#: Forks that are shown; the rest is counted.
FORKS_SHOWN: Final = 20


@guarded
def erase(
    path: StorePath,
    session: SessionId,
    reason: Annotated[str, typer.Option("--reason", help="Why, without saying what: it stays.")],
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who says so.")] = "aegis erase",
    ordinal: Annotated[
        int | None, typer.Option("--ordinal", min=0, metavar="N", help="Only what this checkpoint holds.")
    ] = None,
    forks: Annotated[bool, typer.Option("--forks", help="The sessions that went on from it, too.")] = False,
    wait: Annotated[
        float, typer.Option("--wait", min=0, metavar="SECONDS", help="For readers of the old files to let go.")
    ] = 5.0,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Erase a session, its text and its names, from every file.

    There is no way back. Entries without content stay, so that every proof holds, and a record of who, why and when. Exit code
    1: it was erased, but forks or other processes still hold it; they are named."""
    with writing(path, keys=keys) as store, busy("erasing"):
        done = store.erase(session=session, ordinal=ordinal, reason=reason, by=by, forks=forks, wait_seconds=wait)
    if as_json:
        emit(
            {
                "path": str(path),
                "sessions": done.sessions,
                "ordinal": done.ordinal,
                "records": done.records,
                "forks": done.forks,
                "holders": [{"pid": each.pid, "command": each.command} for each in done.holders],
                "bytes_before": done.compacted.bytes_before,
                "bytes_after": done.compacted.bytes_after,
            }
        )
    else:
        what = figures.counted(len(done.sessions), "session") if ordinal is None else f"checkpoint {figures.count(ordinal)}"
        gone = done.compacted.payloads_gone
        line(answers(), f"{shown(path)}   {what} erased: {figures.counted(gone, 'payload')} gone", "bold")
        says = (
            f"record {done.records[0]} says so" if len(done.records) == 1 else f"records {figures.ranges(done.records)} say so"
        )
        line(answers(), f"  {says}; whether the rest is whole: {command('verify', path)} --deep")
        for fork in done.forks[:FORKS_SHOWN]:
            line(problems(), f"  a fork still holds it: {fork}   {command('erase', path, fork)} --reason …")
        if len(done.forks) > FORKS_SHOWN:
            line(problems(), f"  and {figures.counted(len(done.forks) - FORKS_SHOWN, 'more fork')}")
        for holder in done.holders:
            name = f" ({holder.command})" if holder.command else ""
            line(problems(), f"  process {holder.pid}{name} still has an old file open, and can read it: stop it")
    if done.forks or done.holders:
        raise typer.Exit(FINDING)
