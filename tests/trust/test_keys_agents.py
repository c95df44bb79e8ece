"""Agents' keys: any name, one key for ever."""

import json
import tempfile
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_store.errors import KeysWrong
from aegis_store.trust.keys import KeyDirectory, SystemRandomness
from aegis_store.trust.signer import FileSigner, key_id

ODD_NAMES = [
    "",
    "two words",
    "a+b",
    "line\nbreak",
    "é",
    "日本",
    "\ud800",
    "\ud800\udc00",
    "\U00010000",
    "../../etc",
    "nul\0",
    "x" * 9999,
]


def again(keys):
    return KeyDirectory.load(keys.path)


def listing(place):
    return sorted(str(each.relative_to(place)) for each in place.rglob("*"))


def test_an_agents_file_is_that_of_the_format(keys):
    signer = keys.agent("planner")
    path = keys.path / "agents" / f"{blake3(b'planner').digest()[:16].hex()}.key"
    material = b64encode(b"\x01" + signer.seed).decode()
    assert path.read_text() == f'PRIVATE+KEY+planner+{signer.key_id.hex()}+{material}\n"planner"\n'
    assert signer.key_id == key_id("planner", signer.public_key)


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_an_agent_may_have_any_name(keys, name):
    signer = keys.agent(name)
    encoded = name.encode("utf-8", "surrogatepass")
    found = again(keys).find_agent(name)
    assert (found.name, found.seed, found.key_id) == (name, signer.seed, signer.key_id)
    assert listing(keys.path / "agents") == [f"{blake3(encoded).hexdigest(length=16)}.key"]
    assert [each.name for each in again(keys).agents()] == [name]
    line, named = (keys.path / "agents" / listing(keys.path / "agents")[0]).read_bytes().split(b"\n", 1)
    assert line.count(b"+") - line[-44:].count(b"+") == 4
    stored = json.loads(named)
    assert stored == name or stored == {"utf8": encoded.hex()}
    assert type(stored) is (str if name.isprintable() or name in ("line\nbreak", "nul\0") else dict)


def test_names_that_look_alike_have_keys_of_their_own(keys):
    signers = {name: keys.agent(name) for name in ODD_NAMES}
    assert len({each.seed for each in signers.values()}) == len(ODD_NAMES)
    assert {each.name: each.seed for each in again(keys).agents()} == {name: each.seed for name, each in signers.items()}


def test_an_agent_has_one_key_for_ever(keys):
    first = keys.agent("planner")
    assert keys.agent("planner") is first
    assert again(keys).agent("planner").seed == first.seed
    assert keys.find_agent("planner") is first
    assert len(listing(keys.path / "agents")) == 1


def test_looking_for_an_agent_makes_no_key(keys):
    assert keys.find_agent("planner") is None
    assert keys.agents() == []
    assert listing(keys.path / "agents") == []


def test_a_new_key_has_no_key_id_that_is_taken(tmp_path, make, counting):
    keys = make(tmp_path, randomness=counting)
    draws = len(counting.drawn)
    ahead = [FileSigner("planner", bytes([draws + each]) * 32) for each in (1, 2, 3)]
    loaded = KeyDirectory.load(keys.path, randomness=counting)
    assert loaded.agent("planner", taken={ahead[0].key_id, ahead[1].key_id}).seed == ahead[2].seed
    assert loaded.agent("planner", taken={ahead[2].key_id}).seed == ahead[2].seed


def test_an_agents_key_under_another_name_is_refused(keys):
    keys.agent("planner")
    keys.agent("writer")
    one, two = sorted((keys.path / "agents").iterdir())
    one.write_bytes(two.read_bytes())
    fresh = again(keys)
    with pytest.raises(KeysWrong, match="not the key of agent"):
        fresh.agents()
    results = []
    for name in ("planner", "writer"):
        try:
            results.append(fresh.agent(name).name)
        except KeysWrong:
            results.append(None)
    assert sorted(results, key=str) in ([None, "planner"], [None, "writer"])


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=60), st.data())
def test_any_bytes_in_an_agents_file_are_refused_or_the_same_key(make, content, data):
    with tempfile.TemporaryDirectory() as place:
        keys = make(Path(place))
        seed = keys.agent("planner").seed
        path = next((keys.path / "agents").iterdir())
        good = path.read_bytes()
        at = data.draw(st.integers(0, len(good) - 1))
        line = good[: good.index(b"\n") + 1]
        for each in (content, good[:at] + content[:1] + good[at + 1 :], good[:at], good + content, line + content):
            path.write_bytes(each)
            try:
                assert again(keys).agent("planner").seed == seed
            except KeysWrong:
                continue


def test_leftovers_of_a_crash_are_no_agents(keys):
    signer = keys.agent("planner")
    path = next((keys.path / "agents").iterdir())
    (keys.path / "agents" / f"{path.name}.0011223344556677.new").write_bytes(b"half")
    assert [each.name for each in again(keys).agents()] == ["planner"]
    assert again(keys).agent("planner").seed == signer.seed


def test_two_openers_that_meet_get_one_key(keys):
    with ThreadPoolExecutor(8) as pool:
        seeds = set(
            pool.map(lambda _: KeyDirectory.load(keys.path, randomness=SystemRandomness()).agent("planner").seed, range(24))
        )
    assert len(seeds) == 1


def test_an_opener_that_comes_second_takes_the_key_of_the_first(keys, monkeypatch):
    first, second = again(keys), again(keys)
    looked = second._read_agent

    def looking(directory, name):
        found = looked(directory, name)
        first.agent(name)  # between the look and the lock
        return found

    monkeypatch.setattr(second, "_read_agent", looking)
    assert second.agent("planner").seed == first.agent("planner").seed


def test_an_agents_key_is_durable_before_it_is_used(keys, traced):
    events = traced(keys.path / "agents")
    keys.agent("planner")
    assert events == ["sync file", f"rename to {listing(keys.path / 'agents')[0]}", "sync directory"]
