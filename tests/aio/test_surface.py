"""The surface for tasks is the one for threads: every public name has its twin, with the same arguments."""

from __future__ import annotations

import inspect

import pytest

import aegis_store
from aegis_store import aio

#: What the floors of the package need of each other, and nobody else.
INNER = {
    aegis_store.Store: {
        "open",  # a function of the module, for people
        "autosaver",
        "catalog",
        "catch_up",
        "chain_of",
        "chains",
        "check_open",
        "clock",
        "demand_no_incident",
        "draw_tag",
        "forget_session",
        "heads",
        "is_writable",
        "incidents",
        "keeping",
        "lookout",
        "all_chains",
        "open_tiers",
        "lost_track",
        "note",
        "records",
        "role_of",
        "sign_segment",
        "signer_for",
        "store_signer",
        "take_in",
    },
    aegis_store.Session: {
        "autosaver",
        "has_no_writes",
        "land",
        "settle",
        "stamp",
        "submit",
        "submit_end",
        "submit_fork",
        "submit_plain",
        "submit_write",
    },
    aegis_store.Audit: {"follow", "land", "requested", "settle", "submit"},
}
#: What only tasks have.
OWN = {aio.Store: {"sync"}, aio.Session: {"landed"}, aio.Audit: {"landed"}}
TWINS = [(aegis_store.Store, aio.Store), (aegis_store.Session, aio.Session), (aegis_store.Audit, aio.Audit)]
#: Objects with a twin of their own.
TWINNED = {"audit", "calls", "memory"}
#: Not coroutines: what does nothing but make an object, and what is iterated with `async for`.
PLAIN = {"every", "session", "sessions", "history", "events", "newest_first", "subjects"}


def names(kind: type, made: object) -> set[str]:
    """Public names of a class and of an object of it."""
    return {name for name in {*dir(kind), *vars(made)} if not name.startswith("_")}


@pytest.fixture
def pairs(place):
    """An object of each class and its twin."""
    with aegis_store.open(place) as store:
        twin = aio.wrap(store)
        yield {
            aegis_store.Store: (store, twin),
            aegis_store.Session: (store.session("s"), twin.session("s")),
            aegis_store.Audit: (store.audit, twin.audit),
        }


def arguments(function: object) -> list[tuple[str, object, object, object]]:
    found = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default, each.annotation) for each in found]


@pytest.mark.parametrize("threads, tasks", TWINS)
def test_every_public_name_has_its_twin(pairs, threads, tasks):
    of_threads, of_tasks = pairs[threads]
    assert names(threads, of_threads) - INNER[threads] == names(tasks, of_tasks) - OWN[tasks]


@pytest.mark.parametrize("threads, tasks", TWINS)
def test_twins_take_the_same_arguments_and_are_coroutines(threads, tasks):
    functions = {name for name, member in inspect.getmembers(tasks, inspect.isfunction) if not name.startswith("_")}
    assert functions  # the comparison below has something to compare
    for name in functions - OWN[tasks]:
        assert arguments(getattr(tasks, name)) == arguments(getattr(threads, name)), name
        assert inspect.iscoroutinefunction(getattr(tasks, name)) == (name not in PLAIN), name
        assert inspect.getdoc(getattr(tasks, name)), name


def test_opening_takes_the_same_arguments():
    assert arguments(aio.open) == arguments(aegis_store.open)


def test_what_is_not_a_function_says_the_same(pairs):
    for of_threads, of_tasks in pairs.values():
        for name in names(type(of_tasks), of_tasks) - OWN[type(of_tasks)] - TWINNED:
            if not callable(getattr(of_tasks, name)):
                assert getattr(of_tasks, name) is getattr(of_threads, name), name
