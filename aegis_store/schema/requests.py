"""The request id in an envelope: what makes a repeated call return what the first one made.

It stands among the fields of every envelope that a chain is made of, as text or nil, each schema in a place of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from aegis_store.errors import Corrupt
from aegis_store.schema import audit, checkpoint, memory
from aegis_store.types import Kind

_FIELD: Final = "request_id"
_PLACES: Final[Mapping[Kind, int]] = {
    Kind.CHECKPOINT: checkpoint.NAMES.index(_FIELD),
    Kind.AUDIT_EVENT: audit.NAMES.index(_FIELD),
    Kind.MEMORY_ITEM: memory.NAMES.index(_FIELD),
}
_fields: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])
_text: Final = msgspec.msgpack.Decoder(str | None)


def request_id_of(kind: Kind, data: bytes) -> str | None:
    """The request id in an envelope that the entry of such a kind commits to, without a look at the rest."""
    try:
        found: str | None = _text.decode(_fields.decode(data)[_PLACES[kind]])
        return found
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError, RecursionError) as error:
        raise Corrupt(f"the envelope of a {kind.label} has no request id: {error}", op="decode") from None
