"""Bytes over turns: measured on both sides, and drawn as they are."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import msgspec
import pytest

from aegis_store.bench.growth import OURS, PEER, Growth, Series, draw, measured, write

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def growth():
    return Growth(turns=[10, 20], content_bytes=40_000, series=[Series(OURS, [300_000, 400_000]), Series(PEER, [2**20, 2**22])])


def test_both_sides_hold_the_same_conversation_and_ours_grows_by_what_was_said(tmp_path):
    pytest.importorskip("langgraph.checkpoint.sqlite")
    found = measured(tmp_path, turns=12, every=4)
    assert (found.turns, found.content_bytes) == ([4, 8, 12], 24_000)
    assert [each.name for each in found.series] == [OURS, PEER]
    assert all(each.bytes == sorted(each.bytes) and each.bytes[0] > 0 for each in found.series)
    from langgraph.checkpoint.sqlite import SqliteSaver

    from aegis_store.adapters.langgraph import AegisSaver

    thread = {"configurable": {"thread_id": "conversation"}}
    with SqliteSaver.from_conn_string(str(tmp_path / "saver.db")) as peer, AegisSaver.from_path(tmp_path / "state") as ours:
        said = [saver.get_tuple(thread).checkpoint["channel_values"]["messages"] for saver in (peer, ours)]
    assert said[0] == said[1] and len(set(said[0])) == 24 and {len(each) for each in said[0]} == {1000}


def test_the_lines_stand_where_the_figures_say(growth):
    root = ElementTree.fromstring(draw(growth))
    lines = {each.get("class"): each.get("points").split() for each in root.iter(f"{SVG}polyline")}
    heights = {kind: [float(point.split(",")[1]) for point in points] for kind, points in lines.items()}
    assert len(heights["ours"]) == len(heights["peer"]) == 3
    floor = heights["ours"][0]
    rise = {kind: [floor - height for height in each[1:]] for kind, each in heights.items()}
    assert rise["peer"][1] / rise["peer"][0] == pytest.approx(4, rel=0.01)
    assert rise["peer"][1] / rise["ours"][1] == pytest.approx(2**22 / 400_000, rel=0.02)
    words = [each.text for each in root.iter(f"{SVG}text")]
    assert {OURS, PEER, "0.4 MB", "4.2 MB"} <= set(words)
    assert not re.search(r"(href|url\()", draw(growth))


def test_what_is_written_can_be_read_again(growth, tmp_path):
    write(growth, tmp_path)
    assert msgspec.json.decode((tmp_path / "langgraph-growth.json").read_bytes(), type=Growth) == growth
    assert (tmp_path / "langgraph-growth.svg").read_text() == draw(growth)
