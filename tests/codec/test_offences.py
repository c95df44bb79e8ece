"""A message names the place of a value, however deep or odd, in a line that can be read."""

import collections
import fractions
import pathlib

import pytest

from aegis_store.codec.offences import FIELD, ITEM, KEY, MEMBER, ROOT, Place, name_of, not_stored, shown


def chain(*steps):
    place = Place(None, "state", ROOT, Place(None, "state", ROOT, None, None), 0)
    for step, form in steps:
        place = Place(None, step, form, place, None)
    return place


@pytest.mark.parametrize(
    ("steps", "path"),
    [
        ([], "state"),
        ([("messages", ITEM), (3, ITEM), ("tool", FIELD)], 'state["messages"][3].tool'),
        ([("tags", ITEM), (0, MEMBER), (1, ITEM)], 'state["tags"]{…}[1]'),
        ([((1, 2), ITEM)], "state[(1, 2)]"),
    ],
)
def test_a_path_is_written_as_one_would_write_it(steps, path):
    assert chain(*steps).path() == path
    assert chain(*steps).says("is odd") == f"{path} is odd"
    assert chain(*steps).depth == len(steps)


def test_what_is_wrong_with_a_key_is_said_of_the_outermost_key():
    assert chain(("a", ITEM), ("k", KEY)).says("is odd") == 'a key of state["a"], "k", is odd'
    inside = chain(("a", ITEM), ((1, 2), KEY), (1, ITEM), ("x", KEY))
    assert inside.says("is odd") == 'a key of state["a"], (1, 2), holds a value that is odd'


def test_a_place_becomes_what_is_put_there():
    above = Place([1, 2], "state", ROOT, None, None)
    above.items = [1, 2]
    Place(2, 1, ITEM, above, 1).become("two")
    assert above.items == [1, "two"]


def test_a_key_that_cannot_be_shown_is_shown_by_its_type():
    assert shown(Mute()) == "<tests.codec.test_offences.Mute>"
    assert shown(2**64) == "an int of 65 bits"
    assert shown(2**64 - 1) == str(2**64 - 1)


class Mute:
    def __repr__(self):
        raise RuntimeError


class Deck(collections.deque):
    pass


@pytest.mark.parametrize(
    ("value", "what", "remedy"),
    [
        (Deck(), "tests.codec.test_offences.Deck", "make it a list"),
        (fractions.Fraction(1), "fractions.Fraction", "store its str()"),
        (pathlib.PurePosixPath(), "PurePosixPath", "store its str()"),
        (..., "ellipsis", "make it of values that are stored"),
    ],
)
def test_the_remedy_is_that_of_the_nearest_base(value, what, remedy):
    fault = not_stored(value)
    assert what in fault.what
    assert fault.remedy == remedy
    assert name_of(int) == "int"
