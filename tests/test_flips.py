"""Flipped bits as a program meets them: a sample over all files of a store, its catalogue and its keys, by `aegis_store.open`.

Every single bit of the engine's files is tried in tests/native/test_flips.c. Here the question is what comes through: the same
states, or a typed error that names the file; and that LMDB, which trusts its file, is never shown a flipped one.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest
from blake3 import blake3

import aegis_store
from aegis_store import Store, Tier
from aegis_store.catalog.sidecar import DATA, NAME, Seal
from aegis_store.errors import AegisError, Corrupt, KeysMissing, KeysWrong, RolledBack
from aegis_store.rules import Rule
from aegis_store.store import _CATALOG_CONTEXT
from aegis_store.trust.keys import KeyDirectory
from tests.golden import reader
from tests.stores import SMALL, fill, flip, frames, segments

SESSIONS = ("s", "t")
EACH = 27


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[object]]]:
    """A store of two sessions in sealed and signed segments and an active one, closed; and what was saved in it."""
    place = tmp_path_factory.mktemp("flips") / "state"
    with aegis_store.open(place, config=SMALL) as store:
        saved = fill(store, *SESSIONS, each=EACH)
    with aegis_store.open(place):
        pass  # which signs what the first one had sealed as it closed
    assert len(segments(place)) >= 3
    return place, saved


@pytest.fixture
def copied(made: tuple[Path, dict[str, list[object]]], tmp_path: Path) -> Path:
    place = tmp_path / "state"
    copy(made[0], place)
    return place


def copy(source: Path, place: Path) -> None:
    for suffix in ("", ".keys"):
        shutil.rmtree(place.with_name(place.name + suffix), ignore_errors=True)
        shutil.copytree(source.with_name(source.name + suffix), place.with_name(place.name + suffix))


def files(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*") if path.is_file())


def bits(path: Path, count: int, dice: random.Random) -> Iterator[int]:
    """Some bits of a file, by byte and bit; the head of a segment is a part of it that counts for more than its length."""
    size = path.stat().st_size
    for number in range(count):
        byte = dice.randrange(size if number % 3 or path.suffix != ".seg" else 512)
        yield byte * 8 + dice.randrange(8)


def data_of(path: Path, start: int, end: int) -> bytes:
    return path.read_bytes()[start:end]


def answers(store: Store, saved: dict[str, list[object]]) -> Iterator[AegisError]:
    """Asks for each checkpoint and yields what is refused; nothing that was not saved comes back."""
    for name in SESSIONS:
        for ordinal, state in enumerate(saved[name]):
            try:
                assert store.session(name).get(ordinal).state == state
            except AegisError as error:
                yield error


# ---- the store --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["r", "a"])
def test_a_flipped_bit_changes_no_answer_or_is_refused_by_name(made, copied, mode):
    dice = random.Random(mode)
    tried = refused = 0
    for path in files(copied):
        for bit in bits(path, 12, dice):
            if mode == "a" and tried:
                copy(made[0], copied)
            flip(path, bit // 8, 1 << bit % 8)
            tried += 1
            try:
                with aegis_store.open(copied, mode=mode) as store:
                    found = list(answers(store, made[1]))
                    if found:
                        assert store.verify().findings
            except Corrupt as error:
                found = [error]
            for error in found:
                assert isinstance(error, Corrupt), (path, bit, error)
                assert path.name in error.message, (path, bit, error)
                assert error.hint
            refused += bool(found)
            # One flip hits one record, and so one checkpoint.
            assert len(found) <= 1, (path, bit, found)
            if mode == "r":
                flip(path, bit // 8, 1 << bit % 8)
    assert tried >= 80
    assert refused >= 8


@pytest.fixture(scope="module")
def thinned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[object]]]:
    """The same after a compaction: segments with gaps, and with checkpoints that stay in another form."""
    place = tmp_path_factory.mktemp("flips") / "state"
    with aegis_store.open(place, config=SMALL) as store:
        saved = fill(store, *SESSIONS, each=EACH)
        store.retain((Rule(keep_last=10),))
        assert store.compact().segments
    return place, saved


@pytest.mark.parametrize("mode", ["r", "a"])
def test_a_flipped_bit_of_a_rewritten_segment_changes_no_answer_or_is_refused_by_name(thinned, tmp_path, mode):
    dice, place = random.Random(mode), tmp_path / "state"
    copy(thinned[0], place)
    rewritten = [path for path in segments(place) if "-" in path.stem]
    with aegis_store.open(place, mode="r") as store:
        gone = list(answers(store, thinned[1]))
    assert rewritten
    assert gone
    assert not any(isinstance(error, Corrupt) for error in gone)
    refused = 0
    for path in rewritten:
        for bit in bits(path, 20, dice):
            copy(thinned[0], place)
            flip(path, bit // 8, 1 << bit % 8)
            try:
                with aegis_store.open(place, mode=mode) as store:
                    found = [error for error in answers(store, thinned[1]) if isinstance(error, Corrupt)]
                    if found:
                        assert store.verify().findings
            except Corrupt as error:
                found = [error]
            for error in found:
                assert path.name in error.message, (path, bit, error)
                assert error.hint
            refused += bool(found)
    assert refused >= 3


def test_the_second_reader_finds_the_same_leaf_for_a_damaged_record(made, copied):
    path = segments(copied)[-1]
    keys = KeyDirectory.load(copied.with_name("state.keys"))
    with aegis_store.open(copied, mode="r") as store:
        root = store._engine.head(Tier.SESSION).root
    span = frames(path)[1]
    for at in (
        span.start,
        span.start + 6,
        span.start + 12,
        span.start + 24,
        span.start + 40,
        span.entry + 50,
        span.payload + 9,
    ):
        flip(path, at, 4)
        data = path.read_bytes()
        leaf = reader.remains(data, span.start, span.index, reader.read_header(data), keys.secret)
        flip(path, at, 4)
        assert leaf == reader.leaf_hash(data_of(path, span.entry, span.payload)), at
        flip(path, at, 4)
        with aegis_store.open(copied, mode="r") as store:
            assert store._engine.head(Tier.SESSION).root == root
        flip(path, at, 4)


# ---- the catalogue ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def opened_files(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bytes of each data.mdb that LMDB is shown; none where it is a new one."""
    shown: list[bytes] = []
    real = lmdb.open

    def watched(path, *args, **options):
        data = Path(os.fsdecode(path)) / DATA
        shown.append(data.read_bytes() if data.exists() else b"")
        return real(path, *args, **options)

    monkeypatch.setattr(lmdb, "open", watched)
    return shown


@pytest.mark.parametrize("name", [DATA, NAME])
def test_lmdb_is_never_shown_a_flipped_file(made, copied, opened_files, name):
    whole = (copied / "catalog" / DATA).read_bytes()
    with aegis_store.open(copied):
        assert opened_files == [whole], "vouched for, and used as it is"
    dice = random.Random(name)
    for bit in bits(copied / "catalog" / name, 40, dice):
        copy(made[0], copied)
        opened_files.clear()
        flip(copied / "catalog" / name, bit // 8, 1 << bit % 8)
        with aegis_store.open(copied) as store:
            assert opened_files == [b""], "made again, from nothing"
            assert list(answers(store, made[1])) == []


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.long)])
def test_no_flipped_bit_of_the_catalogue_is_vouched_for(copied, every):
    keys = KeyDirectory.load(copied.with_name("state.keys"))
    seal = Seal(mac_key=blake3(keys.secret, derive_key_context=_CATALOG_CONTEXT).digest(), store_id=keys.store_id)
    folder = os.open(copied / "catalog", os.O_RDONLY)
    assert seal.read(folder)
    dice = random.Random(1)
    for name in (DATA, NAME):
        path = copied / "catalog" / name
        with path.open("r+b", buffering=0) as file:
            for at in range(path.stat().st_size):
                good = os.pread(file.fileno(), 1, at)
                for bit in range(8) if every or name == NAME else [dice.randrange(8)]:
                    os.pwrite(file.fileno(), bytes([good[0] ^ 1 << bit]), at)
                    assert seal.read(folder) is None, (name, at, bit)
                os.pwrite(file.fileno(), good, at)
    assert seal.read(folder)
    os.close(folder)


# ---- the keys ---------------------------------------------------------------------------------------------------------------


def test_a_flipped_bit_of_the_keys_is_refused_or_changes_no_answer(made, copied):
    dice = random.Random("keys")
    for path in files(copied.with_name("state.keys")):
        for bit in bits(path, 24, dice):
            copy(made[0], copied)
            flip(path, bit // 8, 1 << bit % 8)
            try:
                with aegis_store.open(copied) as store:
                    assert list(answers(store, made[1])) == [], (path, bit)
            except (KeysMissing, KeysWrong, RolledBack, Corrupt) as error:
                assert error.message, (path, bit)
                assert error.hint, (path, bit)


def test_a_missing_file_of_the_keys_is_named(made, copied):
    for path in files(copied.with_name("state.keys")):
        copy(made[0], copied)
        path.unlink()
        try:
            with aegis_store.open(copied) as store:
                assert list(answers(store, made[1])) == [], path
        except (KeysMissing, KeysWrong) as error:
            assert str(path) in str(error) or path.name in error.message, (path, error)
            assert error.hint
