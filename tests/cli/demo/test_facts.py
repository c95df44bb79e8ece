from __future__ import annotations

import msgspec

from aegis_store.cli.demo.facts import Point, Run


def test_a_run_was_killed_or_ended_by_itself():
    run = Run(resumed=None, acknowledged=0, last=None)
    assert not run.was_killed
    assert msgspec.structs.replace(run, killed_after_us=0.0).was_killed


def test_facts_are_json():
    run = Run(resumed=Point(number=1, session="s", step=2), acknowledged=3, last=None)
    assert msgspec.json.decode(msgspec.json.encode(run), type=Run) == run
