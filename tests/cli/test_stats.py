from __future__ import annotations

import json

import aegis_store
from aegis_store.stats import disk_bytes

from .conftest import CHECKPOINTS
from .gone import prune


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


def test_holds_and_what_waits_to_be_compacted_and_what_is_gone(aegis, full):
    fresh = json.loads(aegis("stats", "state", "--json").out)
    counted = ("holds", "payloads_gone", "payloads_to_compact", "bytes_to_compact", "erasures_pending")
    assert [fresh[each] for each in counted] == [0, 0, 0, 0, 0]
    assert not any(word in aegis("stats", "state").out for word in ("hold", "pruned", "compact"))
    aegis("hold", "state", "a", "--reason", "case 7", "--holder", "legal")
    prune(full)
    answer = json.loads(aegis("stats", "state", "--json").out)
    assert [answer[each] for each in counted[:3]] == [1, 0, 20]
    assert answer["bytes_to_compact"] > 20 * 3000
    lines = aegis("stats", "state").out.splitlines()
    assert "  1 hold in force" in lines
    assert any(line.startswith("  20 payloads (6") and line.endswith(" to be compacted: aegis compact state") for line in lines)
    aegis("compact", "state")
    aegis("erase", "state", "b", "--ordinal", "29", "--reason", "request 17")
    answer = json.loads(aegis("stats", "state", "--json").out)
    assert [answer[each] for each in counted] == [1, 21, 0, 0, 0]
    assert "  21 payloads pruned or erased" in aegis("stats", "state").out
