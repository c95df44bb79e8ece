"""The envelopes of what takes payloads away, and of what keeps them.

    ["prune", 0, reason, runs (bin)]
    ["erase", 0, reason, by, ordinal or nil, runs (bin)]
    ["hold", 0, reason, holder, ordinal or nil]
    ["hold-release", 0, index of the hold, reason, by]

Runs are the records whose payload goes (`codec.runs`). An erase record says which session it was about by the tag in its entry,
and nothing of what was erased; with an ordinal it was one checkpoint. A hold is on the session of its entry, or on one
checkpoint of it. The log key signs all four. Texts may be any str (schema.session). Source: FORMAT.md, Envelopes."""

from __future__ import annotations

from typing import Final

import msgspec

from aegis_store.codec.canonical import decode_envelope, encode_envelope, name_from_wire, name_to_wire
from aegis_store.codec.runs import Runs
from aegis_store.errors import Corrupt
from aegis_store.types import LogIndex, Ordinal

PRUNE: Final = "prune"
ERASE: Final = "erase"
HOLD: Final = "hold"
RELEASE: Final = "hold-release"
VERSION: Final = 0

_PRUNE_NAMES: Final = ("schema", "version", "reason", "runs")
_ERASE_NAMES: Final = ("schema", "version", "reason", "by", "ordinal", "runs")
_HOLD_NAMES: Final = ("schema", "version", "reason", "holder", "ordinal")
_RELEASE_NAMES: Final = ("schema", "version", "hold", "reason", "by")
_ORDINALS: Final = (1 << 32) - 1
_INDEXES: Final = (1 << 48) - 1


class Prune(msgspec.Struct, frozen=True, kw_only=True):
    """The payloads of these records go, because a policy says so: `reason` is how it was called."""

    reason: str
    runs: Runs


class Erase(msgspec.Struct, frozen=True, kw_only=True):
    """The payloads of these records go, because `by` said so, and why. `ordinal`: of one checkpoint only."""

    reason: str
    by: str
    runs: Runs
    ordinal: Ordinal | None = None


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing of the session, or of one checkpoint of it, may go: why, and who says so."""

    reason: str
    holder: str
    ordinal: Ordinal | None = None


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """The hold at record `hold` is over: why, and who says so."""

    hold: LogIndex
    reason: str
    by: str


def encode_prune(prune: Prune) -> bytes:
    """The envelope of a prune record."""
    return encode_envelope([PRUNE, VERSION, name_to_wire(prune.reason, what="reason"), prune.runs.encode()], _PRUNE_NAMES)


def decode_prune(data: bytes) -> Prune:
    """What a prune record says. Corrupt if it is anything else; NewerFormat if a later version wrote it."""
    _, _, reason, runs = decode_envelope(data, schema=PRUNE, version=VERSION, names=_PRUNE_NAMES)
    return Prune(reason=name_from_wire(reason, what="reason"), runs=_runs(runs))


def encode_erase(erase: Erase) -> bytes:
    """The envelope of an erase record."""
    return encode_envelope(
        [
            ERASE,
            VERSION,
            name_to_wire(erase.reason, what="reason"),
            name_to_wire(erase.by, what="by"),
            erase.ordinal,
            erase.runs.encode(),
        ],
        _ERASE_NAMES,
    )


def decode_erase(data: bytes) -> Erase:
    """What an erase record says. Corrupt if it is anything else; NewerFormat if a later version wrote it."""
    _, _, reason, by, ordinal, runs = decode_envelope(data, schema=ERASE, version=VERSION, names=_ERASE_NAMES)
    return Erase(
        reason=name_from_wire(reason, what="reason"),
        by=name_from_wire(by, what="by"),
        ordinal=_ordinal(ordinal),
        runs=_runs(runs),
    )


def encode_hold(hold: Hold) -> bytes:
    """The envelope of a hold record."""
    return encode_envelope(
        [HOLD, VERSION, name_to_wire(hold.reason, what="reason"), name_to_wire(hold.holder, what="holder"), hold.ordinal],
        _HOLD_NAMES,
    )


def decode_hold(data: bytes) -> Hold:
    """What a hold record says. Corrupt if it is anything else; NewerFormat if a later version wrote it."""
    _, _, reason, holder, ordinal = decode_envelope(data, schema=HOLD, version=VERSION, names=_HOLD_NAMES)
    return Hold(
        reason=name_from_wire(reason, what="reason"), holder=name_from_wire(holder, what="holder"), ordinal=_ordinal(ordinal)
    )


def encode_release(release: Release) -> bytes:
    """The envelope of a hold-release record."""
    return encode_envelope(
        [RELEASE, VERSION, release.hold, name_to_wire(release.reason, what="reason"), name_to_wire(release.by, what="by")],
        _RELEASE_NAMES,
    )


def decode_release(data: bytes) -> Release:
    """What a hold-release record says. Corrupt if it is anything else; NewerFormat if a later version wrote it."""
    _, _, hold, reason, by = decode_envelope(data, schema=RELEASE, version=VERSION, names=_RELEASE_NAMES)
    return Release(
        hold=LogIndex(_number(hold, _INDEXES, "hold")),
        reason=name_from_wire(reason, what="reason"),
        by=name_from_wire(by, what="by"),
    )


def _runs(wire: object) -> Runs:
    if type(wire) is not bytes:
        raise Corrupt("what a record covers is not bytes", op="decode")
    return Runs.decode(wire)


def _ordinal(wire: object) -> Ordinal | None:
    return None if wire is None else Ordinal(_number(wire, _ORDINALS, "ordinal"))


def _number(wire: object, most: int, what: str) -> int:
    if type(wire) is not int or not 0 <= wire <= most:
        raise Corrupt(f"the {what} of a record is not a number that one can have", op="decode")
    return wire
