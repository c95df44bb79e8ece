"""Which objects are workflows, and what stands for their states."""

from __future__ import annotations

from enum import Enum, IntEnum

import pytest

from aegis_store.errors import InvalidArgument, NotFound
from aegis_store.workflow.classes import demand_workflow, restored, state_name, type_name
from tests.workflow.orders import Order


class Number(IntEnum):
    ONE = 1


class Text(Enum):
    ONE = "one"


def test_the_text_of_a_state():
    assert [state_name(each) for each in ("new", Number.ONE, Text.ONE)] == ["new", "ONE", "one"]
    assert type(state_name(type("S", (str,), {})("new"))) is str


def test_the_name_of_a_class():
    assert type_name(Order) == "Order"
    assert type_name(type("X", (Order,), {"workflow_type": "order"})) == "order"
    with pytest.raises(InvalidArgument):
        type_name(type("X", (Order,), {"workflow_type": 7}))


def test_an_id_is_a_text():
    assert demand_workflow(Order("o")) == "o"
    with pytest.raises(InvalidArgument):
        demand_workflow(Order(7))


def test_an_attribute_error_of_the_users_own_is_not_hidden():
    class Broken(Order):
        @property
        def workflow_id(self):
            return self.nothing

        @workflow_id.setter
        def workflow_id(self, value):
            pass

        def __getattr__(self, name):
            raise AttributeError(name)

    with pytest.raises((AttributeError, InvalidArgument)):
        demand_workflow(Broken("o"))


def test_what_from_dict_raises_is_said_with_the_workflow():
    with pytest.raises(InvalidArgument, match=r"Order\.from_dict does not take what was saved of workflow 'o': KeyError"):
        restored(Order, "o", "new", {})
    with pytest.raises(InvalidArgument, match="is of type list, not a dict"):
        restored(Order, "o", "new", [])

    class Own(Order):
        @classmethod
        def from_dict(cls, data):
            raise NotFound("mine")

    with pytest.raises(NotFound, match="mine"):
        restored(Own, "o", "new", {})
