from __future__ import annotations

import json

import pytest

from aegis_store.cli.jsonl import Begin, End, Export, Lost, Point, Saved, kind_is, read, write
from aegis_store.errors import InvalidArgument, NewerFormat

COMMON = {"index": 1, "time": "2026-01-31T12:00:00.000Z", "leaf": "ab" * 32, "session": "a", "agent": "b"}
LINES = [
    Export(format=1, store_id="00" * 16, name="state", records=3, root="00" * 32),
    Begin(**COMMON),
    Begin(**{**COMMON, "session": "\ud800"}, role="plans", forked_from=Point(session="c", ordinal=3)),
    Saved(**COMMON, ordinal=0, state={"$odd": (1, b"x")}, metadata={"a": float("inf")}, request_id="r"),
    End(**COMMON, reason="done"),
    Lost(index=3, problem="damaged"),
]


@pytest.mark.parametrize("line", LINES)
def test_a_line_comes_back_as_it_was(line):
    data = write(line)
    assert data.endswith(b"\n") and data.count(b"\n") == 1
    assert read(data) == line


@pytest.mark.parametrize("line", LINES)
def test_its_kind_is_told_without_reading_it(line):
    data = write(line)
    kind = json.loads(data)["kind"]
    assert [each for each in ("export", "begin", "checkpoint", "end", "lost") if kind_is(data, each)] == [kind]


@pytest.mark.parametrize("data", [b"", b"{}", b'{"kind":"begin"}', b'{"kind":"lost","index":"x","problem":""}', b"\xff"])
def test_anything_else_is_refused(data):
    with pytest.raises(InvalidArgument):
        read(data)


def test_a_later_format_is_not_guessed_at():
    with pytest.raises(NewerFormat):
        read(write(Export(format=2, store_id="", name="", records=0, root="")))
