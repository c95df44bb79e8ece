"""What a writer knew of its store when it last looked, in a file that spares readers the whole log.

    offset  size  field
         0     8  magic, ASCII "AEGISOUT"
         8     n  msgpack of `Outlook`
       8+n    32  keyed BLAKE3 of all bytes before, under a key derived from the store secret

A cache: it lies beside the catalogue, is replaced as a whole without a sync, and whoever misses it asks the catalogue. It holds
indexes and numbers, and no name or text, so that erasure need not look here. It is believed if and only if
  (1) magic and code hold,
  (2) of each tier it covers no more than there is,
  (3) and the log has the root there that it names: else it is a log that was put back from a copy and then went on.
Each has a test of that number in tests/health/test_outlook.py. An older one that holds is not wrong: what came later is read
from the log.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from blake3 import blake3

from aegis_store.types import Tier

NAME: Final = "outlook"
_NEW: Final = "outlook.new"
_MAGIC: Final = b"AEGISOUT"
_MAC_SIZE: Final = 32
_CONTEXT: Final = "aegis-store 2026 outlook"
#: No outlook is larger: it has some bytes for each erasure and each recovery that is not done.
_BYTES_MAX: Final = 16 << 20


class Outlook(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """See the module's text. Tiers are by number."""

    #: Tier -> records, and the root there [32].
    covers: dict[int, tuple[int, bytes]]
    #: Tier -> prune and erase records that the files did not follow yet, and which is which.
    gaps: dict[int, list[tuple[int, bool]]]
    suspects: int
    #: Records of the audit tier: the newest of each incident that is open, and of each recovery that is not done.
    troubles: list[int]
    #: Tier -> the targets that the owner has set, in seconds.
    targets: dict[int, tuple[int | None, int | None]]
    interval_seconds: int
    open_seconds: float | None
    #: What timers keep: sessions, failing ones, and when (ms) the oldest was last known to be safe.
    unsaved: tuple[int, int, int] | None


class OutlookFile:
    """The outlook of one store, in the folder of its catalogue."""

    def __init__(self, folder: Path, *, secret: bytes) -> None:
        self._folder = folder
        self._key = blake3(secret, derive_key_context=_CONTEXT).digest()

    def write(self, outlook: Outlook) -> None:
        """Replace it. Never fails for a reason of the disk: without it, the next look takes longer."""
        body = _MAGIC + msgspec.msgpack.encode(outlook)
        with suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(self._folder / _NEW, flags, 0o600), "wb") as file:
                file.write(body + self._code(body))
            os.replace(self._folder / _NEW, self._folder / NAME)

    def read(self, sizes: Mapping[Tier, int], root_at: Callable[[Tier, int], bytes]) -> Outlook | None:
        """What it says, if it is to be believed: `sizes` and `root_at(tier, size)` are the logs' own."""
        try:
            opened = os.open(self._folder / NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(opened, "rb") as file:
                data = file.read(_BYTES_MAX)
        except OSError:
            return None
        body, code = data[:-_MAC_SIZE], data[-_MAC_SIZE:]
        if not body.startswith(_MAGIC) or not hmac.compare_digest(self._code(body), code):
            return None
        try:
            outlook = msgspec.msgpack.decode(body[len(_MAGIC) :], type=Outlook)
            covers = {Tier(tier): cover for tier, cover in outlook.covers.items()}
        except (msgspec.DecodeError, ValueError):
            return None  # of another version: its code holds all the same
        for tier, (size, root) in covers.items():
            if size > sizes.get(tier, 0) or root != root_at(tier, size):
                return None
        return outlook

    def _code(self, body: bytes) -> bytes:
        return blake3(body, key=self._key).digest(_MAC_SIZE)
