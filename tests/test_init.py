"""The public face: what `import aegis_store` offers, and that its promises in words hold."""

from __future__ import annotations

import importlib.metadata
import inspect
import os
import re
import subprocess
import sys
import textwrap
import typing

import pytest

import aegis_store
from aegis_store import errors


def test_everything_that_is_offered_is_there_and_nothing_twice():
    assert len(set(aegis_store.__all__)) == len(aegis_store.__all__)
    for name in aegis_store.__all__:
        assert getattr(aegis_store, name) is not None
    assert sorted(aegis_store.__all__, key=str.lower) == sorted(aegis_store.__all__, key=str.lower)
    star: dict[str, object] = {}
    exec("from aegis_store import *", star)
    assert set(aegis_store.__all__) <= set(star)


def test_what_is_public_and_not_offered_is_a_module_or_a_name_for_types():
    left = {name for name in vars(aegis_store) if not name.startswith("_")} - set(aegis_store.__all__)
    modules = {name for name in left if inspect.ismodule(getattr(aegis_store, name))}
    assert left - modules <= {"Anchor", "Clock", "Iterable", "Mapping", "Mode", "Randomness", "annotations"}


@pytest.mark.parametrize("name", [name for name in aegis_store.__all__ if name != "errors"])
def test_everything_that_is_offered_says_what_it_is(name):
    assert inspect.getdoc(getattr(aegis_store, name))


def test_every_error_is_an_aegis_error():
    found = [each for _, each in inspect.getmembers(errors, inspect.isclass) if each.__module__ == errors.__name__]
    assert len(found) > 25
    assert all(issubclass(each, aegis_store.AegisError) for each in found)
    assert aegis_store.errors is errors


def test_the_errors_that_open_names_are_there():
    named = re.search(r"Raises (.*?);", inspect.getdoc(aegis_store.open), re.S)[1]
    names = [word for word in re.findall(r"\b[A-Z]\w+", re.sub(r"\(.*?\)", "", named))]
    assert len(names) > 10
    assert all(issubclass(getattr(errors, name), aegis_store.AegisError) for name in names)


def test_the_version_is_that_of_the_package():
    assert aegis_store.__version__ == importlib.metadata.version("aegis-store")


def test_open_is_the_stores_own_with_the_same_options():
    public, inner = (inspect.signature(each) for each in (aegis_store.open, aegis_store.Store.open))
    assert list(public.parameters) == list(inner.parameters)
    for name, parameter in public.parameters.items():
        assert parameter.default == inner.parameters[name].default, name
        assert name == "path" or parameter.kind is inspect.Parameter.KEYWORD_ONLY
    assert typing.get_type_hints(aegis_store.open)["return"] is aegis_store.Store


def test_the_sample_in_the_text_runs_as_it_stands(tmp_path, monkeypatch):
    sample = textwrap.dedent("\n".join(line for line in aegis_store.__doc__.splitlines() if line.startswith("    ")))
    assert "aegis_store.open(" in sample
    monkeypatch.chdir(tmp_path)
    exec(sample, {})
    with aegis_store.open("state", mode="r") as store:
        found = store.session("ticket-4711").latest()
    assert (found.state, found.position, found.agent) == ({"messages": []}, "plan/1", "planner")


def test_the_first_steps_of_somebody_new(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with aegis_store.open("state", agent="planner") as store:
        session = store.session("ticket-4711")
        ref = session.checkpoint(
            {"messages": [{"role": "user", "content": "hello"}]},
            position="plan/1",
            claims={"task": "refund"},
            approvals=["lead"],
            last_tool_call={"name": "lookup"},
            metadata={"run": 7},
        )
        latest = session.latest()
        assert latest.ref == ref
        assert latest.state["messages"][0]["content"] == "hello"
        for each in session.history():
            assert each.agent == "planner"
        anchor = store.head()
        assert store.verify(deep=True).ok

    with aegis_store.open("state", anchor=[anchor]) as store:
        assert [info.id for info in store.sessions()] == ["ticket-4711"]
        assert store.stats().tiers["session"].size == 3

    try:
        aegis_store.open("state", mode="x")
    except aegis_store.AegisError as error:
        assert error.hint


def test_importing_opens_no_file_of_ours_and_starts_no_thread(tmp_path):
    script = "import threading, aegis_store, os; assert threading.active_count() == 1; assert os.listdir('.') == []"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})


def test_records_of_the_public_face_are_values(tmp_path):
    with aegis_store.open(tmp_path / "state") as store:
        ref = store.session("s").checkpoint(1)
        one, two = store.session("s").latest(), store.session("s").latest()
        head = store.records.engine.head(aegis_store.Tier.SESSION)
    assert one == two
    assert one is not two
    assert (hash(ref), hash(head)) == (hash(two.ref), hash(aegis_store.Head(tier=head.tier, size=head.size, root=head.root)))
    for value, field in ((one, "state"), (ref, "index"), (head, "size")):
        with pytest.raises(AttributeError):
            setattr(value, field, None)
