from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from aegis_store.bench import results, suite
from aegis_store.bench.results import Outcome
from aegis_store.bench.rivals.absent import Missing
from aegis_store.bench.workload import Run, Workload
from tests.bench.facts import made_figure


@pytest.fixture
def asked(monkeypatch) -> list[Run]:
    """Two made-up workloads instead of the real ones; what they were told."""
    told: list[Run] = []

    def run(how: Run) -> Outcome:
        told.append(how)
        how.say("at work")
        return Outcome(
            figures=[made_figure([30.0], [10.0])], missing=[Missing("RocksDB", "not installed: pip install rocksdict")]
        )

    made = {name: Workload(name=name, promise="p", run=run) for name in ("one", "two")}
    monkeypatch.setattr(suite, "WORKLOADS", made)
    return told


def test_the_help_names_every_workload(aegis):
    told = " ".join(aegis("bench", "--help").out.split())
    assert ", ".join(suite.WORKLOADS) + ";" in told


def test_all_workloads_run_and_each_has_its_table(aegis, asked):
    ended = aegis("bench", "--quick")
    assert ended.code == 0 and len(asked) == 2 and all(how.quick for how in asked)
    for part in ("one: p", "two: p", "3.00x", "SQLite", "not installed: pip install rocksdict"):
        assert part in ended.out
    assert list(Path().iterdir()) == []


def test_one_workload_is_asked_for_with_its_options(aegis, asked):
    Path("d").mkdir()
    ended = aegis("bench", "two", "--dir", "d", "--rounds", "3", "--seconds", "0.5", "--records", "700")
    assert ended.code == 0
    (how,) = asked
    assert (how.rounds, how.seconds, how.records, how.place.parent.name) == (3, 0.5, 700, "d")


def test_json_is_one_object_with_the_samples(aegis, asked):
    said = json.loads(aegis("bench", "--json").out)
    assert said["ok"] is True
    assert [each["name"] for each in said["results"]] == ["one", "two"]
    assert said["results"][0]["outcome"]["figures"][0]["compared"]["median"] == 3


def test_a_picture_is_drawn_and_raw_results_are_kept(aegis, asked):
    ended = aegis("bench", "--svg", "b.svg", "--results", "kept")
    assert "the picture is in b.svg" in ended.err
    assert ET.parse("b.svg").getroot().tag.endswith("svg")
    assert results.read(Path("kept/one.json")).outcome.figures[0].compared.median == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["three"], "there is no workload 'three'"),
        (["--dir", "nowhere"], "this is no folder"),
        (["--sessions", "nowhere"], "no such file of sessions"),
        (["--svg", "nowhere/b.svg"], "the picture's folder is not there"),
    ],
)
def test_a_mistake_is_named_before_any_work(aegis, asked, arguments, said):
    ended = aegis("bench", *arguments)
    assert ended.code == 2 and said in ended.err and asked == []


def test_memory_in_place_of_a_disk_is_warned_of(aegis, asked, monkeypatch):
    monkeypatch.setattr(results, "file_system_of", lambda place: "tmpfs (rw,rw)")
    assert "aegis bench --dir PATH" in aegis("bench", "one").err


def test_ctrl_c_ends_it_and_leaves_nothing(aegis, monkeypatch):
    def run(how: Run) -> Outcome:
        (how.place / "store").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(suite, "WORKLOADS", {"one": Workload(name="one", promise="p", run=run)})
    ended = aegis("bench")
    assert ended.code == 130 and "interrupted" in ended.err
    assert list(Path().iterdir()) == []
