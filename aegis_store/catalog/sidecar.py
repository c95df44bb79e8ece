"""Whether a catalogue on disk may be opened.

LMDB trusts its file: one flipped bit and it gives wrong answers or takes the process down. So beside the file stands a sidecar,
written at a clean close and removed before the first transaction:

    offset  size  field
         0     8  magic, ASCII "AEGISCAT"
         8     4  version of the tables' layout
        12     4  count of tiers
        16    16  store id
        32     8  size of data.mdb
        40    32  BLAKE3 of data.mdb
        72        for each tier, ascending: tier u32, reserved u32, covered size u64, root of the log at that size [32]
       end    32  keyed BLAKE3 of all bytes before, under a key derived from the caller's

Integers are little-endian. A sidecar vouches for a file if and only if
  (1) magic, version, store id and length are right,
  (2) the code at its end is,
  (3) the file is a regular one with a single name, and of that size,
  (4) and has that digest,
  (5) each covered size is at most the log's,
  (6) the log has the recorded root there: else it is a log that was put back from a copy and then went on.
(1)-(4) each have a test of that number in tests/catalog/test_sidecar.py, (5) and (6) in tests/catalog/test_catalog.py.
"""

from __future__ import annotations

import hmac
import os
import stat
import struct
from contextlib import suppress

from blake3 import blake3

from aegis_store.catalog.tables import VERSION
from aegis_store.types import Head, Tier

NAME = "sidecar"
DATA = "data.mdb"
#: What becomes data.mdb at a clean close.
PACKED = "data.new"
_NEW = "sidecar.new"
_LOCK = "lock.mdb"

_MAGIC = b"AEGISCAT"
_HEAD = struct.Struct("<8sII16sQ32s")
_COVER = struct.Struct("<IIQ32s")
_MAC_SIZE = 32
_CONTEXT = "aegis-store/v0/catalogue sidecar"
_STEP = 1 << 18
#: A stranger's symbolic link is not followed, a pipe in our file's place does not block.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Seal:
    """Makes and checks the sidecars of one store."""

    def __init__(self, *, mac_key: bytes, store_id: bytes) -> None:
        self._key = blake3(mac_key, derive_key_context=_CONTEXT).digest()
        self._store_id = store_id

    def _mac(self, body: bytes) -> bytes:
        return blake3(body, key=self._key).digest(_MAC_SIZE)

    def write(self, directory: int, covers: list[Head]) -> None:
        """Vouch for data.mdb in the open `directory` as it is now; nobody may be writing to it. Synced, whole or not at all."""
        found = _fingerprint(directory)
        if found is None:
            raise FileNotFoundError(f"{DATA} is not a file of ours")
        body = _HEAD.pack(_MAGIC, VERSION, len(covers), self._store_id, *found)
        body += b"".join(_COVER.pack(cover.tier, 0, cover.size, cover.root) for cover in covers)
        with suppress(FileNotFoundError):
            os.unlink(_NEW, dir_fd=directory)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(_NEW, flags, 0o600, dir_fd=directory), "wb") as file:
            file.write(body + self._mac(body))
            file.flush()
            os.fsync(file.fileno())
        os.rename(_NEW, NAME, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)

    def read(self, directory: int) -> list[Head] | None:
        """What data.mdb covers, if there is a sidecar that vouches for it by (1) to (4)."""
        descriptor = _open(directory, NAME)
        if descriptor is None:
            return None
        with open(descriptor, "rb") as file:
            raw = file.read(_HEAD.size + len(Tier) * _COVER.size + _MAC_SIZE + 1)
        body, mac = raw[:-_MAC_SIZE], raw[-_MAC_SIZE:]
        if len(body) < _HEAD.size or not hmac.compare_digest(self._mac(body), mac):
            return None
        magic, version, count, store_id, size, digest = _HEAD.unpack_from(body)
        if (magic, version, store_id) != (_MAGIC, VERSION, self._store_id) or len(body) != _HEAD.size + count * _COVER.size:
            return None
        if _fingerprint(directory, expected_size=size) != (size, digest):
            return None
        found = _COVER.iter_unpack(body[_HEAD.size :])
        return [Head(tier=Tier(tier), size=covered, root=root) for tier, _, covered, root in found]


def remove(directory: int) -> None:
    """No sidecar any more, durably."""
    with suppress(FileNotFoundError):
        os.unlink(NAME, dir_fd=directory)
    os.fsync(directory)


def remove_all(directory: int) -> None:
    """No catalogue any more, durably."""
    for name in (NAME, _NEW, DATA, PACKED, _LOCK):
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
    os.fsync(directory)


def _open(directory: int, name: str) -> int | None:
    """A descriptor to read a file of ours; None if there is nothing, or something else in its place."""
    try:
        descriptor = os.open(name, _READ, dir_fd=directory)
    except OSError:
        return None
    is_file = False
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    finally:
        if not is_file:
            os.close(descriptor)
    return descriptor if is_file else None


def _fingerprint(directory: int, *, expected_size: int | None = None) -> tuple[int, bytes] | None:
    """Size and digest of data.mdb; None if it is none that we made, or not of the expected size."""
    descriptor = _open(directory, DATA)
    if descriptor is None:
        return None
    with open(descriptor, "rb", buffering=0) as file:
        found = os.fstat(descriptor)
        # A second name (a copy made of hard links) could have a second writer.
        if found.st_nlink != 1 or expected_size not in (None, found.st_size):
            return None
        # One buffer, small enough for the processor's cache: the digest is most of what an open costs.
        hasher, size, window = blake3(), 0, memoryview(bytearray(_STEP))
        while got := file.readinto(window):
            hasher.update(window[:got])
            size += got
        return size, hasher.digest()
