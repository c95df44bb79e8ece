"""`aegis memory`: what it says, and that it does it."""

from __future__ import annotations

import json

import pytest

import aegis_store
from aegis_store.cli.memory import parts_of, place_of

from ..memory.memories import SMALL, held
from ..stores import Told

ANN = ("users", "ann")


@pytest.fixture
def stored(aegis):
    """A store "state" with some items in its memory."""
    with aegis_store.open("state", config=SMALL, clock=Told()) as store:
        store.memory.put(ANN, "likes", {"tea": True, "score": 3})
        store.memory.put(ANN, "likes", {"tea": False, "score": 5})
        store.memory.put(("users", "b/c"), "k", [1, 2], ttl=1e9)
        store.memory.put((), "top", None)


def answer(aegis, *arguments):
    ended = aegis("memory", *arguments, "--json")
    assert (ended.code, ended.err) == (0, "")
    return json.loads(ended.out)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("a", ("a",)),
        ("a/b", ("a", "b")),
        ("a//b/", ("a", "", "b", "")),
        (r"a\/b/c", ("a/b", "c")),
        (r"a\\/b", ("a\\", "b")),
        (r"a\\\/b", ("a\\/b",)),
        (r"\\", ("\\",)),
        ("/", ("", "")),
    ],
)
def test_a_namespace_is_typed_and_shown_the_same_way(text, parts):
    assert parts_of(text) == parts
    assert parts_of(place_of(parts)) == parts if parts else place_of(parts) == '""'


def test_a_list_has_a_line_for_each(aegis, stored):
    ended = aegis("memory", "list", "state")
    assert (ended.code, ended.err) == (0, "")
    heading, *rows = ended.out.splitlines()
    assert heading.split() == "namespace key version changed (UTC) expires (UTC) value".split()
    assert [row.split()[:3] for row in rows] == [['""', "top", "1"], ["users/ann", "likes", "2"], [r"users/b\/c", "k", "1"]]
    assert rows[1].endswith('{"tea":false,"score":5}')
    assert "expires" not in aegis("memory", "list", "state", "users/ann").out
    assert aegis("memory", "list", "state", "users", "--prefix", "l").out == "nothing\n"
    assert [each["key"] for each in answer(aegis, "list", "state", "users/ann", "--prefix", "l")["items"]] == ["likes"]
    assert len(answer(aegis, "list", "state", "--limit", "2")["items"]) == 2


def test_an_item_for_people_and_for_machines(aegis, stored):
    ended = aegis("memory", "get", "state", "users/ann", "likes")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0] == "users/ann likes   version 2" and "its signature holds" in lines[2]
    assert json.loads("".join(lines[4:])) == {"tea": False, "score": 5}
    item = answer(aegis, "get", "state", "users/ann", "likes")
    assert {name: item[name] for name in ("namespace", "key", "value", "version", "expires_at", "agent")} == {
        "namespace": ["users", "ann"],
        "key": "likes",
        "value": {"tea": False, "score": 5},
        "version": 2,
        "expires_at": None,
        "agent": "agent",
    }
    versions = answer(aegis, "get", "state", "users/ann", "likes", "--versions")["items"]
    assert [each["version"] for each in versions] == [2, 1]
    ended = aegis("memory", "get", "state", "users/ann", "hates")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "aegis: state: key 'hates' of the namespace 'users'/'ann' has no value\n  see which have: aegis memory list state\n"
    )


def test_search_by_fields(aegis, stored):
    assert [each["key"] for each in answer(aegis, "search", "state", "--where", '{"score": {"$gte": 5}}')["items"]] == ["likes"]
    assert answer(aegis, "search", "state", "users", "--where", '{"score": 9}')["items"] == []
    assert [each["key"] for each in answer(aegis, "search", "state", "--offset", "1", "--limit", "1")["items"]] == ["likes"]
    for where in ("score", "[1]", '{"score": {"$in": [1]}}'):
        assert aegis("memory", "search", "state", "--where", where).code == 2


def test_put_delete_and_what_was_at_a_pointer(aegis, stored, monkeypatch):
    import io

    ended = aegis("memory", "put", "state", "users/ann", "hates", '{"$set": [1]}', "--ttl", "1h", "--expect", "0")
    assert ended.code == 0 and ended.out.startswith("users/ann hates   version 1   expires ")
    pointer = aegis("memory", "pointer", "state").out.strip()
    assert answer(aegis, "pointer", "state") == {
        "path": "state", "index": int(pointer.split(":")[0]), "root": pointer.split(":")[1],
    }  # fmt: skip
    monkeypatch.setattr("sys.stdin", io.StringIO("[5]"))
    assert answer(aegis, "put", "state", "users/ann", "hates", "-", "--request-id", "r")["version"] == 2
    assert answer(aegis, "put", "state", "users/ann", "hates", "6", "--request-id", "r")["value"] == [5]
    ended = aegis("memory", "put", "state", "users/ann", "hates", "6", "--expect", "1")
    assert (ended.code, "has version 2, and version 1 was expected" in ended.err) == (3, True)
    assert answer(aegis, "get", "state", "users/ann", "hates", "--at", pointer)["value"] == {"$set": [1]}
    assert aegis("memory", "delete", "state", "users/ann", "hates").out == "users/ann hates   deleted\n"
    assert aegis("memory", "delete", "state", "users/ann", "hates").code == 1
    assert answer(aegis, "put", "state", "x", "y", "1")["version"] == 1
    assert answer(aegis, "delete", "state", "x", "y")["deleted"] is True
    assert len(answer(aegis, "list", "state", "--at", pointer)["items"]) == 4
    assert len(answer(aegis, "search", "state", "--at", pointer)["items"]) == 4
    assert answer(aegis, "namespaces", "state", "--at", pointer)["namespaces"] == [[], ["users", "ann"], ["users", "b/c"]]
    for wrong in ("5", "5:zz", f"{pointer}00", "x:" + "00" * 32):
        assert aegis("memory", "list", "state", "--at", wrong).code == 2
    assert aegis("memory", "list", "state", "--at", "5:" + "00" * 32).code == 1
    assert aegis("memory", "get", "state", "a", "b", "--at", pointer, "--versions").code == 2
    assert aegis("memory", "put", "state", "a", "b", "{").code == 2


def test_namespaces(aegis, stored):
    assert aegis("memory", "namespaces", "state").out.splitlines() == ['""', "users/ann", r"users/b\/c"]
    assert aegis("memory", "namespaces", "state", "users", "--max-depth", "1").out == "users\n"
    assert aegis("memory", "namespaces", "state", "nobody").out == "no namespaces\n"


def test_a_sweep_says_how_much_had_expired(aegis, stored):
    with aegis_store.open("state", config=SMALL, clock=Told()) as store:
        store.memory.put(ANN, "soon", 1, ttl=0.001)
    assert aegis("memory", "sweep", "state").out == "state   1 value had expired of 4 keys\n"
    assert answer(aegis, "sweep", "state", "users", "--limit", "1") == {"path": "state", "looked_at": 3, "deleted": 0}


def test_holds_are_placed_listed_heard_and_released(aegis, stored):
    ended = aegis("memory", "hold", "state", "users/ann", "likes", "--reason", "case 7", "--holder", "legal")
    heading, following = ended.out.splitlines()
    number = heading.split()[1]
    assert heading == f"hold {number}   users/ann likes   legal: case 7"
    assert following == f"  to let it go: aegis release state {number} --tier memory --reason …"
    heading, row = aegis("holds", "state").out.splitlines()
    assert heading.split() == "memory hold namespace key holder since (UTC) reason".split()
    assert row.split()[:4] == [number, "users/ann", "likes", "legal"]
    found = json.loads(aegis("holds", "state", "--json").out)
    assert found["holds"] == [] and found["memory"][0]["key"] == "likes"
    ended = aegis("memory", "erase", "state", "users/ann", "--reason", "r")
    assert ended.code == 3 and f"aegis release state {number} --tier memory" in ended.err
    assert aegis("release", "state", number, "--reason", "settled").code == 1  # no session has such a hold
    assert aegis("release", "state", number, "--tier", "audit", "--reason", "settled").code == 2
    assert aegis("release", "state", number, "--tier", "memory", "--reason", "settled").code == 0
    assert aegis("holds", "state").out == "state   no hold stands\n"
    assert answer(aegis, "hold", "state", "users/ann", "likes", "--reason", "r", "--holder", "h")["key"] == "likes"
    assert aegis("memory", "hold", "state", "users/ann", "hates", "--reason", "r", "--holder", "h").code == 1


def test_what_is_erased_is_gone(aegis, stored):
    found = answer(aegis, "erase", "state", r"users/b\/c", "--key", "k", "--reason", "request 17")
    assert found["keys"] == [{"namespace": ["users", "b/c"], "key": "k"}] and found["holders"] == []
    ended = aegis("memory", "erase", "state", "users", "--reason", "request 17")
    assert (ended.code, ended.err) == (0, "") and "1 key erased" in ended.out
    assert aegis("memory", "erase", "state", "users", "--reason", "request 17").code == 1
    with aegis_store.open("state", mode="r") as store:
        assert held(store.memory) == {((), "top"): None}


def test_retain_and_stats_know_the_memory(aegis, stored):
    ended = aegis("retain", "state", "--tier", "memory", "--keep-last", "1", "--dry-run")
    assert ended.out.startswith("state   of the memory 1 record would go of 1 key, 3 versions stay")
    found = json.loads(aegis("retain", "state", "--tier", "memory", "--keep-last", "1", "--json").out)
    assert found["checkpoints_gone"] == 0 and found["memory"]["records_gone"] == 1
    (key,) = found["memory"]["keys"]
    assert (key["namespace"], key["key"], key["goes"]) == (["users", "ann"], "likes", [0])
    numbers = json.loads(aegis("stats", "state", "--json").out)
    assert (numbers["memory_keys"], numbers["payloads_to_compact"], numbers["payloads_gone"]) == (3, 1, 0)
    assert "memory: 3 keys" in aegis("stats", "state").out
    assert json.loads(aegis("compact", "state", "--json").out)["payloads_gone"] == 1
    numbers = json.loads(aegis("stats", "state", "--json").out)
    assert (numbers["payloads_to_compact"], numbers["payloads_gone"]) == (0, 1)
    assert aegis("verify", "state", "--deep").code == 0
