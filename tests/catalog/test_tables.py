"""Folding rows into tables."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_store.catalog import (
    CheckpointMade,
    DictionaryMade,
    DictionaryRetired,
    KeyAdded,
    KeyRevoked,
    SessionBegan,
    SessionEnded,
    tables,
)
from aegis_store.catalog.tables import (
    Table,
    checkpoint_record,
    dictionary_records,
    fold,
    group_key,
    id_key,
    key_records,
    no_updates,
    tier_key,
)
from aegis_store.errors import Corrupt
from aegis_store.types import Tier


@dataclass
class Shelf:
    """Tables at their simplest."""

    items: dict = field(default_factory=no_updates)

    def take(self, rows: list) -> Shelf:
        for table, items in fold(rows, lambda table, key: self.items[table].get(key)).items():
            self.items[table].update(items)
        return self


@given(st.data())
def test_rows_fold_the_same_in_any_portions_and_when_told_again(kit, data) -> None:
    log = kit.Log()
    rows = kit.work(log, data.draw(kit.actions))
    whole, parts = Shelf().take(rows), Shelf()
    for row in rows:
        parts.take([row])
    assert parts.items == whole.items
    for row in rows:
        assert parts.take([row]).items == whole.items
    begun = [row for row in rows if isinstance(row, SessionBegan)]
    assert Shelf().take(rows + begun).items == whole.items


@given(st.data())
def test_rows_fold_the_same_in_any_order_that_begins_sessions_first(kit, data) -> None:
    log = kit.Log()
    rows = kit.work(log, data.draw(kit.actions))
    begun = [row for row in rows if isinstance(row, SessionBegan)]
    rest = data.draw(st.permutations([row for row in rows if not isinstance(row, SessionBegan)]))
    assert Shelf().take(begun + rest).items == Shelf().take(rows).items
    assert Shelf().take(begun).take(rest).items == Shelf().take(rows).items


@pytest.mark.parametrize("kind", [CheckpointMade, SessionEnded])
def test_a_row_of_a_session_that_never_began_is_corruption_and_named(kit, kind) -> None:
    log = kit.Log()
    began = log.begin()
    row = log.checkpoint(began) if kind is CheckpointMade else log.end(began)
    with pytest.raises(Corrupt) as caught:
        Shelf().take([row])
    assert (caught.value.tier, caught.value.index) == ("session", 1)
    assert began.tag.hex() in str(caught.value)


def test_ordinals_that_are_missing_are_not_found(kit) -> None:
    log = kit.Log()
    began = log.begin()
    log.ordinals[began.tag] = 5
    row = log.checkpoint(began)
    group = Shelf().take(log.rows).items[Table.POINTS][group_key(began.index, 0)]
    assert [checkpoint_record(began.index, ordinal, group) is None for ordinal in range(8)] == [True] * 5 + [False] + [True] * 2
    assert checkpoint_record(began.index, 5, group).index == row.index
    assert checkpoint_record(began.index, 5, None) is None


def test_a_checkpoint_takes_twelve_bytes(kit) -> None:
    log = kit.busy(sessions=1, checkpoints=tables.GROUP * 3)
    groups = Shelf().take(log.rows).items[Table.POINTS]
    assert sorted(len(value) for value in groups.values()) == [12 * tables.GROUP] * 3


def test_a_key_may_be_added_again_after_it_was_revoked(kit) -> None:
    log = kit.Log()
    log.add_key(0)
    log.add_key(1)  # shares the id
    log.revoke_key(0)
    log.revoke_key(0)  # revokes nothing more
    log.add_key(0)
    value = Shelf().take(log.rows).items[Table.KEYS]
    found = key_records(Tier.SESSION, bytes(4), next(iter(value.values())))
    assert [(each.agent, each.added, each.revoked) for each in found] == [
        ("agent 0", 0, 2),
        ("agent 1", 1, None),
        ("agent 0", 4, None),
    ]


def test_a_key_of_one_tier_is_none_of_another() -> None:
    row = {"key_id": b"abcd", "public_key": bytes(32)}
    shelf = Shelf().take([KeyAdded(tier=Tier.SESSION, index=0, agent="a", **row), KeyRevoked(tier=Tier.AUDIT, index=1, **row)])
    assert len(shelf.items[Table.KEYS]) == 2


@given(st.text(st.characters(), max_size=20), st.text(st.characters(), max_size=20))
def test_ids_have_the_same_key_only_if_they_are_the_same(one: str, two: str) -> None:
    assert (id_key(one) == id_key(two)) == (one == two)
    assert len(id_key(one)) == 16


@given(st.permutations(range(5)), st.lists(st.integers(0, 4)))
def test_dictionaries_are_those_that_were_made_less_those_that_were_retired_in_any_order(order, again) -> None:
    rows = [DictionaryMade(tier=Tier.SESSION, index=index, size=10 * index) for index in (3, 5, 9)]
    rows += [DictionaryRetired(tier=Tier.SESSION, index=index) for index in (3, 9)]
    shelf = Shelf().take([rows[at] for at in order]).take([rows[at] for at in again])
    found = dictionary_records(shelf.items[Table.DICTS][tier_key(Tier.SESSION)])
    assert [(each.index, each.size, each.is_retired) for each in found] == [(3, 30, True), (5, 50, False), (9, 90, True)]
    assert dictionary_records(None) == []
