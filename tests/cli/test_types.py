"""States that hold classes of the user's: what a command line says that does not know them, and how it is told."""

from __future__ import annotations

import json
import sys

import pytest

import aegis_store

SOURCE = """
import dataclasses, datetime, enum, zoneinfo


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Ticket:
    title: str
    colour: Colour
    at: datetime.datetime
"""
TYPES = ["--types", "shop_types:Ticket", "--types", "shop_types:Colour"]


@pytest.fixture
def shop(aegis, tmp_path, monkeypatch):
    """A store whose second checkpoint holds a Ticket, and the module that has it in the working directory."""
    here = tmp_path / "work"
    (here / "shop_types.py").write_text(SOURCE)
    monkeypatch.setattr(sys, "path", [*sys.path, str(here)])
    monkeypatch.delitem(sys.modules, "shop_types", raising=False)
    import shop_types

    moment = shop_types.datetime.datetime(2026, 1, 31, 12, tzinfo=shop_types.zoneinfo.ZoneInfo("Europe/Berlin"))
    ticket = shop_types.Ticket("printer", shop_types.Colour.RED, moment)
    with aegis_store.open(here / "state", types=[shop_types.Ticket, shop_types.Colour]) as store:
        session = store.session("s")
        session.checkpoint({"n": 0})
        session.checkpoint({"n": 1, "ticket": ticket})
        session.checkpoint({"n": 2})
    yield shop_types
    sys.modules.pop("shop_types", None)


TICKET = {
    "$type": "Ticket",
    "fields": {
        "at": {"$datetime": ["2026-01-31T12:00:00", 0, "Europe/Berlin"]},
        "colour": {"$type": "Colour", "members": ["RED"]},
        "title": "printer",
    },
}


def test_without_the_class_a_checkpoint_is_named_with_the_option_that_helps(aegis, shop):
    ended = aegis("show", "state", "s", "--at", "1")
    assert (ended.code, ended.out) == (2, "")
    assert "Ticket" in ended.err
    assert "--types module:Class" in ended.err
    log = aegis("log", "state", "s")
    assert log.code == 1
    assert [line.split()[0] for line in log.out.splitlines()[1:]] == ["2", "1", "0"]
    assert log.out.splitlines()[2].endswith("can't be read")
    assert "--types" in log.err
    export = aegis("export", "state")
    assert export.code == 1
    assert [json.loads(line)["kind"] for line in export.out.splitlines()[1:]] == ["begin", "checkpoint", "lost", "checkpoint"]
    assert "--types" in export.err


def test_with_it_everything_is_shown(aegis, shop):
    assert json.loads(aegis("show", "state", "s", "--at", "1", "--raw", *TYPES).out) == {"n": 1, "ticket": TICKET}
    assert "Europe/Berlin" in aegis("show", "state", "s", "--at", "1", *TYPES).out
    log = aegis("log", "state", "s", *TYPES)
    assert log.code == 0
    assert log.out.splitlines()[1].endswith("n 1 → 2, -ticket")
    assert aegis("show", "state", "s", "--at", "1", "--diff", "prev", *TYPES).out.count("\n+ state.ticket  {") == 1


def test_an_export_with_types_is_imported_with_them(aegis, shop, tmp_path):
    assert aegis("export", "state", "-o", "out.jsonl", *TYPES).code == 0
    without = aegis("import", "out.jsonl", "copy")
    assert without.code == 2
    assert "--types module:Class" in without.err
    answer = json.loads(aegis("import", "out.jsonl", "copy", "--json", *TYPES).out)
    assert (answer["checkpoints"], answer["present"]) == (2, 1)  # the one before it came in at the first attempt
    with aegis_store.open(tmp_path / "work" / "copy", mode="r", types=[shop.Ticket, shop.Colour]) as store:
        ticket = store.session("s").get(1).state["ticket"]
    assert isinstance(ticket, shop.Ticket)
    assert (ticket.colour, ticket.at.tzinfo.key) == (shop.Colour.RED, "Europe/Berlin")
