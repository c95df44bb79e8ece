"""The functions that a checkpoint and a read spend their time in, one case each. `make bench-hot` times them.

In a test run each is done once, so that a case that no longer works is noticed. Durability is `write` wherever a store is
written: the disk's syncs are `aegis bench`'s to measure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

import pytest

import aegis_store
from aegis_store._engine import Engine, check_inclusion
from aegis_store.bench.sessions import CODING, DIALOGUE, made_up
from aegis_store.catalog import CheckpointMade, SessionBegan
from aegis_store.codec import canonical, payload
from aegis_store.codec.compression import compress, decompress
from aegis_store.config import Config, Durability, TierDurability
from aegis_store.schema.entry import pack_unsigned, parse
from aegis_store.trust.signer import FileSigner, verify_signature
from aegis_store.types import Kind, LogIndex, Ordinal, Tier, TimeMs

WRITE = Config(durability=TierDurability(session=Durability.WRITE))
SALT = bytes(range(16))
MESSAGE = bytes(200)


def _state_of(family: str, size: int) -> dict[str, object]:
    """The first state of the first session that has so many bytes."""
    states = (state for session in made_up(family, 3) for state in session.states())
    return next(state for state in states if len(canonical.encode(state)) >= size)


@pytest.fixture(scope="module", params=[(DIALOGUE, 4_000), (CODING, 64_000)], ids=["4kB", "64kB"])
def state(request) -> dict[str, object]:
    return _state_of(*request.param)


@pytest.fixture(scope="module")
def packed(state) -> bytes:
    return canonical.encode(state)


@pytest.fixture
def store(tmp_path) -> Iterator[aegis_store.Store]:
    with aegis_store.open(tmp_path / "store", config=WRITE) as opened:
        yield opened


# ---- codec


def test_encode(benchmark, state, packed):
    assert benchmark(canonical.encode, state) == packed


def test_decode(benchmark, state, packed):
    assert benchmark(canonical.decode, packed) == state


def test_compress(benchmark, packed):
    frame = benchmark(compress, packed)
    assert frame is not None and decompress(frame, length=len(packed)) == packed


def test_decompress(benchmark, packed):
    frame = compress(packed)
    assert frame is not None and benchmark(partial(decompress, frame, length=len(packed))) == packed


def test_commitment(benchmark, packed):
    assert len(benchmark(payload.commit, packed, SALT)) == 32


# ---- signatures and entries


def test_sign(benchmark):
    assert len(benchmark(FileSigner("a", bytes(32)).sign, MESSAGE)) == 64


def test_verify(benchmark):
    signer = FileSigner("a", bytes(32))
    assert benchmark(verify_signature, signer.public_key, MESSAGE, signer.sign(MESSAGE)) is True


def _unsigned() -> bytes:
    return pack_unsigned(
        kind=Kind.CHECKPOINT, tier=Tier.SESSION, time_ms=1, commitment=bytes(32), length=4096, key_id=bytes(4),
        session_tag=bytes([1]) * 16, ordinal=3, parent=2, parent_leaf=bytes([2]) * 32,
    )  # fmt: skip


def test_pack_entry(benchmark):
    assert benchmark(_unsigned) == _unsigned()


def test_parse_entry(benchmark):
    assert benchmark(parse, _unsigned() + bytes(64)).ordinal == 3


# ---- engine and catalogue


@pytest.fixture
def engine(tmp_path) -> Iterator[Engine]:
    with Engine.open(tmp_path / "engine", mode="x", secret=bytes(32), store_id=bytes(16), config=WRITE) as opened:
        yield opened


def test_append_and_commit(benchmark, engine):
    entry, data = bytes(176), bytes(range(256)) * 16

    def append() -> int:
        index = engine.append(Tier.SESSION, 1, entry, data)
        engine.commit(Tier.SESSION, index)
        return index

    last = benchmark(append)
    assert engine.size(Tier.SESSION) == last + 1


def test_read_with_proof(benchmark, engine):
    for number in range(1000):
        index = engine.append(Tier.SESSION, 1, number.to_bytes(176, "big"), bytes(4096))
    engine.commit(Tier.SESSION, index)
    head = engine.head(Tier.SESSION)

    def read() -> bytes:
        record = engine.read(Tier.SESSION, 500)
        check_inclusion(record.leaf, 500, head, engine.inclusion(Tier.SESSION, 500, head.size))
        return record.entry

    assert benchmark(read) == (500).to_bytes(176, "big")


def test_note_a_row(benchmark, store):
    # Rows of records that the log does not have: this catalogue is not vouched for, and goes with its store.
    tag, numbers = bytes([7]) * 16, count(1)
    store.catalog.note(
        SessionBegan(tier=Tier.SESSION, index=LogIndex(0), time_ms=TimeMs(1), leaf=bytes(32), tag=tag, id="s", agent="a")
    )

    def note() -> None:
        number = next(numbers)
        store.catalog.note(
            CheckpointMade(
                tier=Tier.SESSION, index=LogIndex(number), time_ms=TimeMs(number), leaf=bytes(32), tag=tag,
                ordinal=Ordinal(number - 1),
            )
        )  # fmt: skip

    benchmark(note)
    found = store.catalog.session("s")
    assert found is not None and found.last_ordinal == next(numbers) - 2


def test_look_a_session_up(benchmark, store):
    for number in range(100):
        store.session(f"session-{number}").checkpoint(number)
    assert benchmark(store.catalog.session, "session-50").last_ordinal == 0


# ---- whole


def test_checkpoint(benchmark, store, state):
    session = store.session("s")
    save: Callable[[], aegis_store.Ref] = partial(session.checkpoint, state, position="plan/1")
    ref = benchmark(save)
    latest = session.latest()
    assert latest is not None and (latest.ref.ordinal, latest.state) == (ref.ordinal, state)


def test_latest(benchmark, store, state):
    session = store.session("s")
    session.checkpoint(state)
    assert benchmark(session.latest).state == state
