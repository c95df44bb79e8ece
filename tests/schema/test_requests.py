"""The request id in an envelope, read without the rest."""

from __future__ import annotations

import msgspec
import pytest

from aegis_store.errors import Corrupt
from aegis_store.schema import audit, checkpoint, memory
from aegis_store.schema.requests import request_id_of
from aegis_store.types import LINKS, Kind

canonical = msgspec.msgpack.encode
ENVELOPES = {
    Kind.CHECKPOINT: lambda request_id: checkpoint.encode(checkpoint.Checkpoint(state=[1], request_id=request_id)),
    Kind.AUDIT_EVENT: lambda request_id: audit.encode(
        audit.Event(subject="s", actor="a", action="did", details="d", request_id=request_id)
    ),
    Kind.MEMORY_ITEM: lambda request_id: memory.encode(
        memory.Item(namespace=("n",), key="k", op="put", number=1, request_id=request_id, value="v")
    ),
}


def test_every_kind_of_link_has_one():
    assert set(ENVELOPES) == LINKS


@pytest.mark.parametrize("kind", sorted(LINKS))
@pytest.mark.parametrize("request_id", ["try 7", None])
def test_the_request_id_is_read_alone(kind, request_id):
    assert request_id_of(kind, ENVELOPES[kind](request_id)) == request_id


@pytest.mark.parametrize(
    "data",
    [
        b"",
        canonical(None),
        canonical(["checkpoint", 0]),
        canonical(["checkpoint", 0, *[5] * 8]),
        b"\x9a" + b"\xc0" * 8 + b"\xa1\xff\xc0",
        b"\x9a" + b"\x91" * 100_000 + b"\xc0" * 10,
    ],
    ids=["nothing", "nil", "short", "number", "no UTF-8", "deep"],
)
def test_what_has_no_request_id_is_corrupt(data):
    with pytest.raises(Corrupt):
        request_id_of(Kind.CHECKPOINT, data)
