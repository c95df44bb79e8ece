"""The envelope of a dictionary: bytes that later payloads are compressed with.

    ["dictionary", 0, content (bin, 1 to 65536 bytes)]

The log key signs it. The content has no structure: it is what a zstd frame may copy from. Source: FORMAT.md, Envelopes.
"""

from __future__ import annotations

from typing import Final

from aegis_store.codec.canonical import decode_envelope, encode_envelope
from aegis_store.errors import Corrupt, InvalidArgument

DICTIONARY: Final = "dictionary"
VERSION: Final = 0
CONTENT_BYTES_MAX: Final = 64 << 10

_NAMES: Final = ("schema", "version", "content")


def encode(content: bytes) -> bytes:
    """The envelope of a dictionary record. InvalidArgument for no content, and for more than CONTENT_BYTES_MAX."""
    if type(content) is not bytes or not 0 < len(content) <= CONTENT_BYTES_MAX:
        raise InvalidArgument(f"a dictionary is 1 to {CONTENT_BYTES_MAX} bytes", op="encode")
    return encode_envelope([DICTIONARY, VERSION, content], _NAMES)


def decode(data: bytes) -> bytes:
    """The content in a dictionary record. Corrupt if it is anything else; NewerFormat if a later version wrote it."""
    _, _, content = decode_envelope(data, schema=DICTIONARY, version=VERSION, names=_NAMES)
    if type(content) is not bytes or not 0 < len(content) <= CONTENT_BYTES_MAX:
        raise Corrupt(f"a dictionary is not 1 to {CONTENT_BYTES_MAX} bytes", op="decode")
    return content
