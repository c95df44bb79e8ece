from __future__ import annotations

import json

import pytest

import aegis_store
from aegis_store.trust.heads import open_head
from aegis_store.trust.notes import VerifierKey
from aegis_store.types import Tier


def test_stdout_is_the_note_and_stderr_the_key_that_checks_it(aegis, store):
    ended = aegis("head", "state")
    assert ended.code == 0
    key = VerifierKey.parse(ended.err.splitlines()[-1].strip())
    signed = open_head(ended.out.encode(), log_key=key)
    with aegis_store.open(store, mode="r") as opened:
        assert signed.head == opened.head("session").head
    assert signed.head.tier is Tier.SESSION
    assert ended.err.startswith(f"state: session, {signed.head.size} records, root {signed.head.root.hex()}\n")


def test_a_note_that_was_changed_does_not_check(aegis, store):
    ended = aegis("head", "state")
    key = VerifierKey.parse(ended.err.splitlines()[-1].strip())
    with pytest.raises(aegis_store.errors.BadSignature):
        open_head(ended.out.replace("\n123\n", "\n122\n").encode(), log_key=key)


def test_json_says_the_same(aegis, store):
    plain, ended = aegis("head", "state"), aegis("head", "state", "--json")
    answer = json.loads(ended.out)
    assert ended.code == 0
    assert answer["note"] == plain.out
    assert answer["verifier_key"] == plain.err.splitlines()[-1].strip()
    assert (answer["tier"], answer["size"]) == ("session", 123)
    assert answer["note"].splitlines()[:2] == [f"aegis/{answer['store_id']}/session", "123"]


def test_a_head_that_was_shown_is_remembered(aegis, made, store):
    (store.with_name("state.keys") / "heads.json").write_text("{}\n")
    aegis("head", "state")
    assert json.loads((store.with_name("state.keys") / "heads.json").read_text())["session"]["size"] == 123


def test_an_empty_tier_has_a_head_too(aegis, store):
    ended = aegis("head", "state", "audit")
    assert ended.code == 0
    assert ended.out.splitlines()[1] == "0"


def test_an_unknown_tier_is_a_usage_error_that_names_the_tiers(aegis, store):
    assert aegis("head", "state", "nope") == (2, "", "aegis: there is no tier 'nope': audit, memory, session, telemetry\n")


def test_no_store_is_one_line_and_a_hint(aegis):
    ended = aegis("head", "nothing")
    assert ended.code == 3
    first, hint = ended.err.splitlines()
    assert first == "aegis: nothing: there is no store here"
    assert hint == "  give the directory of a store: the one that holds MANIFEST; to make a new one: aegis init PATH"


def test_keys_may_lie_elsewhere(aegis, store):
    store.with_name("state.keys").rename(store.with_name("elsewhere"))
    ended = aegis("head", "state")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("aegis: state.keys: ")
    assert "--keys" in ended.err
    assert aegis("head", "state", "--keys", "elsewhere").code == 0


def test_a_head_beside_a_writer_covers_what_is_durable(aegis, store):
    with aegis_store.open(store) as writer:
        before = aegis("head", "state", "--json")
        writer.session("third").checkpoint({"a": 1})
        after = aegis("head", "state", "--json")
    # The session's begin, and its checkpoint.
    assert json.loads(after.out)["size"] == json.loads(before.out)["size"] + 2 + 1


def test_a_damaged_store_is_refused_by_name(aegis, store):
    for segment in (store / "session").glob("*.seg"):
        segment.write_bytes(bytes(segment.stat().st_size))
    ended = aegis("head", "state")
    assert ended.code == 1
    assert ended.out == ""
    assert ".seg" in ended.err
