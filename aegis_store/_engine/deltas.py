"""Deltas between states, made and undone in C. Bytes in, bytes out; no store is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aegis_store._engine.failures import failure
from aegis_store._native import ffi, lib

#: A buffer is kept for the next delta if it is not larger, and so many of them are.
KEPT_BYTES: Final = 1 << 20
SPARE_MAX: Final = 8

_new_buffer: Final = ffi.new_allocator(should_clear_after_alloc=False)


class _Room:
    """Where the C core writes, for one thread at a time. A state is copied out of it, so it is as large as the largest that
    came lately. It is no thread's own: runtimes make threads by the thousand, and new memory costs more than a small delta."""

    def __init__(self) -> None:
        self.length = ffi.new("uint64_t *")
        self._buffer = _new_buffer("uint8_t[]", 1 << 16)

    def of(self, size: int) -> Any:
        """At least `size` bytes."""
        if size <= len(self._buffer):
            return self._buffer
        buffer = _new_buffer("uint8_t[]", size)
        if size <= KEPT_BYTES:
            self._buffer = buffer
        return buffer


_spare: Final[list[_Room]] = []


def _taken() -> _Room:
    try:
        return _spare.pop()
    except IndexError:
        return _Room()


def _give_back(room: _Room) -> None:
    if len(_spare) < SPARE_MAX:
        _spare.append(room)


def make_delta(base: bytes, target: bytes, most: int) -> bytes | None:
    """The delta that makes `target` from `base`, or None where it would have more than `most` bytes."""
    room = _taken()
    out, length = room.of(most), room.length
    code = lib.aegis_delta_make(base, len(base), target, len(target), out, most, length)
    if code == lib.AEGIS_E_SPACE:
        _give_back(room)
        return None
    if code:
        raise failure(code, "compare", None)
    delta: bytes = ffi.buffer(out, length[0])[:]
    _give_back(room)
    return delta


def literals_of(delta: bytes) -> bytes:
    """What a delta that `make_delta` made brings in anew: the bytes that its base does not have."""
    at = 0
    while delta[at] & 0x80:  # the length of the target
        at += 1
    at += 1
    operations = shift = 0
    while True:
        operations |= (delta[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not delta[at - 1] & 0x80:
            return delta[at + operations :]


def restore(keyframe: bytes, deltas: Sequence[bytes], *, length: int, limit: int) -> bytes:
    """The state of `length` bytes that the deltas make, one after another, from the keyframe.

    Corrupt: they do not. StateTooLarge: a state on the way has more than `limit` bytes.
    """
    kept = [ffi.from_buffer("uint8_t[]", each) for each in deltas]  # as long as the call takes
    lengths = ffi.new("uint64_t[]", [len(each) for each in deltas])
    room = _taken()
    out = room.of(length)
    code = lib.aegis_delta_restore(
        keyframe, len(keyframe), ffi.new("uint8_t *[]", kept), lengths, len(kept), limit, out, length
    )
    if code:
        raise failure(code, "restore", None)
    state: bytes = ffi.buffer(out, length)[:]
    _give_back(room)
    return state
