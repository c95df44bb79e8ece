"""`aegis health`: is the store well, and if not, what to type.

Cheap enough for a cron job. Exit code 1: something needs attention.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from aegis_store.cli.opening import AsJson, Keys, StorePath, reading
from aegis_store.cli.outcome import FINDING, guarded
from aegis_store.cli.output import answers, emit, line, shown

if TYPE_CHECKING:
    from rich.console import Console

    from aegis_store.health import Facts, Finding


@guarded
def health(
    path: StorePath,
    keys: Keys = None,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="For a text collector: metrics named aegis_*, format 0.0.4.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """See whether a store is well: integrity, targets, space.

    Quick, and nothing is changed; whether every byte is as it was written, `aegis verify` tells. Targets are those of the
    program that writes the store. Exit code 1: something needs attention.
    """
    from aegis_store.errors import Corrupt
    from aegis_store.health import Level, assess, exposition, gather, refused

    facts: Facts | None = None
    try:
        with reading(path, keys=keys) as store:
            facts = gather(store)
        found = assess(facts)
    except Corrupt as error:
        found = [refused(error)]
    needs_attention = any(each.level is Level.ATTENTION for each in found)
    if prometheus:
        sys.stdout.write(exposition(str(path), facts, found))
    elif as_json:
        emit(
            {
                "ok": not needs_attention,
                "path": str(path),
                "findings": found,
                "facts": None if facts is None else as_fields(facts),
            }
        )
    else:
        show(answers(), shown(path), found)
    if needs_attention:
        raise typer.Exit(FINDING)


def show(console: Console, name: str, found: Sequence[Finding]) -> None:
    """A line for each finding, with the next step below where there is one."""
    from rich.text import Text

    from aegis_store.cli.output import printable
    from aegis_store.health import Level

    needing = sum(each.level is Level.ATTENTION for each in found)
    verdict = "fine" if not needing else "needs attention"
    line(console, f"health {name}   {verdict}", "bold")
    last = None
    for each in found:
        text = Text(f"  {'' if each.aspect == last else each.aspect:<9} ")
        text.append("ok  " if each.level is Level.FINE else "!   ", "green" if each.level is Level.FINE else "bold red")
        text.append(printable(each.what))
        console.print(text, soft_wrap=True)
        if each.hint is not None:
            line(console, f"  {'':<13} {spoken(each.hint)}")
        last = each.aspect


def spoken(hint: str) -> str:
    """A hint with paths as one would type them here."""
    here = os.path.join(os.getcwd(), "")
    return " ".join(shlex.quote(word[len(here) :]) if word.startswith(here) else word for word in hint.split(" "))


def as_fields(facts: Facts) -> dict[str, object]:
    """What was seen, for machines that draw curves."""
    import msgspec

    fields = msgspec.structs.asdict(facts)
    del fields["path"]
    fields["tiers"] = [
        {
            **{
                name: value
                for name, value in msgspec.structs.asdict(each).items()
                if name not in ("size", "cut_bytes", "saved")
            },
            "tier": each.tier.label,
            "records": each.size,
            "verdict": [flag.name.lower() for flag in each.verdict if flag.name],
        }
        for each in facts.tiers
    ]
    return fields
