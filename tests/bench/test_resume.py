from __future__ import annotations

import aegis_store
from aegis_store.bench import resume
from aegis_store.bench.resume import _HELD, OURS, PLAIN
from tests.bench.facts import tiny


def test_a_store_is_opened_in_three_ways_and_sessions_are_found_in_it(tmp_path):
    found = resume.run(tiny(tmp_path, records=300))
    alone = {(each.title, each.ours): each.wanted for each in found.figures if each.comparison == "alone"}
    assert alone["open, warm, after a clean close", OURS] == "<= 50"
    assert alone["open after kill -9", OURS] == "<= 2000"
    assert alone["latest of a random session", OURS] == alone["latest of a random session", _HELD] == "<= 250"
    assert ("open, cold, after a clean close", OURS) in alone
    assert all(each[0].operations > 0 for samples in found.samples.values() for each in samples.values())
    assert all(PLAIN in samples for samples in found.samples.values())


def test_a_killed_writer_leaves_what_it_had_saved(tmp_path):
    resume.kill_a_writer(tmp_path / "store")
    with aegis_store.open(tmp_path / "store") as store:
        latest = store.session("killed").latest()
        assert latest is not None and latest.state == {"messages": [], "position": 0}


def test_sessions_have_small_states_and_a_large_one_last_and_rows_are_in_order():
    shape = resume._Shape(300)
    rows = list(shape.rows())
    assert (shape.sessions, shape.steps, len(rows)) == (3, 100, 300)
    assert rows[0][:3] == (shape.name(0), resume.checkpoint_id(0), None)
    assert rows[-1][:3] == (shape.name(2), resume.checkpoint_id(99), resume.checkpoint_id(98))
    assert len(str(rows[0][3])) < 200
    assert len(str(rows[-1][3])) > 3000
