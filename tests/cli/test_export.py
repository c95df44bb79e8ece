from __future__ import annotations

import json
import stat

import aegis_store
from aegis_store.codec.registry import NO_TYPES

from ..stores import flip, frame_of, noise
from .conftest import STATES
from .gone import EACH, kept, prune

ODD = "odd \x1b[31m\nname"


def lines(text):
    return [json.loads(each) for each in text.splitlines()]


def test_a_line_for_each_record_in_the_order_of_the_log(aegis, story):
    ended = aegis("export", "state")
    assert (ended.code, ended.err) == (0, "")
    head, *rest = lines(ended.out)
    with aegis_store.open(story, mode="r") as store:
        signed, about = store.head(), store.stats()
    assert head == {
        "kind": "export",
        "format": 1,
        "store_id": about.store_id,
        "name": "state",
        "records": signed.head.size,
        "root": signed.head.root.hex(),
    }
    kinds = ["begin", *["checkpoint"] * 5, "begin", "checkpoint", "end", "begin", "checkpoint"]
    assert [each["kind"] for each in rest] == kinds
    assert [each["index"] for each in rest] == sorted(each["index"] for each in rest)
    assert [each["state"] for each in rest[1:6]] == STATES


def test_each_kind_says_what_was_stored(aegis, story):
    found = lines(aegis("export", "state").out)
    with aegis_store.open(story, mode="r") as store:
        first = store.session("ticket-4711").get(0)
    assert (found[1]["session"], found[1]["agent"], found[1]["role"]) == ("ticket-4711", "planner", "plans")
    assert {name: found[2][name] for name in ("ordinal", "leaf", "position", "request_id")} == {
        "ordinal": 0,
        "leaf": first.ref.leaf.hex(),
        "position": "plan/0",
        "request_id": "r0",
    }
    assert found[7]["forked_from"] == {"session": "ticket-4711", "ordinal": 2}
    assert (found[8]["ordinal"], found[8]["claims"]) == (3, {"sub": "u"})
    assert (found[9]["kind"], found[9]["reason"]) == ("end", "done")
    assert found[11]["state"] == {"$map": [["bytes", {"$bytes": "AP8="}], [7, None], ["$tag", {"$float": "inf"}]]}
    assert found[11]["memory_pointer"] == {"index": 3, "root": "00" * 32}


def test_sessions_can_be_chosen(aegis, story):
    found = lines(aegis("export", "state", "--session", "ticket-4711-b", "--session", ODD).out)
    assert [(each["kind"], each.get("session")) for each in found[1:]] == [
        ("begin", "ticket-4711-b"),
        ("checkpoint", "ticket-4711-b"),
        ("begin", ODD),
        ("checkpoint", ODD),
    ]
    assert aegis("export", "state", "--session", "nope").code == 1


def test_since_brings_the_begin_of_what_it_brings(aegis, story):
    whole = lines(aegis("export", "state").out)
    since = whole[5]["time"]
    found = lines(aegis("export", "state", "--since", since).out)
    assert found[1:] == [whole[1], *whole[5:]]
    assert lines(aegis("export", "state", "--since", "2099-01-01").out) == whole[:1]
    assert aegis("export", "state", "--since", "then").code == 2


def test_a_file_is_there_when_it_is_whole_and_for_its_owner_alone(aegis, story, tmp_path):
    ended = aegis("export", "state", "-o", "out.jsonl")
    place = tmp_path / "work" / "out.jsonl"
    assert (ended.code, ended.out, ended.err) == (0, "", "state: 12 lines in out.jsonl\n")
    assert place.read_text() == aegis("export", "state").out
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert json.loads(aegis("export", "state", "-o", "out.jsonl", "--json").out) == {
        "path": "state",
        "output": "out.jsonl",
        "lines": 12,
        "gone": 0,
        "lost": 0,
    }


def test_an_export_that_fails_leaves_what_was_there(aegis, story, tmp_path):
    place = tmp_path / "work" / "out.jsonl"
    place.write_text("before")
    assert aegis("export", "state", "--session", "nope", "-o", "out.jsonl").code == 1
    assert place.read_text() == "before"
    assert list(place.parent.glob("*.part")) == []
    assert aegis("export", "state", "-o", "no/such/place").code == 3


def test_what_cannot_be_read_leaves_a_line_and_the_rest_goes_on(aegis, store):
    for record in (11, 12, 30):
        path, span = frame_of(store, record)
        flip(path, span.payload + 5)
    ended = aegis("export", "state")
    assert ended.code == 1
    found = lines(ended.out)
    lost = [each for each in found if each["kind"] == "lost"]
    assert [each["index"] for each in lost] == [11, 12, 30]
    assert len(found) == 1 + 122
    assert ended.err.count("aegis: state: ") == 3


def test_a_value_without_a_form_in_json_is_lost_by_its_session_and_ordinal(aegis, story, monkeypatch):
    from aegis_store.cli import export

    def refuses(each, *, types=None):
        raise aegis_store.errors.InvalidArgument("a value of type x has no form in JSON")

    with aegis_store.open(story, mode="r") as store:
        saved = next(each for each in export.lines(store) if type(each).__name__ == "Saved")
    from aegis_store.cli import jsonl

    real = jsonl.write
    monkeypatch.setattr(jsonl, "write", lambda each, *, types=None: refuses(each) if each is saved else real(each, types=types))
    data, gap = export.encoded(saved, NO_TYPES)
    assert json.loads(data)["problem"] == "a value of type x has no form in JSON"
    assert (gap.session, gap.ordinal) == ("ticket-4711", 0)


def test_a_dictionary_is_the_store_s_own_affair(aegis, tmp_path):
    """What payloads are compressed with changes nothing of what is shown."""
    place, prompt = tmp_path / "state", "".join(f"rule {number}: {noise(20, number).hex()}.\n" for number in range(80))
    with aegis_store.open(place) as store:
        for name in "abcde":
            store.session(name).checkpoint({"prompt": prompt, "name": name})
        assert len(store.catalog.dictionaries()) == 1
    found = lines(aegis("export", str(place)).out)[1:]
    assert [each["kind"] for each in found] == ["begin", "checkpoint"] * 5
    assert [each["state"]["name"] for each in found[1::2]] == list("abcde")
    for command in (("log", "e"), ("show", "e"), ("verify", "--deep"), ("stats",), ("sessions",), ("health",)):
        ended = aegis(command[0], str(place), *command[1:])
        assert (ended.code, ended.err) == (0, ""), command


def test_what_was_pruned_or_erased_has_a_line_that_says_so_and_the_rest_is_there(aegis, full):
    for compact in (False, True):
        prune(full, compact=compact)
        ended = aegis("export", "state")
        assert (ended.code, ended.err) == (0, 'state: 40 records had been pruned or erased: kind "gone" in the export\n')
        found = lines(ended.out)
        saved = [each for each in found if each["kind"] == "checkpoint" and each["session"] == "a"]
        assert [each["ordinal"] for each in saved] == list(range(EACH - 10, EACH))
        gone = [each for each in found if each["kind"] == "gone" and each["session"] == "a"]
        assert [each["ordinal"] for each in gone] == list(range(EACH - 10))
        assert "was pruned (keep_last 10)" in gone[0]["why"]
    assert len(lines(aegis("export", "state", "--session", "a").out)) == 2 + EACH
    answer = json.loads(aegis("export", "state", "-o", "out.jsonl", "--json").out)
    assert (answer["gone"], answer["lost"]) == (40, 0)


def test_an_erased_session_is_lines_without_a_name(aegis, full):
    aegis("erase", "state", "a", "--reason", "request 17")
    ended = aegis("export", "state")
    assert ended.code == 0
    gone = [each for each in lines(ended.out) if each["kind"] == "gone"]
    assert [each["ordinal"] for each in gone] == [None, *range(EACH)]
    assert {each["session"] for each in gone} == {None}
    assert "was erased by aegis erase (request 17)" in gone[5]["why"]
    assert [each["kind"] for each in lines(aegis("export", "state", "--session", "b").out)[1:]] == [
        "begin",
        *["checkpoint"] * EACH,
    ]


def test_an_export_with_gaps_is_imported(aegis, full):
    prune(full, compact=True)
    aegis("export", "state", "-o", "out.jsonl")
    ended = aegis("import", "out.jsonl", "copy")
    assert (ended.code, ended.err) == (0, "")
    assert "  40 records had been pruned or erased before it was exported" in ended.out.splitlines()
    assert kept(full.with_name("copy"), "a") == list(range(10))
    assert json.loads(aegis("import", "out.jsonl", "copy", "--json").out)["gone"] == 40


def test_a_gap_that_no_record_explains_is_lost(aegis, full, monkeypatch):
    from aegis_store.gaps import Gaps

    prune(full, compact=True)
    monkeypatch.setattr(Gaps, "authorises", lambda self, first, end, cause: False)
    ended = aegis("export", "state")
    assert ended.code == 1
    assert sum(each["kind"] == "lost" for each in lines(ended.out)) == 40
