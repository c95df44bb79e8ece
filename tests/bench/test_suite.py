from __future__ import annotations

import pytest

from aegis_store.bench import suite
from aegis_store.bench.results import Outcome
from aegis_store.bench.suite import Asked
from aegis_store.bench.workload import Run, Workload


def workload(run) -> Workload:
    return Workload(name="made-up", promise="p", run=run)


def test_a_workload_has_an_empty_folder_on_the_disk_asked_for_and_it_is_gone_afterwards(tmp_path):
    seen: list[Run] = []

    def run(how: Run) -> Outcome:
        seen.append(how)
        (how.place / "store").mkdir()
        return Outcome(figures=[])

    result = suite.run(workload(run), Asked(place=tmp_path, quick=True), lambda what: None)
    assert (result.name, result.quick) == ("made-up", True)
    assert seen[0].place.parent == tmp_path and (seen[0].rounds, seen[0].seconds) == (suite.ROUNDS_QUICK, suite.SECONDS_QUICK)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", [KeyboardInterrupt, RuntimeError])
def test_the_folder_is_gone_however_it_ends(tmp_path, end):
    def run(how: Run) -> Outcome:
        (how.place / "large").write_bytes(bytes(1000))
        raise end

    with pytest.raises(end):
        suite.run(workload(run), Asked(place=tmp_path), lambda what: None)
    assert list(tmp_path.iterdir()) == []


def test_workloads_are_chosen_by_name_in_the_usual_order():
    names = [
        "checkpoint",
        "large",
        "commit-1",
        "commit-n",
        "bytes",
        "compact",
        "resume",
        "workflows",
        "verify",
        "overhead",
        "footprint",
    ]
    assert [each.name for each in suite.chosen([])] == names
    assert [each.name for each in suite.chosen(["verify", "commit-1"])] == ["commit-1", "verify"]
    with pytest.raises(KeyError):
        suite.chosen(["commit"])
