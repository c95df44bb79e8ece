"""Every error says what, where and what next, and belongs to one tree."""

import copy
import inspect

import pytest

from aegis_store import errors
from aegis_store.errors import AegisError, BadSignature, Corrupt, InvalidArgument, KeysWrong, StateTooLarge, StateTypeError

TREE = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, AegisError)]


def test_the_tree_is_what_this_file_believes():
    assert len(TREE) > 25
    assert all(each.__module__ == "aegis_store.errors" for each in TREE)


@pytest.mark.parametrize("kind", TREE)
def test_every_error_is_documented_and_carries_its_fields(kind):
    error = kind("it broke", op="load", path="/s", tier="session", index=7, hint="mend it")
    assert kind.__doc__
    assert (error.message, error.op, error.path, error.tier, error.index, error.hint) == (
        "it broke", "load", "/s", "session", 7, "mend it",
    )  # fmt: skip
    assert isinstance(kind.can_retry, bool)
    assert kind.exit_code in (1, 2, 3, 4)


def test_place_message_and_hint_are_shown_in_that_order():
    assert str(KeysWrong("garbled", path="/s.keys", tier="session", hint="mend it")) == "/s.keys: session: garbled\n  mend it"
    assert str(KeysWrong("garbled", path="/s.keys")) == "/s.keys: garbled"
    assert str(KeysWrong("garbled", tier="audit")) == "audit: garbled"
    assert str(KeysWrong("garbled")) == "garbled"


def test_index_zero_is_an_index():
    assert Corrupt("x", index=0).index == 0


def test_what_a_caller_may_catch():
    assert issubclass(BadSignature, Corrupt)
    assert issubclass(StateTypeError, TypeError)
    assert issubclass(StateTooLarge, ValueError)
    assert issubclass(InvalidArgument, ValueError)


@pytest.mark.parametrize("kind", TREE)
def test_an_error_survives_a_copy(kind):
    again = copy.copy(kind("it broke", path="/s", hint="mend it"))
    assert type(again) is kind
    assert (str(again), again.path, again.hint) == ("/s: it broke\n  mend it", "/s", "mend it")
