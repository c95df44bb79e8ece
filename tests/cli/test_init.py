from __future__ import annotations

import json

import pytest

import aegis_store
from aegis_store.cli.init import bytes_of

from ..stores import snapshot


def described(path):
    with aegis_store.open(path, mode="r") as store:
        about = store.records.engine.describe()
        return about.name, about.segment_bytes, about.align


def contents(folder):
    return {name: facts[-1] for name, facts in snapshot(folder).items()}


def test_a_store_and_its_keys_are_made_and_what_to_do_with_them_is_said(aegis, tmp_path):
    ended = aegis("init", "state")
    assert (ended.code, ended.err) == (0, "")
    assert described(tmp_path / "work" / "state") == ("state", 32 << 20, 8)
    assert ended.out.startswith("made state   store ")
    assert "    cp -a state.keys SOMEWHERE/ELSE\n" in ended.out


def test_options_count(aegis, tmp_path):
    code = aegis("init", "state", "--name", "mine", "--keys", "k", "--segment-size", "1MiB", "--align", "block").code
    assert code == 0
    assert not (tmp_path / "work" / "state.keys").exists()
    with aegis_store.open(tmp_path / "work" / "state", mode="r", keys=tmp_path / "work" / "k") as store:
        about = store.records.engine.describe()
    assert (about.name, about.segment_bytes, about.align) == ("mine", 1 << 20, 4096)


def test_options_may_come_from_a_file_and_those_on_the_line_go_before(aegis, tmp_path):
    (tmp_path / "work" / "aegis.toml").write_text('segment_bytes = 131072\nalign = "block"\n')
    assert aegis("init", "a", "--config", "aegis.toml").code == 0
    assert described(tmp_path / "work" / "a") == ("a", 131072, 4096)
    assert aegis("init", "b", "--config", "aegis.toml", "--segment-size", "64k").code == 0
    assert described(tmp_path / "work" / "b") == ("b", 65536, 4096)


def test_json_names_the_store_and_the_keys(aegis, tmp_path):
    answer = json.loads(aegis("init", "state", "--json").out)
    with aegis_store.open(tmp_path / "work" / "state", mode="r") as store:
        assert answer == {
            "path": "state",
            "name": "state",
            "store_id": store.stats().store_id,
            "keys": str(tmp_path / "work" / "state.keys"),
            "log_key": store.keys.log.public_key.hex(),
            "config": {"segment_bytes": 32 << 20, "align": "packed"},
        }


def test_what_is_there_is_refused_and_left_as_it_is(aegis, story):
    before = contents(story.parent)
    ended = aegis("init", "state")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.endswith("  what it holds: aegis stats state\n")
    assert json.loads(aegis("init", "state", "--json").err)["error"] == "StoreExists"
    assert contents(story.parent) == before


def test_something_else_is_refused(aegis, tmp_path):
    (tmp_path / "work" / "full").mkdir()
    (tmp_path / "work" / "full" / "file").write_text("words")
    assert aegis("init", "full").code == 3
    assert not (tmp_path / "work" / "full.keys").exists()


@pytest.mark.parametrize(
    "options",
    [["--segment-size", "12"], ["--segment-size", "2GiB"], ["--segment-size", "large"], ["--align", "loose"]],
)
def test_what_cannot_be_meant_makes_nothing(aegis, tmp_path, options):
    ended = aegis("init", "state", *options)
    assert (ended.code, ended.out) == (2, "")
    assert list((tmp_path / "work").iterdir()) == []


def test_a_file_of_options_that_is_wrong_is_named(aegis, tmp_path):
    (tmp_path / "work" / "aegis.toml").write_text("segment = 3\n")
    ended = aegis("init", "state", "--config", "aegis.toml")
    assert ended.code == 2
    assert ended.err.startswith("aegis: aegis.toml: there is no option segment\n")
    assert aegis("init", "state", "--config", "missing.toml").code == 3


@pytest.mark.parametrize(
    ("text", "count"),
    [("65536", 65536), ("64KiB", 65536), ("64k", 65536), ("1 MB", 10**6), ("4MiB", 4 << 20), ("1_000_000", 10**6)],
)
def test_sizes_are_read_as_people_write_them(text, count):
    assert bytes_of(text) == count
