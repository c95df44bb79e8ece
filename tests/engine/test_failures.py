"""Codes become exceptions that say what, where and what next."""

from __future__ import annotations

import re
import shlex

import pytest

from aegis_store import errors
from aegis_store._engine import failures
from aegis_store._native import lib
from aegis_store.types import Tier

CODES = {name: getattr(lib, name) for name in dir(lib) if name.startswith("AEGIS_E_")}
#: What `aegis` can do so far, and commands of the system.
COMMANDS = {"audit", "demo", "verify", "head"}


@pytest.mark.parametrize("name", CODES)
def test_every_code_has_an_exception(name):
    assert issubclass(failures.EXCEPTIONS[CODES[name]], errors.AegisError)
    error = failures.failure(CODES[name], "append", "/data/store")
    assert error.message
    assert error.path == "/data/store"


def test_an_unknown_code_is_a_bug():
    assert isinstance(failures.failure(-99, "append", None), errors.EngineBug)


@pytest.mark.parametrize("kind", failures.HINTS)
def test_a_hint_names_commands_that_exist(kind):
    hint = failures.HINTS[kind]
    assert set(re.findall(r"\baegis (\w+)", hint)) <= COMMANDS
    assert hint.format(path="x")


def test_a_path_in_a_hint_can_be_pasted_into_a_shell():
    error = failures.failure(lib.AEGIS_E_CORRUPT, "read", "/data/it's here")
    command = error.hint.split(": ", 1)[1]
    assert shlex.split(command) == ["aegis", "verify", "/data/it's here"]


def test_the_same_code_can_mean_another_thing_in_another_call():
    assert isinstance(failures.failure(lib.AEGIS_E_NOTFOUND, "open", "x"), errors.NotAStore)
    assert isinstance(failures.failure(lib.AEGIS_E_NOTFOUND, "read", "x"), errors.NotFound)
    assert isinstance(failures.failure(lib.AEGIS_E_EXISTS, "open", "x"), errors.StoreExists)
    assert isinstance(failures.failure(lib.AEGIS_E_EXISTS, "sign", "x"), errors.KeysWrong)
    assert isinstance(failures.failure(lib.AEGIS_E_SECRET, "open", "x", keyed=True), errors.KeysWrong)
    assert isinstance(failures.failure(lib.AEGIS_E_SECRET, "open", "x", keyed=False), errors.KeysMissing)


def test_what_was_asked_for_is_named_where_the_engine_names_nothing():
    error = failures.failure(lib.AEGIS_E_TORN, "read", "x", tier=Tier.AUDIT, index=7)
    assert (error.op, error.tier, error.index) == ("read", "audit", 7)
