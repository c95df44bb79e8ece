from __future__ import annotations

import pytest

import aegis_store
from aegis_store.catalog import CheckpointRecord, SessionRecord
from aegis_store.cli.whereabouts import Loss, Place, losses, whereabouts

from .conftest import CHECKPOINTS

RECORDS = 1 + 2 * (1 + CHECKPOINTS)


def test_a_record_is_told_by_its_session_and_ordinal(store):
    with aegis_store.open(store, mode="r") as opened:
        catalog = opened.catalog
        assert whereabouts(catalog, 0) is None
        assert whereabouts(catalog, 1) == Place(session="first")
        assert whereabouts(catalog, 2) == Place(session="first", ordinals=(0,))
        assert whereabouts(catalog, 61) == Place(session="first", ordinals=(59,))
        assert whereabouts(catalog, 63) == Place(session="second", ordinals=(0,))
        assert whereabouts(catalog, RECORDS) is None
        assert whereabouts(catalog, None) is None


class Gappy:
    """A catalogue of one session at record 10, which has not seen some of its checkpoints."""

    def __init__(self, *ordinals, first=0):
        self.ordinals = ordinals
        self.first = first

    def sessions(self, *, after=None, limit=100):
        session = SessionRecord(
            number=10, id="s", tag=b"", agent="", role=None, forked_from=None, parent=None, first_ordinal=self.first,
            created_ms=0, last_ordinal=4, last_index=15, last_leaf=b"", last_ms=0, ended=None,
        )  # fmt: skip
        return [] if after is not None else [session]

    def checkpoints(self, number, *, before=None, limit=100):
        newest = [ordinal for ordinal in reversed(self.ordinals) if before is None or ordinal < before]
        return [CheckpointRecord(number=10, ordinal=each, index=11 + each - self.first, time_ms=0) for each in newest[:1]]


def test_a_record_that_the_catalogue_could_not_read_is_told_by_the_gap_that_it_leaves():
    assert whereabouts(Gappy(0, 3, 4), 12) == Place(session="s", ordinals=(1, 2))
    assert whereabouts(Gappy(0, 3, 4), 14) == Place(session="s", ordinals=(3,))
    assert whereabouts(Gappy(1, 2, 3, 4), 11) == Place(session="s", ordinals=(0,))
    assert whereabouts(Gappy(), 11) is None


def test_below_the_first_checkpoint_of_a_fork_there_is_nothing_of_its_own():
    assert whereabouts(Gappy(3, 4, first=2), 11) == Place(session="s", ordinals=(2,))


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (Place(session="a"), 'this begins session "a": none of its checkpoints can be read'),
        (Place(session="a", ordinals=(1204,)), 'this is checkpoint 1 204 of session "a"'),
        (Place(session="a", ordinals=(1, 2)), 'this is checkpoint 1 or 2 of session "a"'),
    ],
)
def test_a_place_in_words(place, words):
    assert str(place) == words


def test_what_is_lost_adds_up_by_session():
    places = [
        Place(session="a", ordinals=(18,)),
        Place(session="b", ordinals=(0,)),
        Place(session="a", ordinals=(17, 19)),
        Place(session="c", ordinals=(5,)),
        Place(session="c"),
        Place(session="c", ordinals=(6,)),
    ]
    found = losses(places)
    assert found == [Loss(session="a", ordinals=(17, 18, 19), before=16), Loss(session="b", ordinals=(0,)), Loss(session="c")]
    assert [str(each) for each in found] == [
        'checkpoints 17-19 of session "a" can\'t be read; its others can',
        'checkpoint 0 of session "b" can\'t be read; its others can',
        'session "c" can\'t be read',
    ]
