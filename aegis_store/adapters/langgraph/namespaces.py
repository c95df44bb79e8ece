"""Which namespaces a list is for, as LangGraph says it: conditions on their beginnings and ends. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from langgraph.store.base import MatchCondition, NamespacePath

from aegis_store.errors import InvalidArgument
from aegis_store.schema.names import Namespace

#: Stands for any one part in a condition, also for a part that is this very text.
ANY: Final = "*"


def matches(namespace: Namespace, conditions: Sequence[MatchCondition]) -> bool:
    """Whether a namespace begins and ends as all conditions say. InvalidArgument: one is of another kind."""
    return all([_matches(namespace, condition) for condition in conditions])


def _matches(namespace: Namespace, condition: MatchCondition) -> bool:
    path = condition.path
    if condition.match_type == "prefix":
        part = namespace[: len(path)]
    elif condition.match_type == "suffix":
        part = namespace[len(namespace) - len(path) :]  # of a shorter one too little, which matches nothing
    else:
        raise InvalidArgument(
            f'there is no match type {condition.match_type!r}: "prefix" and "suffix" are', op="list_namespaces"
        )
    return len(part) == len(path) and all(wanted in (ANY, each) for wanted, each in zip(path, part, strict=True))


def common_beginning(conditions: Sequence[MatchCondition]) -> Namespace:
    """Parts that all namespaces that match begin with: what need not be looked through to find them."""
    return max([_named(each.path) for each in conditions if each.match_type == "prefix"], key=len, default=())


def _named(path: NamespacePath) -> Namespace:
    """The parts before the first that may be any."""
    return tuple(path[: path.index(ANY)] if ANY in path else path)
