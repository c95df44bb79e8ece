"""What is said where somebody wants to take away, hold or rewrite what stands in the audit tier.

The engine compacts no segment of it, no rule is for it, no entry of it can be a prune, erase or hold record. Here are those
whose ways lead by name to something that a subject may be called too.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from aegis_store.catalog import Catalog
from aegis_store.errors import WriteOnce
from aegis_store.types import NOUNS, Tier


def refused(what: str, *, op: str, path: str | Path, subject: str | None = None) -> WriteOnce:
    """The error for an attempt; `what` is a whole clause. With a subject the hint says how to see what stands there."""
    listing, place = NOUNS[Tier.AUDIT].listing, shlex.quote(str(path))
    hint = f"see what stands there: aegis audit list {place}"
    if subject is not None and listing is not None:
        hint = f"see what stands there: {listing.format(path=place, name=shlex.quote(subject))}"
    return WriteOnce(
        f"{what}: the audit tier is written once and keeps everything", op=op, path=str(path), tier=Tier.AUDIT.label, hint=hint
    )


def demand_no_subject(catalog: Catalog, name: str, *, op: str, path: str | Path) -> None:
    """WriteOnce where a name that no session has is that of a subject."""
    if catalog.session(name, Tier.AUDIT) is not None:
        raise refused(f"{name!r} is a subject of the audit tier, and no session", op=op, path=path, subject=name)
