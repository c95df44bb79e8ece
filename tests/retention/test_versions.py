"""Which records of a key hold a version that no later one holds as well."""

from __future__ import annotations

import pytest

from aegis_store.retention.versions import last_of_each
from aegis_store.schema import memory as schema
from aegis_store.survey import Strand


def strand_of(words: str) -> tuple[Strand, dict[int, bytes]]:
    """A strand of puts (p), refreshes (r) and deletes (d), its records at indexes 10, 11, …"""
    strand = Strand(tag=b"t" * 16, number=9, parent=None, first_ordinal=0, is_erased=False)
    envelopes, put, number = {}, 0, 0
    for ordinal, word in enumerate(words):
        if word == "p":
            put, number = ordinal, number + 1
            item = schema.Item(namespace=(), key="k", op="put", number=number)
        elif word == "r":
            item = schema.Item(
                namespace=(), key="k", op="refresh", number=number, put=put, created_ms=1, changed_ms=1, ttl_ms=1, expires_ms=1
            )
        else:
            item = schema.Item(namespace=(), key="k", op="delete", number=number, put=put, created_ms=1, changed_ms=1)
        strand.ordinals.append(ordinal)
        strand.indexes.append(10 + ordinal)
        envelopes[10 + ordinal] = schema.encode(item)
    return strand, envelopes


@pytest.mark.parametrize(
    ("words", "there", "last"),
    [
        ("", [], []),
        ("p", [0], [0]),
        ("pp", [0, 1], [0, 1]),
        ("pr", [0, 1], [1]),
        ("prr", [0, 1, 2], [2]),
        ("prrpd", [0, 1, 2, 3, 4], [2, 3, 4]),
        ("prdpr", [0, 1, 2, 3, 4], [1, 2, 4]),
        ("prrprr", [0, 3, 5], [0, 5]),
        ("prrprr", [1, 5], [1, 5]),
        ("prrprr", [0, 1, 4], [1, 4]),
        ("prr", [1], [1]),
    ],
)
def test_the_last_record_of_each_version_is_found(words, there, last):
    strand, envelopes = strand_of(words)
    assert last_of_each(strand, there, envelopes.__getitem__) == last


def test_one_record_is_read_for_each_version_and_none_where_there_is_one_place():
    strand, envelopes = strand_of("prrrrprrrd")
    read = []
    last_of_each(strand, range(10), lambda index: read.append(index) or envelopes[index])
    assert read == [19, 18, 14]
    read.clear()
    last_of_each(strand, [9], lambda index: read.append(index) or envelopes[index])
    assert read == []
