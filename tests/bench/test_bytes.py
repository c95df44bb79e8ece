from __future__ import annotations

import pytest

from aegis_store.bench import bytes as weight
from aegis_store.bench.bytes import HELD_OUT, OURS, PEERS, ROCKSDB, SQLITE, STAGES, WHOLE
from aegis_store.bench.rivals import absent, saver
from aegis_store.bench.sessions import CODING, DIALOGUE, Session, made_up
from tests.bench.facts import tiny


@pytest.fixture
def short(monkeypatch) -> None:
    """Four sessions of each family, cut short; all that is held out is one session."""
    made = {
        name: [Session(name, each.session_id, each.messages[:4]) for each in made_up(name, 5)] for name in (DIALOGUE, CODING)
    }

    def families(path, *, held_out=False):
        return {name: found[4:] if held_out else found[:4] for name, found in made.items()}

    monkeypatch.setattr(weight, "families", families)


def test_every_split_is_weighed_against_every_peer(tmp_path, short):
    pytest.importorskip("langgraph.checkpoint.sqlite", reason="not installed: pip install '.[bench]'")
    pytest.importorskip("rocksdict", reason="not installed: pip install '.[bench]'")
    found = weight.run(tiny(tmp_path))
    assert found.missing == []
    for title, count in ((DIALOGUE, 16), (CODING + HELD_OUT, 4)):
        assert found.plain[f"{title}: checkpoints"] == count
        compared = [each for each in found.figures if each.title == f"{title}: bytes on disk, as written"]
        assert tuple(each.peer for each in compared) == PEERS
        values = {each.peer: each.peer_value.median for each in compared}
        assert values[WHOLE] * 2 < values[SQLITE]
        assert values[ROCKSDB] > 0
        (alone,) = (each for each in found.figures if each.title == f"{title}: bytes a checkpoint, as written")
        assert alone.ours_value.median > found.plain[f"{title}: payload bytes"] / count
    assert found.plain[f"{DIALOGUE}: dictionaries"] == 1, "four sessions of the same policy"
    assert found.plain[f"{DIALOGUE}{HELD_OUT}: dictionaries"] == 0


def test_targets_are_those_of_the_recorded_families_as_tuned():
    ours = weight.Weighed(disk=dict.fromkeys(STAGES, 6100), payload=22, logical=1000, dictionaries=0)
    figures = weight._figures("t", "tau-bench", ours, {}, 10)
    wanted = [(each.wanted, each.met) for each in figures]
    assert wanted == [*[("<= 600", False)] * len(STAGES), ("<= 2.2", True)]
    assert {each.met for each in weight._figures("t", "", ours, {}, 10)} == {None}


def test_a_stage_works_on_the_store_and_it_is_weighed_again(tmp_path, short, monkeypatch):
    def more(store):
        store.session("more").checkpoint(bytes(100) + store.keys.store_id * 40_000)

    monkeypatch.setitem(STAGES, "later", more)
    weighed = weight._weigh(tmp_path / "s", weight.families(None)[DIALOGUE])
    assert list(weighed.disk) == ["as written", "after compaction", "later"]
    assert weighed.logical < 16 * 20_000, "what is stored is counted as written"


def test_without_the_savers_it_is_said_and_the_rest_is_weighed(tmp_path, short, monkeypatch):
    def absent_saver(*_: object) -> object:
        raise absent.NotHere(SQLITE, "not installed")

    monkeypatch.setattr(saver.Saver, "sqlite", absent_saver)
    found = weight.run(tiny(tmp_path))
    assert SQLITE in [each.name for each in found.missing]
    assert {each.peer for each in found.figures if each.comparison == "ratio"} >= {WHOLE}
    assert all(each.ours == OURS for each in found.figures)
