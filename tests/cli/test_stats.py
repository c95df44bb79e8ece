from __future__ import annotations

import json

import aegis_store
from aegis_store.store import disk_bytes

from .conftest import CHECKPOINTS


def test_a_store_in_numbers(aegis, story):
    ended = aegis("stats", "state")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].startswith("state   ")
    assert lines[1].startswith("  3 sessions, 2 of them open   7 checkpoints, ")
    assert lines[-2].split() == "tier records files segments sealed signed".split()
    assert lines[-1].split()[:2] == ["session", "13"]


def test_what_a_fork_inherited_is_counted_once(aegis, story):
    answer = json.loads(aegis("stats", "state", "--json").out)
    assert (answer["sessions"], answer["sessions_open"], answer["checkpoints"]) == (3, 2, 7)
    assert answer["disk_bytes"] == disk_bytes(story)
    assert answer["bytes_per_checkpoint"] == answer["disk_bytes"] / 7


def test_segments_are_counted_by_what_was_done_with_them(aegis, store):
    (tier,) = json.loads(aegis("stats", "state", "--json").out)["tiers"]
    assert tier["records"] == 1 + 2 * (1 + CHECKPOINTS)
    assert tier["segments"] - 1 == tier["segments_sealed"] == tier["segments_signed"] > 1
    assert tier["poisoned"] is False


def test_a_new_store_has_nothing_to_divide_by(aegis, tmp_path):
    aegis_store.open(tmp_path / "work" / "new").close()
    ended = aegis("stats", "new")
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "  no records yet"
    assert json.loads(aegis("stats", "new", "--json").out)["bytes_per_checkpoint"] is None
