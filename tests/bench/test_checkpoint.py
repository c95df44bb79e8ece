from __future__ import annotations

import pytest

from aegis_store.bench import checkpoint
from aegis_store.bench.checkpoint import IN_MEMORY, OURS, SQLITE
from aegis_store.bench.rivals import absent, saver
from aegis_store.bench.sessions import CODING, DIALOGUE, Session, made_up
from tests.bench.facts import tiny


@pytest.fixture
def short(monkeypatch) -> dict[str, list[Session]]:
    """Two sessions of each family, cut short."""
    made = {
        name: [Session(name, each.session_id, each.messages[:4]) for each in made_up(name, 2)] for name in (DIALOGUE, CODING)
    }
    monkeypatch.setattr(checkpoint, "families", lambda path: made)
    return made


def test_each_side_saves_the_same_sessions_in_the_same_round(tmp_path, short):
    pytest.importorskip("langgraph.checkpoint.sqlite", reason="not installed: pip install '.[bench]'")
    found = checkpoint.run(tiny(tmp_path))
    for name in short:
        assert set(found.samples[name]) == {OURS, SQLITE, IN_MEMORY}
        assert all([each.operations for each in samples] == [4, 4] for samples in found.samples[name].values())
        # The first batch was saved once more, to warm up.
        assert found.plain[f"{name}: checkpoints"] == 12
    wanted = {each.title: each.wanted for each in found.figures if each.wanted}
    assert wanted == {f"{DIALOGUE}: CPU": "<= 0.333333", f"{CODING}: CPU": "<= 0.333333"}
    assert found.plain[f"durability of {SQLITE}"].startswith("its own setup: wal, synchronous=FULL")


def test_without_the_savers_it_is_said_and_ours_are_measured(tmp_path, short, monkeypatch):
    def absent_saver(*_: object) -> object:
        raise absent.NotHere(SQLITE, "not installed")

    monkeypatch.setattr(saver.Saver, "sqlite", absent_saver)
    found = checkpoint.run(tiny(tmp_path))
    assert found.figures == [] and [each.name for each in found.missing] == [SQLITE]
    assert found.samples[CODING][OURS][0].operations == 4
    assert found.plain[f"{CODING}: bytes a checkpoint, {OURS}"] > 0


def test_rounds_share_the_sessions_out_and_none_is_lost():
    many = [Session("a", str(number), []) for number in range(31)]
    batches = checkpoint._batches(many, quick=False)
    assert len(batches) == checkpoint.ROUNDS
    assert sorted(int(each.session_id) for batch in batches for each in batch) == list(range(31))
    assert [len(each) for each in checkpoint._batches(many, quick=True)] == [2, 2]
    assert len(checkpoint._batches(many[:1], quick=False)) == 1
