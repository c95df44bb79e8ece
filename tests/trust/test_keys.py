"""The key directory: made whole, read with suspicion. Agents' keys and released heads are in test_keys_*.py."""

import errno
import json
import os
import stat
import tempfile
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_store.errors import (
    InvalidArgument,
    KeysMissing,
    KeysWrong,
    NewerFormat,
    StorageError,
)
from aegis_store.trust.keys import KeyDirectory, SystemRandomness
from aegis_store.trust.signer import FileSigner, key_id
from aegis_store.types import Head, Tier

STORE = bytes(range(16))
FILES = ["store.json", "secret", "log.key", "enrolment.key", "heads.json"]


def again(keys, **changed):
    return KeyDirectory.load(keys.path, **changed)


def head(size, root=None, tier=Tier.SESSION):
    return Head(tier=tier, size=size, root=root if root is not None else bytes([size % 256]) * 32)


def listing(place):
    return sorted(str(each.relative_to(place)) for each in place.rglob("*"))


# ---- made


def test_the_files_are_those_of_the_format(keys):
    assert listing(keys.path) == sorted([*FILES, "agents"])
    assert json.loads((keys.path / "store.json").read_text()) == {"format": 0, "store_id": STORE.hex(), "name": "prod"}
    assert (keys.path / "secret").read_bytes() == b"\x01" * 32 == keys.secret
    assert (keys.path / "heads.json").read_text() == "{}\n"
    for file, signer, seed, name in (
        ("log.key", keys.log, b"\x02" * 32, f"aegis/{STORE.hex()}"),
        ("enrolment.key", keys.enrolment, b"\x03" * 32, "aegis/enrolment"),
    ):
        public_key = FileSigner("any", seed).public_key
        material = b64encode(b"\x01" + seed).decode()
        assert (keys.path / file).read_text() == f"PRIVATE+KEY+{name}+{key_id(name, public_key).hex()}+{material}\n"
        assert (signer.name, signer.public_key) == (name, public_key)


@pytest.mark.parametrize("umask", [0, 0o027, 0o777])
def test_nobody_else_can_read_them_whatever_the_umask(tmp_path, umask, make):
    before = os.umask(umask)
    try:
        keys = make(tmp_path)
        keys.agent("planner")
        keys.record_released(head(1))
    finally:
        os.umask(before)
    modes = {each: stat.S_IMODE(os.lstat(each).st_mode) for each in [keys.path, *keys.path.rglob("*")]}
    assert len(modes) == len(FILES) + 3
    assert all(mode == (0o700 if each.is_dir() else 0o600) for each, mode in modes.items())


def test_they_come_back(keys):
    loaded = again(keys, store_id=STORE)
    assert (loaded.path, loaded.store_id, loaded.name, loaded.secret) == (keys.path, STORE, "prod", keys.secret)
    assert (loaded.log.public_key, loaded.enrolment.public_key) == (keys.log.public_key, keys.enrolment.public_key)
    assert loaded.log.sign(b"m") == keys.log.sign(b"m")


def test_the_system_is_asked_for_every_secret(tmp_path, make):
    one = make(tmp_path, randomness=SystemRandomness())
    (tmp_path / "two").mkdir()
    two = make(tmp_path / "two", randomness=SystemRandomness())
    secrets = [each for keys in (one, two) for each in (keys.secret, keys.log.seed, keys.enrolment.seed, keys.agent("a").seed)]
    assert len(set(secrets)) == 8
    assert [len(SystemRandomness().draw(count)) for count in (0, 16, 32)] == [0, 16, 32]


def test_the_path_may_be_of_any_kind_and_survives_a_change_of_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keys = KeyDirectory.create("s.keys", store_id=STORE, name="prod", randomness=SystemRandomness())
    monkeypatch.chdir("/")
    keys.record_released(head(1))
    assert keys.path == tmp_path / "s.keys"


def test_an_empty_directory_may_be_there_and_nothing_else(tmp_path, make):
    (tmp_path / "s.keys").mkdir(mode=0o755)
    keys = make(tmp_path)
    before = {each: (keys.path / each).read_bytes() for each in FILES}
    with pytest.raises(KeysWrong, match="there already"):
        make(tmp_path)
    assert {each: (keys.path / each).read_bytes() for each in FILES} == before
    assert listing(tmp_path) == sorted(["s.keys", *(f"s.keys/{each}" for each in [*FILES, "agents"])])


def test_a_file_in_the_way_is_not_replaced(tmp_path, make):
    (tmp_path / "s.keys").write_text("mine")
    with pytest.raises(KeysWrong):
        make(tmp_path)
    assert listing(tmp_path) == ["s.keys"]
    assert (tmp_path / "s.keys").read_text() == "mine"


def test_a_missing_parent_is_named(tmp_path, make):
    with pytest.raises(StorageError, match="No such file") as caught:
        make(tmp_path / "nowhere")
    assert caught.value.path == str(tmp_path / "nowhere" / "s.keys")


@pytest.mark.parametrize(("store_id", "name"), [(b"", "prod"), (STORE + b"x", "prod"), (STORE, "\ud800")])
def test_what_cannot_be_meant_is_refused_before_anything_is_made(tmp_path, store_id, name, make):
    with pytest.raises(InvalidArgument):
        make(tmp_path, store_id=store_id, name=name)
    assert listing(tmp_path) == []


@pytest.mark.parametrize("call", ["mkdir", "open", "fsync", "rename"])
def test_making_is_whole_or_not_at_all(tmp_path, monkeypatch, call, make):
    real = getattr(os, call)
    total = 0

    def counted(*args, **kwargs):
        nonlocal total
        total += 1
        return real(*args, **kwargs)

    monkeypatch.setattr(os, call, counted)
    make(tmp_path)
    assert total > 0
    for fail_at in range(1, total + 1):
        place = tmp_path / f"{call}{fail_at}"
        place.mkdir()
        calls = 0

        def failing(*args, fail_at=fail_at, **kwargs):
            nonlocal calls
            calls += 1
            if calls == fail_at:
                raise OSError(errno.EIO, "Input/output error")
            return real(*args, **kwargs)

        monkeypatch.setattr(os, call, failing)
        try:
            with pytest.raises(StorageError):
                make(place)
        finally:
            monkeypatch.setattr(os, call, real)
        assert listing(place) in ([], sorted(["s.keys", *(f"s.keys/{each}" for each in [*FILES, "agents"])]))
        if listing(place):
            KeyDirectory.load(place / "s.keys")


# ---- read with suspicion


def test_a_missing_directory_is_missing(tmp_path):
    with pytest.raises(KeysMissing, match="not there") as caught:
        KeyDirectory.load(tmp_path / "s.keys")
    assert "keys=" in caught.value.hint


@pytest.mark.parametrize("file", [*FILES, "agents"])
def test_a_missing_file_is_named(keys, file):
    target = keys.path / file
    target.rmdir() if target.is_dir() else target.unlink()
    with pytest.raises(KeysMissing) as caught:
        again(keys)
    assert caught.value.path == str(target)
    assert "backup" in caught.value.hint


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"garbage\n", b"[]", b"{", b'{"format": 0}', b"\xff" * 40, b"[" * 100_000],
    ids=["empty", "nul", "words", "list", "cut", "half", "ones", "deep"],
)
def test_a_garbled_file_is_named(keys, file, content):
    (keys.path / file).write_bytes(content)
    with pytest.raises(KeysWrong, match="garbled") as caught:
        again(keys)
    assert caught.value.path == str(keys.path / file)


def test_keys_of_another_store_are_refused(keys, tmp_path, make):
    with pytest.raises(KeysWrong, match="of store 0001"):
        again(keys, store_id=bytes(16))
    (tmp_path / "two").mkdir()
    other = make(tmp_path / "two", store_id=bytes(16))
    (keys.path / "log.key").write_bytes((other.path / "log.key").read_bytes())
    with pytest.raises(KeysWrong, match=f"the key of aegis/{bytes(16).hex()}"):
        again(keys)


def test_what_the_store_knows_is_demanded(keys):
    right = {"store_id": STORE, "log_key": keys.log.public_key, "enrolment_key": keys.enrolment.public_key}
    keys.demand(**right)
    for field, wrong in (("store_id", bytes(16)), ("log_key", right["enrolment_key"]), ("enrolment_key", right["log_key"])):
        with pytest.raises(KeysWrong, match="not the keys of store"):
            keys.demand(**{**right, field: wrong})


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o704, 0o740, 0o755, 0o777, 0o770])
@pytest.mark.parametrize("directory", [".", "agents"])
def test_a_directory_open_to_others_is_refused_with_the_command_that_closes_it(keys, directory, mode):
    place = keys.path if directory == "." else keys.path / directory
    place.chmod(mode)
    with pytest.raises(KeysWrong, match=f"open to others .mode 0{mode:o}.") as caught:
        again(keys)
    assert caught.value.hint == f"chmod 700 {place}"
    place.chmod(0o700)
    again(keys)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("mode", [0o601, 0o640, 0o604, 0o666])
def test_a_file_open_to_others_is_refused_with_the_command_that_closes_it(keys, file, mode):
    (keys.path / file).chmod(mode)
    with pytest.raises(KeysWrong, match="open to others") as caught:
        again(keys)
    assert caught.value.hint == f"chmod 600 {keys.path / file}"


def test_the_command_can_be_pasted_whatever_the_path(tmp_path, make):
    (tmp_path / "my store; rm").mkdir()
    keys = make(tmp_path / "my store; rm")
    keys.path.chmod(0o755)
    with pytest.raises(KeysWrong) as caught:
        again(keys)
    assert caught.value.hint == f"chmod 700 '{keys.path}'"


def test_keys_of_another_user_are_refused(keys, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 4711)
    with pytest.raises(KeysWrong, match=f"owned by user {os.getuid()}") as caught:
        again(keys)
    assert caught.value.hint.startswith("chown")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    again(keys)


@pytest.mark.parametrize("file", [*FILES, "agents"])
def test_a_symbolic_link_is_not_followed(keys, file):
    target = keys.path / file
    target.rename(keys.path.parent / "elsewhere")
    target.symlink_to(keys.path.parent / "elsewhere")
    with pytest.raises(KeysWrong):
        again(keys)


@pytest.mark.parametrize("file", FILES)
def test_what_is_no_plain_file_is_refused_without_waiting_for_it(keys, file):
    (keys.path / file).unlink()
    os.mkfifo(keys.path / file, 0o600)
    with pytest.raises(KeysWrong, match="not a plain file"):
        again(keys)


def test_a_file_where_the_directory_belongs_is_refused(tmp_path):
    (tmp_path / "s.keys").write_text("x")
    with pytest.raises(KeysWrong, match="not a directory"):
        KeyDirectory.load(tmp_path / "s.keys")


def test_a_file_without_end_is_not_read(keys, monkeypatch):
    monkeypatch.setattr("aegis_store.trust.keys._FILE_BYTES_MAX", 100)
    (keys.path / "secret").write_bytes(bytes(101))
    with pytest.raises(KeysWrong, match="garbled"):
        again(keys)


def test_a_later_format_is_newer(keys):
    (keys.path / "store.json").write_text('{"format": 1, "anything": ["else"]}')
    with pytest.raises(NewerFormat, match="format 1") as caught:
        again(keys)
    assert caught.value.path == str(keys.path / "store.json")


@pytest.mark.parametrize(
    "content",
    [
        '{"format": -1, "store_id": "%s", "name": "prod"}',
        '{"format": 0.5, "store_id": "%s", "name": "prod"}',
        '{"format": 0, "store_id": "%s0", "name": "prod"}',
        '{"format": 0, "store_id": "%s00", "name": "prod"}',
        '{"format": 0, "store_id": " %s", "name": "prod"}',
        '{"format": 0, "store_id": "%s"}',
        '{"format": 0, "store_id": "%s", "name": null}',
    ],
)
def test_another_store_file_is_garbled(keys, content):
    (keys.path / "store.json").write_text(content % STORE.hex())
    with pytest.raises(KeysWrong, match="garbled"):
        again(keys)


def test_an_identity_is_written_in_lower_case(tmp_path, make):
    keys = make(tmp_path, store_id=b"\xab" * 16)
    (keys.path / "store.json").write_text((keys.path / "store.json").read_text().replace("ab", "AB"))
    with pytest.raises(KeysWrong, match="garbled"):
        again(keys)


LINE = "PRIVATE+KEY+aegis/enrolment+{id}+{key}\n"


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace("\n", ""),
        LINE + "\n",
        LINE + LINE,
        LINE.replace("PRIVATE", "private"),
        LINE.replace("{id}", "00000000"),
        LINE.replace("{id}", "{ID}"),
        LINE.replace("{key}", "{key}="),
        LINE.replace("{key}", "{short}"),
        LINE.replace("{key}", "{type4}"),
        LINE.replace("+{id}", ""),
        " " + LINE,
        LINE.replace("aegis/", "\u00e9"),
    ],
)
def test_another_key_line_is_refused(keys, line):
    seed, found = keys.enrolment.seed, keys.enrolment.key_id.hex()
    filled = line.format(
        id=found,
        ID=found.upper() if found.upper() != found else "0",
        key=b64encode(b"\x01" + seed).decode(),
        short=b64encode(b"\x01" + seed[:-3]).decode(),
        type4=b64encode(b"\x04" + seed).decode(),
    )
    (keys.path / "enrolment.key").write_text(filled)
    with pytest.raises(KeysWrong):
        again(keys)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(FILES), st.binary(max_size=120), st.data())
def test_any_bytes_in_a_file_are_refused_or_harmless(make, file, content, data):
    with tempfile.TemporaryDirectory() as place:
        keys = make(Path(place))
        good = (keys.path / file).read_bytes()
        at = data.draw(st.integers(0, len(good) - 1))
        for each in (content, good[:at] + content[:1] + good[at + 1 :], good[:at], good + content):
            (keys.path / file).write_bytes(each)
            try:
                loaded = again(keys)
            except (KeysWrong, KeysMissing, NewerFormat):
                continue
            assert loaded.store_id == STORE or file == "store.json"
            assert (loaded.log.seed, loaded.enrolment.seed) == (keys.log.seed, keys.enrolment.seed)
            assert loaded.released() == {}
            assert file != "secret" or loaded.secret == each


def test_the_directory_is_durable_before_it_has_its_place(tmp_path, traced, make):
    events = traced(tmp_path)
    make(tmp_path)
    assert events[-2:] == [f"rename to {tmp_path / 's.keys'}", "sync directory"]
    assert events[:-2] == ["sync file"] * len(FILES) + ["sync another"] * 2


def test_a_key_that_is_put_away_is_drawn_anew_and_kept_under_another_name(tmp_path):
    keys = KeyDirectory.create(tmp_path / "keys", store_id=bytes(16), name="s", randomness=SystemRandomness())
    old = keys.agent("bot")
    assert keys.retire("bot") is True
    assert keys.find_agent("bot") is None
    assert keys.retire("bot") is False
    new = keys.agent("bot")
    assert new.public_key != old.public_key
    (away,) = (tmp_path / "keys" / "agents").glob("*.revoked")
    assert old.key_id.hex() in away.name
    assert [each.public_key for each in keys.agents()] == [new.public_key]


def test_a_note_is_kept_whole_and_read_back(tmp_path):
    keys = KeyDirectory.create(tmp_path / "keys", store_id=bytes(16), name="s", randomness=SystemRandomness())
    assert keys.note("x.json") is None
    keys.keep_note("x.json", b"one")
    keys.keep_note("x.json", b"two")
    assert keys.note("x.json") == b"two"
