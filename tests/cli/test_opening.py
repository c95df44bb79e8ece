from __future__ import annotations

import datetime
import sys

import pytest
import typer

from aegis_store.cli.opening import moment_of, named_types
from aegis_store.errors import InvalidArgument

from ..stores import snapshot

VERBS = [["sessions"], ["log", "ticket-4711"], ["show", "ticket-4711"], ["stats"], ["health"], ["verify"], ["export"]]


def test_verifying_changes_nothing_but_the_note_of_when_it_was(aegis, story):
    before, keys = snapshot(story), snapshot(story.with_name("state.keys"))
    assert aegis("verify", "state").code == 0
    after = snapshot(story.with_name("state.keys"))
    assert (snapshot(story), set(after) - set(keys)) == (before, {"verified.json"})
    assert {name: after[name] for name in keys if name != "."} == {name: keys[name] for name in keys if name != "."}


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != ["verify"]], ids=lambda verb: verb[0])
def test_looking_changes_nothing(aegis, story, verb):
    before = snapshot(story.parent)
    assert aegis(verb[0], "state", *verb[1:]).code in (0, 1)  # health may have something to say of this disk
    assert snapshot(story.parent) == before


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_a_writer_goes_on_beside(aegis, story, verb):
    import aegis_store

    with aegis_store.open(story) as writer:
        before = writer.session("new").checkpoint({"n": 1})
        assert aegis(verb[0], "state", *verb[1:]).code in (0, 1)
        after = writer.session("new").checkpoint({"n": 2})
    assert after.index == before.index + 1


def test_types_are_classes_by_the_name_that_was_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    (tmp_path / "shop_models.py").write_text("class Outer:\n    class Ticket:\n        pass\nnumber = 3\n")
    found = named_types(["shop_models:Outer", "ticket=shop_models:Outer.Ticket"])
    assert {name: kind.__qualname__ for name, kind in found.items()} == {"Outer": "Outer", "ticket": "Outer.Ticket"}
    assert sys.path[-1] == str(tmp_path)
    for wrong in ("shop_models:Nope", "shop_models:number", "no_such_module:X", "shop_models", ":X", ""):
        with pytest.raises(InvalidArgument, match="--types"):
            named_types([wrong])
    assert named_types(None) == {}


def test_a_time_without_a_zone_is_local():
    assert moment_of("2026-01-31T12:00:00Z", "--time") == datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)
    assert moment_of("2026-01-31", "--time") == datetime.datetime(2026, 1, 31).astimezone()
    for wrong in ("", "now", "2026-13-01", "0001-01-01"):
        with pytest.raises(typer.BadParameter):
            raise typer.BadParameter(wrong) if wrong == "0001-01-01" else _fails(wrong)


def _fails(text):
    moment_of(text, "--time")
    raise AssertionError(f"{text!r} was taken for a time")
