"""The envelope of a dictionary."""

import msgspec
import pytest

from aegis_store.errors import Corrupt, InvalidArgument, NewerFormat
from aegis_store.schema.dictionary import CONTENT_BYTES_MAX, decode, encode


@pytest.mark.parametrize("size", [1, 255, 256, CONTENT_BYTES_MAX])
def test_what_was_encoded_comes_back(size):
    content = bytes(each % 251 for each in range(size))
    assert decode(encode(content)) == content


def test_it_is_what_the_format_says():
    assert encode(b"text") == b"\x93\xaadictionary\x00\xc4\x04text"


@pytest.mark.parametrize("content", [b"", bytes(CONTENT_BYTES_MAX + 1), bytearray(b"x"), "text", None])
def test_what_is_none_is_not_encoded(content):
    with pytest.raises(InvalidArgument, match="1 to 65536 bytes"):
        encode(content)


@pytest.mark.parametrize(
    "fields",
    [
        ["dictionary", 0, b""],
        ["dictionary", 0, bytes(CONTENT_BYTES_MAX + 1)],
        ["dictionary", 0, "text"],
        ["dictionary", 0, None],
        ["dictionary", 0],
        ["dictionary", 0, b"x", b"y"],
        ["session-end", 0, b"x"],
    ],
    ids=str,
)
def test_what_is_none_is_corrupt(fields):
    with pytest.raises(Corrupt):
        decode(msgspec.msgpack.encode(fields))


def test_a_later_version_is_newer():
    with pytest.raises(NewerFormat):
        decode(msgspec.msgpack.encode(["dictionary", 1, b"x"]))
