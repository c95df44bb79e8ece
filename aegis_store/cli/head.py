"""`aegis head`: a signed statement of what the store holds, to be kept where the store is not.

stdout gets the note and nothing else, so that it can be piped into a file; stderr says how many records it covers and under
which verifier key others check it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from aegis_store.cli import figures
from aegis_store.cli.completion import complete_tier
from aegis_store.cli.opening import Keys, StorePath, reading
from aegis_store.cli.outcome import guarded
from aegis_store.cli.output import emit, line, problems, shown

if TYPE_CHECKING:
    from aegis_store.trust.heads import SignedHead


@guarded
def head(
    path: StorePath,
    tier: Annotated[
        str, typer.Argument(metavar="TIER", help="audit, memory, session or telemetry.", autocompletion=complete_tier)
    ] = "session",
    keys: Keys = None,
    as_json: Annotated[bool, typer.Option("--json", help="The head and its verifier key as JSON.")] = False,
) -> None:
    """Print a signed tree head, to be kept elsewhere.

    It is a C2SP note that proves later what the store held now:  aegis head state > state.head
    """
    from aegis_store.open_tier import tier_named
    from aegis_store.trust.heads import verifier_key

    which = tier_named(tier)
    with reading(path, keys=keys) as store:
        signed = store.head(which)
        key = verifier_key(store.keys.store_id, which, store.keys.log.public_key).format()
    if as_json:
        emit(as_fields(signed, key))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(signed.format())
    sys.stdout.flush()
    console = problems()
    if console.is_terminal and sys.stdout.isatty():
        line(console)
    line(console, f"{shown(path)}: {which.label}, {figures.counted(signed.head.size, 'record')}, root {signed.head.root.hex()}")
    line(console, "who wants to check it needs this verifier key, handed over in a way that is trusted:")
    line(console, f"  {key}")


def as_fields(signed: SignedHead, key: str) -> dict[str, object]:
    """The head for machines."""
    return {
        "tier": signed.head.tier.label,
        "size": signed.head.size,
        "root": signed.head.root.hex(),
        "store_id": signed.store_id.hex(),
        "note": signed.format().decode(),
        "verifier_key": key,
    }
