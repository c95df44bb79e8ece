"""Tables in memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aegis_store.catalog.memory import MemoryTables
from aegis_store.catalog.tables import Table, no_updates, number_key


@given(st.lists(st.lists(st.integers(0, 300), max_size=5), max_size=6), st.integers(0, 300), st.integers(1, 10))
def test_sessions_come_in_order_of_number_whatever_the_order_of_writing(batches, after: int, limit: int) -> None:
    memory = MemoryTables()
    for batch in batches:
        memory.write(no_updates() | {Table.SESSIONS: {number_key(number): b"%d" % number for number in batch}})
    numbers = sorted({number for batch in batches for number in batch if number > after})[:limit]
    assert memory.sessions_after(number_key(after), limit) == [(number_key(number), b"%d" % number) for number in numbers]


def test_tables_do_not_mix() -> None:
    memory = MemoryTables()
    memory.write(no_updates() | {Table.IDS: {b"k": b"v"}})
    assert [memory.get(table, b"k") for table in Table] == [b"v", *[None] * (len(Table) - 1)]


def test_what_is_loaded_stands_where_it_belongs() -> None:
    memory = MemoryTables()
    for numbers in ([5, 7], [1, 6, 7]):
        memory.load(Table.SESSIONS, iter([(number_key(number), b"of %d" % len(numbers)) for number in numbers]))
    expected = [(1, b"of 3"), (5, b"of 2"), (6, b"of 3"), (7, b"of 3")]
    assert memory.sessions_after(b"", 10) == [(number_key(number), value) for number, value in expected]
    memory.load(Table.TAGS, iter([(b"k", b"v")]))
    assert [memory.get(table, b"k") for table in (Table.TAGS, Table.IDS)] == [b"v", None]
