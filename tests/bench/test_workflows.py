from __future__ import annotations

import aegis_store
from aegis_store.bench import workflows
from aegis_store.bench.rivals import postgres
from aegis_store.bench.rivals.absent import NotHere
from aegis_store.bench.workflows import OURS, STEPS, Job
from aegis_store.workflow import DurableWorkflowEngine
from tests.bench.facts import tiny


def test_workflows_are_resumed_and_moved_and_a_peer_that_is_not_there_is_named(tmp_path, monkeypatch):
    def server(*, place):
        raise NotHere(postgres.NAME, "not today")

    monkeypatch.setattr(postgres, "server", server)
    found = workflows.run(tiny(tmp_path, records=100))
    assert (postgres.NAME, "not today") in [(each.name, each.remedy) for each in found.missing]
    alone = [each for each in found.figures if each.comparison == "alone"]
    assert [(each.title, each.ours, each.unit) for each in alone] == [("resume 100 workflows of 1 kB", OURS, "s")]
    assert set(found.samples) == {"one after the other", "100 tasks"}
    assert all(samples[OURS][0].operations > 0 for samples in found.samples.values())


def test_what_is_wanted_is_ten_thousand_in_two_seconds():
    assert workflows.RESUME_WANTED[10_000].most == 2
    assert 10_000 in workflows.COUNTS


def test_the_workflows_are_a_kilobyte_each_and_were_moved(tmp_path):
    (job,) = workflows.jobs(1)
    assert 900 < len(str(job.to_dict())) < 1200
    workflows.build(tmp_path / "store", 3)
    with aegis_store.open(tmp_path / "store") as store:
        engine = DurableWorkflowEngine(store)
        found = engine.resume_all_pending(Job)
        assert [each.state for each in found] == [f"step {STEPS - 1}"] * 3
        assert engine.verify_integrity("job-00001") == (True, None)
