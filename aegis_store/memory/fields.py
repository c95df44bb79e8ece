"""Which values a search is for, as data: a pure predicate.

    {"kind": "note", "tags": {"lang": "en"}, "score": {"$gte": 3, "$lt": 7}}

A value that is no dict matches only the filter that asks for nothing. A field that is not there counts as None. A dict in a
filter asks for each of its fields, whatever else there is; one whose keys begin with `$` holds operators, all of which must
hold; a list asks for that list, element by element; anything else for what is equal to it. A bool is no number. Operators:
$eq, $ne, $gt, $gte, $lt, $lte. Order is asked of two numbers, two strs, two bytes or two times; of anything else the answer is
no.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from operator import ge, gt, le, lt
from typing import Any, Final, TypeAlias

from aegis_store.errors import InvalidArgument

#: Whether a value is one that is searched for.
Matcher: TypeAlias = Callable[[object], bool]

_NUMBERS: Final = (int, float, Decimal)
#: What is ordered among its own kind. A datetime is a date to Python, and to nobody else.
_ORDERED: Final[tuple[type, ...]] = (str, bytes, datetime, date, time, timedelta)


def matcher(where: Mapping[str, object] | None) -> Matcher:
    """The predicate for values that a filter stands for. InvalidArgument: it is none."""
    if where is None:
        return lambda value: True
    if not isinstance(where, Mapping):
        raise InvalidArgument(f"where is {where!r}, not a dict of fields and what they are to be", op="search")
    if not where:
        return lambda value: True
    return _wanted(where)


def _wanted(wanted: object) -> Matcher:
    if isinstance(wanted, Mapping):
        operators = [key for key in wanted if isinstance(key, str) and key.startswith("$")]
        if not operators:
            return _fields(wanted)
        if len(operators) < len(wanted):
            raise InvalidArgument(f"a filter mixes fields and operators: {wanted!r}", op="search")
        return _all([_operator(key, wanted[key]) for key in operators])
    if isinstance(wanted, (list, tuple)):
        each = [_wanted(element) for element in wanted]
        return lambda value: (
            isinstance(value, (list, tuple))
            and len(value) == len(each)
            and all(matches(element) for matches, element in zip(each, value, strict=True))
        )
    return lambda value: _equal(value, wanted)


def _fields(wanted: Mapping[Any, object]) -> Matcher:
    each = [(key, _wanted(value)) for key, value in wanted.items()]
    return lambda value: isinstance(value, Mapping) and all(matches(value.get(key)) for key, matches in each)


def _operator(name: str, operand: object) -> Matcher:
    if name == "$eq":
        return lambda value: _equal(value, operand)
    if name == "$ne":
        return lambda value: not _equal(value, operand)
    order = _ORDERS.get(name)
    if order is None:
        raise InvalidArgument(
            f"there is no operator {name!r}", op="search", hint=f"there are {', '.join(('$eq', '$ne', *_ORDERS))}"
        )
    return lambda value: _compares(order, value, operand)


_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {"$gt": gt, "$gte": ge, "$lt": lt, "$lte": le}


def _all(each: list[Matcher]) -> Matcher:
    return lambda value: all(matches(value) for matches in each)


def _equal(value: object, wanted: object) -> bool:
    try:
        return isinstance(value, bool) is isinstance(wanted, bool) and bool(value == wanted)
    except ArithmeticError:  # a Decimal that signals when it is compared
        return False


def _compares(order: Callable[[Any, Any], bool], value: object, operand: object) -> bool:
    kind = _kind(value)
    if kind is None or kind is not _kind(operand):
        return False
    try:
        return bool(order(value, operand))
    except (TypeError, ArithmeticError):  # two times of which one has a zone; a Decimal that is no number
        return False


def _kind(value: object) -> object:
    if isinstance(value, bool):
        return None
    if isinstance(value, _NUMBERS):
        return _NUMBERS
    return next((kind for kind in _ORDERED if isinstance(value, kind)), None)
