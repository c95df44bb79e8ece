"""What a shell may offer after the tab key: the sessions, tiers and holds of the store that is
already on the line.

Whoever presses tab has asked for nothing yet: so a store is only looked into for reading, which writes nothing, and only while
it is small enough to answer at once. Whatever goes wrong, there is just nothing to offer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Final

import typer

#: The largest store that is opened for a completion: it is read through once.
STORE_BYTES_MAX: Final = 32 << 20
OFFERED_MAX: Final = 200
#: The second words of `aegis import`.
IMPORT_FORMS: Final = ("langgraph-sqlite", "langgraph-postgres")
_TIERS: Final = ("audit", "memory", "session", "telemetry")


def complete_session(context: typer.Context, incomplete: str) -> list[str]:
    """Ids of sessions that begin with what is there."""
    try:
        path, keys = _given(context.params)
        return [] if path is None or _bytes_of(path) > STORE_BYTES_MAX else _sessions(path, keys, incomplete)
    except Exception:  # a shell's prompt is no place for it
        return []


def complete_tier(context: typer.Context, incomplete: str) -> list[str]:
    """Tiers that the store has records in, or all of them while no store is named."""
    try:
        path, _ = _given(context.params)
        tiers: Iterable[str] = _TIERS if path is None else (each for each in _TIERS if any((path / each).glob("*.seg")))
        return [each for each in tiers if each.startswith(incomplete)]
    except Exception:  # as above
        return []


def complete_hold(context: typer.Context, incomplete: str) -> list[str]:
    """Numbers of holds that stand."""
    try:
        path, keys = _given(context.params)
        return [] if path is None or _bytes_of(path) > STORE_BYTES_MAX else _holds(path, keys, incomplete)
    except Exception:  # as above
        return []


def complete_form(incomplete: str) -> list[str]:
    """What may follow `aegis import` beside a file; a shell offers files where there is nothing of this."""
    return [each for each in IMPORT_FORMS if incomplete and each.startswith(incomplete)]


def _given(params: dict[str, Any]) -> tuple[Path | None, Path | None]:
    path, keys = params.get("path"), params.get("keys")
    return None if path is None else Path(path), None if keys is None else Path(keys)


def _bytes_of(path: Path) -> int:
    return sum(os.stat(each).st_blocks * 512 for each in (path / "session").glob("*.seg"))


def _sessions(path: Path, keys: Path | None, incomplete: str) -> list[str]:
    import aegis_store

    with aegis_store.open(path, mode="r", keys=keys) as store:
        ids = (each.id for each in store.sessions())
        # What a shell would have to quote in ways of its own is left to the person.
        fit = (each for each in ids if each.startswith(incomplete) and each.isprintable() and not set(each) & set(" \t'\"\\$`"))
        return list(islice(fit, OFFERED_MAX))


def _holds(path: Path, keys: Path | None, incomplete: str) -> list[str]:
    import aegis_store

    with aegis_store.open(path, mode="r", keys=keys) as store:
        return [str(each.number) for each in store.holds() if str(each.number).startswith(incomplete)][:OFFERED_MAX]
