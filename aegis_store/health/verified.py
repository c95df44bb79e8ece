"""When a store was last verified as a whole, in its key directory.

    verified.json      {"note": {"ms": …, "deep": …, "findings": …, "records": …}, "code": keyed BLAKE3 in hexadecimal}

It lies there and not in the audit tier, for whoever verifies opens the store for reading, beside a writer as often as not,
and writes nothing to it. The key directory is private, as is the heads' file that readers write to it as well; the code,
under a key from the store secret, is against a file of another store. Somebody who holds the key directory can write anything
in it, and is the store's owner. Source: FORMAT.md, Key directory.
"""

from __future__ import annotations

import hmac
from contextlib import suppress
from typing import Final

import msgspec
from blake3 import blake3

from aegis_store.errors import AegisError
from aegis_store.health.facts import Verified
from aegis_store.trust.keys import KeyDirectory
from aegis_store.types import TimeMs
from aegis_store.verification import Result

NAME: Final = "verified.json"
_CONTEXT: Final = "aegis-store 2026 note of a verification"


class _Note(msgspec.Struct, frozen=True, kw_only=True):
    ms: int
    deep: bool
    findings: int
    records: int


class _File(msgspec.Struct, frozen=True, kw_only=True):
    note: _Note
    code: str


def note_verified(keys: KeyDirectory, result: Result, now_ms: int) -> None:
    """Take down that a store was verified. A key directory that takes nothing fails no verification."""
    note = _Note(ms=now_ms, deep=result.deep, findings=len(result.findings), records=sum(each.records for each in result.tiers))
    with suppress(AegisError):
        keys.keep_note(NAME, msgspec.json.encode(_File(note=note, code=_code(keys, note))) + b"\n")


def last_verified(keys: KeyDirectory, now_ms: int) -> Verified | None:
    """What was taken down last; None if nothing was that holds."""
    try:
        found = msgspec.json.decode(keys.note(NAME) or b"", type=_File)
    except (AegisError, msgspec.MsgspecError, ValueError):
        return None
    note = found.note
    if not hmac.compare_digest(_code(keys, note).encode(), found.code.encode()):
        return None
    return Verified(
        age_seconds=(now_ms - TimeMs(note.ms)) / 1000, is_deep=note.deep, findings=note.findings, records=note.records
    )


def _code(keys: KeyDirectory, note: _Note) -> str:
    key = blake3(keys.secret, derive_key_context=_CONTEXT).digest()
    return blake3(msgspec.json.encode(note), key=key).hexdigest()
