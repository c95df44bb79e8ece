from __future__ import annotations

import pytest

import aegis_store
from aegis_store.bench import compact
from aegis_store.bench.compact import ALONE, BESIDE, CP, OURS, SHA256, SLOWER, WRITING
from aegis_store.bench.rivals import shrinking
from tests.bench.facts import tiny


def test_each_part_is_measured_beside_its_peers(tmp_path, monkeypatch):
    monkeypatch.setattr(compact, "COPIED_PAYLOAD", 4 << 20)
    found = compact.run(tiny(tmp_path, records=120))
    assert {name: set(each) for name, each in found.samples.items()} == {
        "copy": {OURS, CP, SHA256},
        "in another form": {OURS, WRITING},
        "appends": {BESIDE, ALONE},
        "space": {OURS, shrinking.SQLITE, *([] if found.missing else [shrinking.ROCKSDB])},
    }
    wanted = {(each.ours, each.peer): each.wanted for each in found.figures if each.wanted}
    assert wanted == {(OURS, SLOWER): ">= 0.8", (OURS, ""): ">= 10000", (BESIDE, ALONE): "<= 5"}
    (copied,), (digested,) = found.samples["copy"][OURS], found.samples["copy"][SHA256]
    assert 0.8 < copied.operations / digested.operations < 1.3  # nearly all bytes stay
    (again,) = found.samples["in another form"][OURS]
    assert 0 < again.operations <= found.plain["checkpoints"] / 2
    before, after = found.plain[f"bytes before and after keep_last=10, {shrinking.SQLITE}"].split(" -> ")
    assert int(before.replace(",", "")) > int(after.replace(",", "")) > 0


def test_of_the_two_peers_of_a_copy_the_slower_one_counts():
    rates = {OURS: [300e6, 300e6], CP: [400e6, 600e6], SHA256: [500e6, 500e6]}
    samples = {name: [compact._whole(int(rate), 1.0) for rate in each] for name, each in rates.items()}
    first = compact._copy_figures(samples)[0]
    assert (first.peer, first.peer_value.min, first.peer_value.max) == (SLOWER, 400, 500)
    assert first.compared.min == 300 / 500 and first.compared.max == 300 / 400


def test_appends_without_a_compaction_beside_them_are_not_passed_off_as_beside_one(tmp_path):
    how = tiny(tmp_path)
    with aegis_store.open(tmp_path / "template", config=compact.FAST) as store:
        store.session("s").checkpoint("only")
    beside, alone = compact._appends(how, tmp_path / "template")
    assert alone.run().operations == compact.APPENDS_MIN_QUICK
    with pytest.raises(RuntimeError, match="nothing was compacted"):
        beside.run()


def test_a_side_that_leaves_too_much_or_too_little_ends_the_run(tmp_path):
    how = tiny(tmp_path, records=60)
    steps = compact._steps(how)
    compact._write(tmp_path / "template", steps)
    with pytest.raises(RuntimeError, match="are left, and"):
        compact._count_ours(tmp_path / "template", 1)
    compact._shrink_ours(tmp_path / "template")
    names = {name for name, _, _ in steps}
    compact._count_ours(tmp_path / "template", sum(min(10, sum(each[0] == name for each in steps)) for name in names))


def test_no_two_steps_take_one_place_however_often_the_sessions_are_taken_again(tmp_path):
    steps = compact._steps(tiny(tmp_path, records=3_000))
    places = {(name, ordinal) for name, ordinal, _ in steps}
    assert len(places) == len(steps) >= 3_000
