"""Who may open what, and what is said to those who may not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from aegis_store import errors
from aegis_store._engine import Verdict
from aegis_store.types import Head, Tier

HOLD = """
import sys
from aegis_store._engine import Engine
engine = Engine.open(sys.argv[1], secret=bytes(range(32)))
print("open", flush=True)
sys.stdin.read()
engine.close()
"""


def snapshot(place):
    return {path.relative_to(place): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


def test_a_second_writer_in_the_same_process_is_refused(opened):
    first = opened()
    with pytest.raises(errors.Locked):
        opened()
    first.append(Tier.SESSION, 1, b"e")
    first.close()
    opened()


def test_a_second_writer_is_told_who_holds_the_store(opened, place):
    opened().close()
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(errors.Locked, match=rf"\b{holder.pid}\b") as caught:
            opened()
        assert caught.value.can_retry
        assert f"aegis head {place}" in caught.value.hint
        reader = opened(mode="r")
        assert reader.size(Tier.SESSION) == 0
        holder.stdin.close()
    assert holder.returncode == 0
    opened(mode="w")


def test_a_holder_that_was_killed_holds_nothing(opened, place):
    opened().close()
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout.readline() == b"open\n"
        holder.kill()
    opened()


def test_a_reader_writes_nothing(opened, fill, place):
    writer = opened()
    written = fill(writer, Tier.SESSION, 10)
    writer.close()
    before = snapshot(place)
    reader = opened(mode="r")
    assert [record.entry for record in reader.scan(Tier.SESSION)] == [entry for entry, _ in written]
    for act in (
        lambda: reader.append(Tier.SESSION, 1, b"e"),
        lambda: reader.append(Tier.AUDIT, 1, b"e"),
        lambda: reader.commit(Tier.SESSION, 0),
    ):
        with pytest.raises(errors.ReadOnly):
            act()
    reader.close()
    assert snapshot(place) == before


def test_modes_say_what_must_be_there(opened, place):
    for mode in ("r", "w"):
        with pytest.raises(errors.NotAStore):
            opened(mode)
        assert not place.exists()
    opened("x").close()
    with pytest.raises(errors.StoreExists):
        opened("x")
    for mode in ("r", "w", "a"):
        with opened(mode) as engine:
            assert not engine.report.created


def test_another_mode_is_refused(opened):
    with pytest.raises(errors.InvalidArgument, match="mode is 'rw'"):
        opened("rw")


def test_a_directory_of_something_else_is_left_alone(opened, place):
    place.mkdir()
    (place / "MANIFEST").write_text("a list of ships")
    before = snapshot(place)
    for mode in ("r", "a", "w", "x"):
        with pytest.raises(errors.AegisError):
            opened(mode)
    assert {path: content for path, content in snapshot(place).items() if path.name != "LOCK"} == before


def test_a_file_is_no_store(opened, place):
    place.write_text("not a directory")
    with pytest.raises(errors.NotAStore):
        opened()


def test_the_wrong_secret_is_noticed(opened):
    opened().close()
    for mode in ("r", "a", "w"):
        with pytest.raises(errors.KeysWrong):
            opened(mode, secret=bytes(32))


def test_writing_needs_the_secret_and_reading_does_not(opened, fill):
    with pytest.raises(errors.KeysMissing):
        opened(secret=None)
    writer = opened()
    fill(writer, Tier.SESSION, 5)
    writer.close()
    with pytest.raises(errors.KeysMissing):
        opened("w", secret=None)
    assert opened("r", secret=None).read(Tier.SESSION, 4).index == 4


def test_another_store_in_its_place_is_noticed(opened):
    opened().close()
    with pytest.raises(errors.Foreign):
        opened(store_id=b"somebody else's.")
    opened(store_id=None)


def test_a_head_from_outside_must_be_a_prefix(opened, fill):
    engine = opened()
    fill(engine, Tier.SESSION, 8)
    five, eight = engine.head(Tier.SESSION, 5), engine.head(Tier.SESSION)
    engine.close()
    opened(anchors=[five, eight]).close()
    for anchor in [
        Head(tier=Tier.SESSION, size=9, root=eight.root),
        Head(tier=Tier.SESSION, size=5, root=eight.root),
        Head(tier=Tier.AUDIT, size=1, root=five.root),
    ]:
        for mode in ("w", "r"):
            with pytest.raises(errors.RolledBack, match=anchor.tier.label):
                opened(mode, anchors=[five, anchor])
    assert opened(anchors=[five]).size(Tier.SESSION) == 8


@pytest.mark.parametrize(
    "options",
    [
        {"secret": bytes(31)},
        {"secret": bytearray(32)},
        {"store_id": b"short"},
        {"name": "n" * 256},
        {"name": "a\0b"},
        {"name": "\ud800"},
        {"meta": bytes(4097)},
        {"path": ""},
        {"path": "a\0b"},
        {"anchors": [Head(tier=Tier.SESSION, size=1, root=b"short")]},
    ],
)
def test_options_that_cannot_be_meant_are_refused(opened, options, place):
    with pytest.raises(errors.InvalidArgument):
        opened(**options)
    assert not place.exists()


def test_limits_of_name_and_meta_are_allowed(opened):
    engine = opened(name="n" * 255, meta=bytes(range(256)) * 16)
    assert engine.describe().name == "n" * 255
    assert engine.describe().meta == bytes(range(256)) * 16


def test_a_path_may_be_anything_that_the_system_takes(opened, tmp_path):
    for name in ("plain", "ein schöner Ort", os.fsdecode(b"\xff\xfe"), "quo'te"):
        engine = opened(path=tmp_path / name)
        engine.append(Tier.SESSION, 1, b"e")
        engine.close()
        with pytest.raises(errors.Closed) as caught:
            engine.size(Tier.SESSION)
        assert caught.value.path == str(tmp_path / name)


def test_an_unclean_end_is_reported_once(opened, fill):
    engine = opened()
    fill(engine, Tier.SESSION, 5)
    engine.abandon()
    engine = opened()
    assert engine.report.tiers[Tier.SESSION].verdict == Verdict.UNCLEAN
    engine.close()
    assert opened().report.tiers[Tier.SESSION].verdict == Verdict.CLEAN
