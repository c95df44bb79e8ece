from __future__ import annotations

import json

import pytest

import aegis_store
from aegis_store.cli import verify
from aegis_store.cli.demo.damage import frames, segments
from aegis_store.cli.output import problems
from aegis_store.types import Tier

from ..stores import blot
from .conftest import CHECKPOINTS
from .gone import prune

RECORDS = 1 + 2 * (1 + CHECKPOINTS)


def hit(store, record):
    """Flips a bit in the payload of a record; the file, and where its frame begins."""
    for path in segments(store):
        for frame in frames(path):
            if frame.index == record:
                data = bytearray(path.read_bytes())
                data[frame.payload_at + 5] ^= 1
                path.write_bytes(data)
                return path, frame.offset
    raise AssertionError(f"record {record} is not there")


def sealed_until(store):
    """Records that are in sealed segments."""
    return max(frame.index for path in segments(store)[:-1] for frame in frames(path)) + 1


# ---- nothing found ---------------------------------------------------------------------------------------------------------


def test_a_whole_store_is_a_heading_and_a_line_a_tier(aegis, store):
    ended = aegis("verify", "state", "--deep")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].startswith(f"verify state   {RECORDS} records · ")
    with aegis_store.open(store, mode="r") as opened:
        root = opened.head().head.root.hex()
    assert lines[1] == f"  session   {RECORDS} records   root {root[:4]}…{root[-4:]}   ok   signatures {RECORDS} of {RECORDS}"
    count = len(segments(store))
    assert lines[2].strip() == f"{count} segments: {count - 1} sealed, {count - 1} of them signed"
    assert lines[3].strip() == f"heads that the key directory remembers: session at {RECORDS}, consistent"


def test_without_deep_it_says_what_was_left_out(aegis, store):
    ended = aegis("verify", "state")
    assert ended.code == 0
    assert "signatures" not in ended.out.splitlines()[1]
    assert "--deep" in ended.out.splitlines()[-1]


def test_json_holds_what_was_checked(aegis, store):
    answer = json.loads(aegis("verify", "state", "--deep", "--json").out)
    with aegis_store.open(store, mode="r") as opened:
        root = opened.head().head.root.hex()
    (tier,) = answer.pop("tiers")
    assert answer == {"ok": True, "path": "state", "opened": True, "deep": True, "findings": [], "notes": []}
    count = len(segments(store))
    assert tier.pop("bytes") > RECORDS * 48
    assert tier == {
        "tier": "session",
        "records": RECORDS,
        "root": root,
        "segments": count,
        "segments_sealed": count - 1,
        "segments_signed": count - 1,
        "signatures": RECORDS,
    }


def test_a_store_without_records_is_fine(aegis, tmp_path):
    aegis_store.open(tmp_path / "work" / "new").close()
    ended = aegis("verify", "new")
    assert ended.code == 0
    assert ended.out.splitlines()[1] == "  no records yet"


def test_nothing_is_changed(aegis, store):
    def contents():
        return {path: path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file() and path.name != "LOCK"}

    before = contents()
    hit(store, 10)
    damaged = contents()
    assert aegis("verify", "state", "--deep").code == 1
    assert contents() == damaged != before


def test_a_writer_may_go_on_meanwhile(aegis, store):
    with aegis_store.open(store) as writer:
        writer.session("third").checkpoint({"a": 1})
        ended = aegis("verify", "state", "--deep")
    assert (ended.code, ended.err) == (0, "")
    assert f"signatures {RECORDS + 3} of {RECORDS + 3}" in ended.out


def test_a_crash_is_no_damage(aegis, store):
    writer = aegis_store.open(store)
    writer.session("third").checkpoint({"a": 1})
    writer.records.engine.abandon()
    writer.catalog.abandon()
    assert aegis("verify", "state", "--deep").code == 0


def test_one_tier_may_be_asked_for(aegis, store):
    answer = json.loads(aegis("verify", "state", "--tier", "session", "--json").out)
    assert [tier["tier"] for tier in answer["tiers"]] == ["session"]
    assert json.loads(aegis("verify", "state", "--tier", "audit", "--json").out)["tiers"] == []
    assert aegis("verify", "state", "--tier", "attic").code == 2


# ---- damage ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--deep"]])
def test_damage_in_a_sealed_segment_is_named_by_record_file_byte_and_checkpoint(aegis, store, options):
    record = 20
    assert record < sealed_until(store)
    path, offset = hit(store, record)
    ended = aegis("verify", "state", *options)
    assert ended.code == 1
    lines = ended.err.splitlines()
    assert lines[0].startswith(f"aegis: state/session: record {record} ")
    assert path.name in lines[0]
    assert f"byte {offset}" in lines[0]
    # Record 1 begins the session, record 2 is its checkpoint 0.
    assert lines[1] == f'  this is checkpoint {record - 2} of session "first"'
    assert lines[-1].endswith("aegis verify COPY --keys state.keys")
    assert "damaged" in ended.out.splitlines()[1]
    assert "consistent" not in ended.out


def test_every_record_that_is_hit_is_listed(aegis, store):
    for record in (12, 13, 30):
        hit(store, record)
    answer = json.loads(aegis("verify", "state", "--deep", "--json").out)
    assert answer["ok"] is False
    assert {finding["index"] for finding in answer["findings"]} >= {12, 13, 30}
    places = {finding["index"]: finding["where"] for finding in answer["findings"]}
    assert places[30] == 'this is checkpoint 28 of session "first"'
    assert '"first"' in places[12]
    assert answer["findings"][0]["place"]["session"] == "first"


def test_findings_add_up_to_what_is_lost_and_the_next_command(aegis, store):
    for record in (12, 13, 14, 30):
        hit(store, record)
    ended = aegis("verify", "state", "--deep")
    assert 'checkpoints 10-12, 28 of session "first" can\'t be read; its others can' in ended.err
    assert "the newest before the damage: aegis show state first --at 9\n" in ended.err


def test_a_single_record_is_not_a_range(aegis, store):
    blot(*hit(store, RECORDS - 1))
    (store / "session" / "outline").unlink()  # so that opening scans the segment
    ended = aegis("verify", "state")
    assert ended.code == 1
    assert f"record {RECORDS - 1} was durable and is damaged or missing (segment " in ended.err
    assert f"{RECORDS - 1} to {RECORDS - 1}" not in ended.err


def test_damage_in_an_active_segment_that_proves_nothing_keeps_the_store_from_opening_and_is_a_finding(aegis, store):
    (store / "session" / "outline").unlink()
    record = sealed_until(store) + 1
    path, offset = hit(store, record)
    blot(path, offset)
    ended = aegis("verify", "state")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"aegis: state/session: records {record} to {RECORDS - 1} ")
    assert path.name in ended.err
    assert f"byte {offset}" in ended.err
    assert "can't be opened" in ended.err
    # What it would hint at is what was just done.
    assert "aegis verify state" not in ended.err


def test_damage_in_an_active_segment_that_was_closed_cleanly_is_a_finding_like_any_other(aegis, store):
    record = sealed_until(store) + 1
    path, offset = hit(store, record)
    ended = aegis("verify", "state")
    assert ended.code == 1
    assert ended.err.startswith(f"aegis: state/session: record {record} ")
    assert path.name in ended.err and f"byte {offset}" in ended.err
    with aegis_store.open(store) as opened:
        assert opened.session("first").latest() is not None


def test_a_store_that_does_not_open_is_json_too(aegis, store):
    (store / "session" / "outline").unlink()
    record = sealed_until(store) + 1
    blot(*hit(store, record))
    ended = aegis("verify", "state", "--json")
    answer = json.loads(ended.out)
    (finding,) = answer.pop("findings")
    assert ended.code == 1
    assert answer == {"ok": False, "path": "state", "opened": False, "deep": False, "tiers": [], "notes": []}
    assert (finding["tier"], finding["index"]) == ("session", record)


def test_a_damaged_copy_of_the_manifest_is_a_finding(aegis, store):
    data = bytearray((store / "MANIFEST").read_bytes())
    data[20] ^= 1
    (store / "MANIFEST").write_bytes(data)
    ended = aegis("verify", "state")
    assert ended.code == 1
    assert ended.err.startswith("aegis: state: one of the two copies in MANIFEST is damaged\n")


def test_a_store_that_was_rolled_back_is_a_finding(aegis, store):
    heads = store.with_name("state.keys") / "heads.json"
    heads.write_text(json.dumps({"session": {"size": RECORDS + 5, "root": "ab" * 32}}) + "\n")
    ended = aegis("verify", "state")
    assert ended.code == 1
    assert ended.err.startswith("aegis: state")
    assert "can't be opened" in ended.err


def test_many_findings_are_cut_short(capsys):
    found = [verify.Found(problem=f"record {number} is damaged", tier="session", index=number) for number in range(30)]
    verify.show_findings(problems(), "state", found)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == verify.FINDINGS_SHOWN + 1
    assert lines[-1] == "aegis: state: 10 more findings, all of them with --json"


# ---- no store, no keys -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--deep"], ["--tier", "session"]])
def test_no_store_is_exit_code_3(aegis, options):
    ended = aegis("verify", "nothing", *options)
    assert ended.code == 3
    first, hint = ended.err.splitlines()
    assert first == "aegis: nothing: there is no store here"
    assert hint.startswith("  give the directory of a store: the one that holds MANIFEST")


def test_a_file_is_no_store(aegis, tmp_path):
    (tmp_path / "work" / "file").write_text("words")
    ended = aegis("verify", "file")
    assert ended.code == 3
    assert ended.err.startswith("aegis: file: ")


def test_missing_keys_are_named_with_the_option_that_gives_them(aegis, store):
    store.with_name("state.keys").rename(store.with_name("elsewhere"))
    ended = aegis("verify", "state")
    assert ended.code == 3
    assert ended.err.startswith("aegis: state.keys: ")
    assert "--keys" in ended.err
    assert aegis("verify", "state", "--keys", "elsewhere").code == 0


def test_keys_of_another_store_are_refused(aegis, store):
    aegis_store.open(store.with_name("other")).close()
    ended = aegis("verify", "state", "--keys", "other.keys", "--json")
    assert ended.code == 3
    assert json.loads(ended.err)["error"] == "KeysWrong"


def test_this_directory_is_a_path_like_any_other(aegis, store, monkeypatch):
    monkeypatch.chdir(store)
    assert aegis("verify", ".").code == 0


# ---- what is gone -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--deep"]])
def test_what_is_gone_by_right_is_no_finding(aegis, full, options):
    for compact in (False, True):
        prune(full, compact=compact)
        assert aegis("verify", "state", *options).code == 0
    aegis("erase", "state", "b", "--reason", "request 17")
    ended = aegis("verify", "state", *options)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[-1 if options else -2].endswith(", consistent")


def test_a_gap_that_no_record_explains_is_named_with_its_checkpoints(aegis, full, monkeypatch):
    from aegis_store.gaps import Gaps

    prune(full, compact=True)
    monkeypatch.setattr(Gaps, "authorises", lambda self, first, end, cause: False)
    ended = aegis("verify", "state")
    assert ended.code == 1
    first, second = ended.err.splitlines()[:2]
    assert first.startswith("aegis: state/session: records 2 to 21 have no payload, and record 6")
    assert first.endswith("does not say why")
    assert second == '  this is checkpoint 0 of session "a"'


# ---- while it works --------------------------------------------------------------------------------------------------------


def test_there_is_a_bar_on_a_terminal_and_none_in_a_pipe(capsys, monkeypatch):
    def work():
        with verify.watched() as watch:
            watch(Tier.SESSION, "bytes", 1, 3)
            watch(Tier.SESSION, "records", 512, 1024)
        return capsys.readouterr()

    monkeypatch.setenv("TERM", "xterm")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    assert work() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    out, err = work()
    assert out == ""
    assert "verify  session   bytes" in err
    assert "512 of 1 024" in err
