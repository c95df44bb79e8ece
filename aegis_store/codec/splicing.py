"""An array whose last item is a large bytes object, packed without moving that about.

ormsgpack makes room as it goes, so that a large object is moved, and new pages are touched, many times: 150 µs for 200 kB,
where putting pieces together takes 8. So what comes before is packed by ormsgpack, and the object's own header is written here,
in the one form that it writes. A checkpoint's envelope is such an array where the state is bytes.
Source: the msgpack specification, format bin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import ormsgpack

from aegis_store.codec.extensions import PLAIN, STR_KEYS
from aegis_store.codec.nesting import is_exact

#: Bytes from which on it is worth it.
LARGE_BYTES: Final = 32 << 10
#: Levels of what comes before: far fewer than a value may have.
LEVELS_MAX: Final = 64

_EXACT: Final = PLAIN | {list, dict}


def pack_spliced(value: object) -> bytes | None:
    """The same bytes as ormsgpack makes; None: it is no such array, or holds what ormsgpack takes for something else."""
    if type(value) is not list or not value:
        return None
    last = value[-1]
    if type(last) is not bytes or not LARGE_BYTES <= len(last) < 1 << 32:
        return None
    before = value[:-1]
    if not is_exact(before, _EXACT, levels_max=LEVELS_MAX):
        return None
    try:
        return splice(before, [last])
    except TypeError:
        return None


def splice(before: list[object], pieces: Sequence[bytes]) -> bytes:
    """The array of what comes before and of one bytes object, in pieces, of fewer than 2**32 bytes together.

    `before` holds nothing but lists, dicts with str for keys, None, bool, int, float, str and bytes, of exactly these types;
    TypeError for some of what else there is."""
    packed = ormsgpack.packb([*before, b""], None, STR_KEYS)
    size = sum(map(len, pieces))
    if size < 1 << 8:
        header = bytes((0xC4, size))
    else:
        header = b"\xc5" + size.to_bytes(2, "big") if size < 1 << 16 else b"\xc6" + size.to_bytes(4, "big")
    return b"".join((memoryview(packed)[:-2], header, *pieces))
