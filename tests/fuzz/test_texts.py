"""A stranger's text through every parser: notes, tree heads, verifier keys, the key directory, options, exports.

A parser gives what `format` or `write` turns into the same text again, or a typed error. AEGIS_FUZZ_RUNS=1000000 looks longer.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

import aegis_store
from aegis_store.cli.import_ import _Import, numbered, planned
from aegis_store.cli.jsonl import Begin, End, Export, Lost, Point, Saved, read, write
from aegis_store.codec.registry import NO_TYPES
from aegis_store.config import Config, Durability, TierDurability
from aegis_store.errors import AegisError, BadProof, BadSignature
from aegis_store.trust.heads import Head, format_head, open_head, origin, parse_head, sign_head, verifier_key
from aegis_store.trust.keys import KeyDirectory
from aegis_store.trust.notes import Note, VerifierKey
from aegis_store.trust.signer import FileSigner
from aegis_store.types import Tier
from tests.fuzz.mutate import search

RUNS = int(os.environ.get("AEGIS_FUZZ_RUNS", "2000"))
FILE_RUNS = RUNS // 4
SEED = 1

STORE_ID = bytes(range(16))
SIGNER = FileSigner(origin(STORE_ID, Tier.SESSION), b"S" * 32)
LOG_KEY = verifier_key(STORE_ID, Tier.SESSION, SIGNER.public_key)
HEADS = [Head(tier=Tier.SESSION, size=size, root=bytes([size % 256]) * 32) for size in (0, 1, 2**64 - 1)]
NOTES = [sign_head(STORE_ID, head, SIGNER).format() for head in HEADS]
COMMON = {"index": 1, "time": "2026-01-31T12:00:00.000Z", "leaf": "ab" * 32, "session": "a", "agent": "b"}
LINES = [
    Export(format=1, store_id="00" * 16, name="state", records=3, root="00" * 32),
    Begin(**COMMON),
    Begin(**{**COMMON, "session": "\ud800"}, role="plans", forked_from=Point(session="a", ordinal=3)),
    Saved(**COMMON, ordinal=0, state={"$odd": (1, b"x")}, metadata={"a": float("inf")}, request_id="r"),
    End(**COMMON, reason="done"),
    Lost(index=3, problem="damaged"),
]
POINTER = {"index": 0, "root": "00" * 32}
STORY = b"".join(
    map(
        write,
        [
            LINES[0],
            Begin(**COMMON),
            Saved(**COMMON, ordinal=0, state={"a": [1, (2, b"3")]}, position="p", metadata={"b": 1}, request_id="r"),
            Saved(**{**COMMON, "leaf": "cd" * 32}, ordinal=1, state={1, 2}, claims=[], memory_pointer=POINTER),
            Begin(**{**COMMON, "session": "fork"}, role="plans", forked_from=Point(session="a", ordinal=0)),
            Saved(**{**COMMON, "session": "fork", "leaf": "ef" * 32}, ordinal=1, state=None, approvals={"x": 1.5}),
            End(**COMMON, reason="done"),
        ],
    )
)
OPTIONS = [
    b'align = "block"\nsegment_bytes = 1048576\nallow_network = false\n[durability]\nsession = "write"\n[roles]\na = "b"\n',
    b"cache_bytes = 0x400000\nstate_limit_bytes = 1_000_000\n",
    b"roles = {a = 'b'}\n[durability]\naudit = 'commit'\n",
    b"segment_bytes = [[[1]]]\nalign = 2026-01-31T12:00:00Z\n",
]


def as_note(data):
    assert Note.parse(data).format() == data


def as_signed_head(data):
    """Accepted is only what the log key has signed: one of the three, with any further signatures of others."""
    assert open_head(data, log_key=LOG_KEY).head in HEADS


def as_head(data):
    text = data.decode("utf-8", "replace")
    assert format_head(*parse_head(text)) == text


def as_verifier_key(data):
    line = data.decode("utf-8", "replace")
    assert VerifierKey.parse(line).format() == line


def as_line(data):
    line = read(data)
    assert write(read(write(line))) == write(line)


def as_export(data):
    """Both passes over a file, as an import makes them."""
    planned(io.BytesIO(data), Path("export"))
    list(numbered(io.BytesIO(data), Path("export"), NO_TYPES))


DECODERS = {
    "note": (as_note, NOTES),
    "signed tree head": (as_signed_head, NOTES),
    "tree head": (as_head, [format_head(STORE_ID, head).encode() for head in HEADS]),
    "verifier key": (as_verifier_key, [LOG_KEY.format().encode()]),
    "line of an export": (as_line, [write(line) for line in LINES]),
    "export": (as_export, [b"".join(map(write, LINES)), b"".join(map(write, LINES[:3]))]),
}


@pytest.mark.parametrize("name", DECODERS)
def test_a_strangers_text_is_taken_or_a_typed_error(name):
    decode, corpus = DECODERS[name]
    tried, found = search(decode, corpus, seed=SEED, count=RUNS)
    assert found is None, f"input {tried}: {found.data[:300]!r}: {found.error!r}"


def test_no_mutant_of_a_signed_head_says_anything_else():
    """Each that opens gives a head that was signed; and some of the mutants do open, so that this says something."""
    opened = 0

    def count(data):
        nonlocal opened
        try:
            as_signed_head(data)
        except (BadProof, BadSignature):
            return
        opened += 1

    assert search(count, NOTES, seed=SEED, count=RUNS)[1] is None
    assert opened > len(NOTES)


def test_options_from_a_stranger_are_taken_or_a_typed_error(tmp_path):
    def decode(data):
        (tmp_path / "options.toml").write_bytes(data)
        assert isinstance(Config.load(tmp_path / "options.toml"), Config)

    tried, found = search(decode, OPTIONS, seed=SEED, count=FILE_RUNS)
    assert found is None, f"input {tried}: {found.data[:300]!r}: {found.error!r}"


@pytest.mark.parametrize("data", [b"roles = " + b"[" * 5000, b"cache_bytes = " + b"9" * 5000, b"a." * 5000 + b"b = 1"])
def test_options_that_no_parser_can_hold_are_a_typed_error(tmp_path, data):
    (tmp_path / "options.toml").write_bytes(data)
    with pytest.raises(AegisError) as error:
        Config.load(tmp_path / "options.toml")
    assert str(error.value.path).endswith("options.toml")


class Draws:
    """The same keys every time."""

    def draw(self, count):
        return b"\x05" * count


@pytest.fixture(scope="module")
def key_directory(tmp_path_factory):
    keys = KeyDirectory.create(tmp_path_factory.mktemp("keys") / "s.keys", store_id=STORE_ID, name="prod", randomness=Draws())
    keys.agent("planner")
    keys.record_released(HEADS[1])
    return keys.path


@pytest.mark.parametrize("name", ["store.json", "secret", "log.key", "enrolment.key", "heads.json", "agents/*.key"])
def test_a_key_file_from_a_stranger_is_taken_or_a_typed_error(key_directory, name):
    (file,) = key_directory.glob(name)
    before = file.read_bytes()

    def decode(data):
        file.write_bytes(data)
        keys = KeyDirectory.load(key_directory)
        keys.released()
        keys.agents()
        keys.find_agent("planner")

    try:
        tried, found = search(decode, [before], seed=SEED, count=FILE_RUNS)
    finally:
        file.write_bytes(before)
    assert found is None, f"input {tried}: {found.data[:300]!r}: {found.error!r}"


def test_an_import_from_a_stranger_is_done_or_a_typed_error(tmp_path):
    """The lines are made so, each time in sessions of their own."""
    runs = 0
    with aegis_store.open(tmp_path / "state", config=Config(durability=TierDurability(session=Durability.WRITE))) as store:

        def decode(data):
            nonlocal runs
            runs += 1
            data = data.replace(b'"session":"a"', b'"session":"%d"' % runs)
            work = _Import(store, planned(io.BytesIO(data), Path("export")))
            for each, _ in numbered(io.BytesIO(data), Path("export"), NO_TYPES):
                work.take(each)

        tried, found = search(decode, [STORY], seed=SEED, count=FILE_RUNS)
    assert found is None, f"input {tried}: {found.data[:600]!r}: {found.error!r}"
    with aegis_store.open(tmp_path / "state", mode="r") as store:
        assert len(list(store.sessions())) > 10
        assert store.verify().ok
