"""Writes: what tasks did towards the next checkpoint. They come back in their order, once, and go with their checkpoint."""

from __future__ import annotations

import asyncio
import shutil
import threading

import pytest

import aegis_store
from aegis_store import aio
from aegis_store.errors import Corrupt, Ended, Foreign, InvalidArgument, ReadOnly
from aegis_store.schema import writes as writes_schema
from aegis_store.schema.writes import Write, Writes
from aegis_store.types import Kind
from tests.stores import SMALL, abandon, flip, forging, frame_of, noise


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def written(request_id: str, task: str, value: bytes = b"v") -> Writes:
    return Writes(request_id=request_id, task=task, path="", writes=(Write(0, "channel", "bytes", value),))


def tasks(session, request_id: str) -> list[str]:
    return [each.task for each in session.writes(request_id)]


def indexes(store, kind: Kind) -> list[int]:
    return [record.index for record in store.records.scan(0, store.records.size()) if record.kind == kind]


def test_writes_belong_to_a_request_before_and_after_its_checkpoint(place):
    with aegis_store.open(place, config=SMALL) as store:
        session = store.session("s")
        session.write(written("a", "early"))
        assert session.latest() is None and session.info().checkpoints == 0
        session.checkpoint(1, request_id="a")
        session.write(written("b", "for another"))
        session.write(written("a", "late"))
        session.checkpoint(2)
        session.write(written("a", "later still"))
    for rebuilt in (False, True):
        if rebuilt:
            shutil.rmtree(place / "catalog")
        for mode in ("a", "r"):
            with aegis_store.open(place, mode=mode) as store:
                session = store.session("s")
                assert tasks(session, "a") == ["early", "late", "later still"]
                assert tasks(session, "b") == ["for another"]
                assert tasks(session, "c") == tasks(store.session("t"), "a") == []
                assert session.requested("a").state == 1
                assert store.verify(deep=True).ok


def test_a_reader_follows_them(place):
    with aegis_store.open(place) as store, aegis_store.open(place, mode="r") as reader:
        for number in range(3):
            store.session("s").write(written("a", str(number)))
            assert tasks(reader.session("s"), "a") == [str(each) for each in range(number + 1)]
        with pytest.raises(ReadOnly):
            reader.session("s").write(written("a", "x"))


def test_what_is_too_long_for_a_record_is_cut_and_comes_back(place, monkeypatch):
    monkeypatch.setattr(writes_schema, "PART_BYTES", 1000)
    with aegis_store.open(place) as store:
        session = store.session("s")
        values = [noise(size, size) for size in (10, 5000, 999)]
        for value in values:
            session.write(written("a", "t", value))
        assert [each.writes[0].value for each in session.writes("a")] == values
        assert len(indexes(store, Kind.WRITES)) == 1 + 6 + 2
        recall = {}
        assert [each.writes[0].value for each in session.writes("a", recall=recall)] == values
        assert len(recall) == 9


def test_what_was_cut_short_by_a_crash_is_left_out_and_what_comes_after_is_not(place, monkeypatch):
    monkeypatch.setattr(writes_schema, "PART_BYTES", 1000)
    store = aegis_store.open(place)
    session = store.session("s")
    session.write(written("a", "whole", noise(2500)))
    real, calls = type(store.records).append, []

    def dies(self, kind, *arguments, **options):
        calls.append(kind)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, kind, *arguments, **options)

    monkeypatch.setattr(type(store.records), "append", dies)
    with pytest.raises(KeyboardInterrupt):
        session.write(written("a", "cut short", noise(2500)))
    monkeypatch.setattr(type(store.records), "append", real)
    assert tasks(session, "a") == ["whole"]
    session.write(written("a", "after", noise(2500)))
    assert tasks(session, "a") == ["whole", "after"]
    abandon(store)
    with aegis_store.open(place) as again:
        assert tasks(again.session("s"), "a") == ["whole", "after"]
        assert again.verify(deep=True).ok


def test_an_ended_session_takes_none(place):
    with aegis_store.open(place) as store:
        session = store.session("s")
        session.checkpoint(1)
        session.end()
        with pytest.raises(Ended):
            session.write(written("a", "t"))
        assert store.verify(deep=True).ok


def test_a_fork_has_its_own(place):
    with aegis_store.open(place) as store:
        store.session("s").checkpoint(1, request_id="a")
        store.session("s").write(written("a", "t"))
        fork = store.session("s").fork("f")
        fork.write(written("a", "of the fork"))
        assert tasks(fork, "a") == ["of the fork"]
        assert tasks(store.session("s"), "a") == ["t"]


def test_threads_and_tasks_write_at_once(place):
    with aegis_store.open(place) as store:
        session = store.session("s")

        def write(thread: int) -> None:
            for number in range(20):
                session.write(written(f"r{number}", f"{thread}"))

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for each in threads:
            each.start()

        async def work() -> None:
            of_tasks = aio.wrap(store).session("s")
            await asyncio.gather(*(of_tasks.write(written(f"r{number}", "task")) for number in range(20)))
            assert len(await of_tasks.writes("r0")) >= 1

        asyncio.run(work())
        for each in threads:
            each.join()
        for number in range(20):
            assert sorted(tasks(session, f"r{number}")) == [*map(str, range(8)), "task"]
        assert store.catalog.session("s").writes == 180
        assert store.verify(deep=True).ok


def test_a_request_that_is_asked_for_again_is_found_as_it_is_newest(place):
    with aegis_store.open(place) as store:
        session = store.session("s")
        session.checkpoint("first", request_id="a")
        for state in ("second", "third"):
            pending = session.submit(state, request_id="a")
            assert pending.is_repeat and pending.ref.ordinal == 0
            session.land(session.submit(state, request_id="a", replace=True).ref.index)
        assert session.requested("a").state == "third"
        assert session.find("a").ordinal == 2
    shutil.rmtree(place / "catalog")
    with aegis_store.open(place) as store:
        session = store.session("s")
        assert session.requested("a").state == "third"
        assert session.checkpoint("fourth", request_id="a").ordinal == 0
        store.keeping.sweeper.prune({"s": [2]}, reason="a test")
        assert session.requested("a").state == "second"


# ---- what goes --------------------------------------------------------------------------------------------------------------


def test_they_go_with_the_newest_checkpoint_of_their_request(place):
    with aegis_store.open(place) as store:
        session = store.session("s")
        for number in range(4):
            session.checkpoint(number, request_id=f"r{number}")
            session.write(written(f"r{number}", "t", noise(2000, number)))
        session.write(written("of nobody", "t"))
        session.land(session.submit("again", request_id="r0", replace=True).ref.index)
        store.keeping.sweeper.prune({"s": [0, 1]}, reason="a test")
        assert [len(session.writes(f"r{number}")) for number in range(4)] == [1, 0, 1, 1]
        assert store.compact().payloads_gone == 3
        assert [len(session.writes(f"r{number}")) for number in range(4)] == [1, 0, 1, 1]
        assert tasks(session, "of nobody") == ["t"]
        assert store.verify(deep=True).ok


def test_one_checkpoint_that_is_erased_takes_them_along(place):
    with aegis_store.open(place) as store:
        session = store.session("s")
        for number in range(2):
            session.checkpoint(number, request_id=f"r{number}")
            session.write(written(f"r{number}", "t", f"a secret {number} ".encode() * 100))
        store.erase(session="s", ordinal=0, reason="a password")
        assert [len(session.writes(f"r{number}")) for number in range(2)] == [0, 1]
        held = b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file())
        assert noise_free(held)
        assert store.verify(deep=True).ok


def noise_free(held: bytes) -> bool:
    return b"a secret 0" not in held


def test_rules_of_retention_take_them_along_and_count_their_bytes(place):
    with aegis_store.open(place) as store:
        session = store.session("s")
        for number in range(5):
            session.checkpoint(number, request_id=f"r{number}")
            session.write(written(f"r{number}", "t", noise(5000, number)))
        dry = store.retain([aegis_store.Rule(byte_budget=11_000)], dry_run=True)
        assert dry.decisions.gone == 3
        store.retain([aegis_store.Rule(keep_last=2)])
        assert [len(session.writes(f"r{number}")) for number in range(5)] == [0, 0, 0, 1, 1]


def test_what_is_held_or_a_fork_goes_on_from_is_spared(place):
    with aegis_store.open(place) as store:
        session = store.session("s")
        refs = [session.checkpoint(number) for number in range(5)]
        session.hold(reason="case 7", holder="legal", ordinal=1)
        session.fork("f", at=refs[2]).checkpoint("of the fork")
        pruning = store.keeping.sweeper.prune({"s": range(5), "never was": [0]}, reason="a test")
        assert (pruning.spared, len(pruning.records)) == (2, 1)
        assert [each.ref.ordinal for each in session.history()] == [2, 1]
        assert store.keeping.sweeper.prune({"s": range(5)}, reason="again").records == ()
        with pytest.raises(InvalidArgument):
            store.keeping.sweeper.prune({"s": [1]}, reason=" ")


def test_several_sessions_are_erased_at_once_or_none(place):
    with aegis_store.open(place) as store:
        for name in ("a", "b", "c"):
            store.session(name).checkpoint(name)
            store.session(name).write(written("r", "t"))
        store.session("a").fork("fork").checkpoint("of the fork")
        done = store.keeping.eraser.sessions(["a", "b", "a"], reason="case 7", by="dpo")
        assert done.sessions == ("a", "b") and done.forks == ("fork",) and done.compacted.segments == 1
        assert sorted(info.id for info in store.sessions()) == ["c", "fork"]
        with pytest.raises(aegis_store.errors.NotFound):
            store.keeping.eraser.sessions(["c", "never was"], reason="case 7", by="dpo")
        assert store.session("c").latest().state == "c"
        store.keeping.eraser.sessions(["c"], reason="case 7", by="dpo", forks=True)
        assert store.verify(deep=True).ok


# ---- what is refused --------------------------------------------------------------------------------------------------------


@pytest.fixture
def three(place):
    """A session of a checkpoint and three writes records, and another session."""
    with aegis_store.open(place) as store:
        store.session("s").checkpoint(1, request_id="a")
        for number in range(3):
            store.session("s").write(written("a", str(number)))
        store.session("t").checkpoint(1)
        return indexes(store, Kind.WRITES)


@pytest.mark.parametrize("again", [0, 2])
@pytest.mark.parametrize("rebuilt", [True, False])
def test_writes_put_at_the_end_once_more_are_refused(place, three, again, rebuilt):
    with forging(place) as forger:
        forger.again(three[again])
    if rebuilt:
        shutil.rmtree(place / "catalog")
    with aegis_store.open(place) as store:
        with pytest.raises(Foreign, match=f"is writes {again} of its session"):
            store.session("s").writes("a")
        assert store.session("t").latest().state == 1
        assert [finding.index for finding in store.verify(deep=True).findings] == [store.records.size() - 1]


def test_writes_of_a_session_that_never_began_or_was_ended_are_refused(place, three):
    with aegis_store.open(place) as store:
        store.session("s").end()
        signer, tag = store.keys.agents()[0], store.catalog.session("s").tag
    with forging(place) as forger:
        for session_tag, ordinal in ((tag, 3), (b"another" * 2 + b"!!", 0)):
            fields = {"session_tag": session_tag, "ordinal": ordinal, "request_tag": b"REQUESTS"}
            forger.append(Kind.WRITES, *forger.sealed(Kind.WRITES, b"\x90", signer, **fields))
    for rebuilt in (False, True):
        if rebuilt:
            shutil.rmtree(place / "catalog")
        with aegis_store.open(place) as store:
            problems = " ".join(finding.problem for finding in store.verify(deep=True).findings)
            assert "comes after the end of its session" in problems
            assert "belongs to a session that never began" in problems
            with pytest.raises(Foreign, match="comes after the end"):
                store.session("s").writes("a")


def test_damage_is_named_and_those_after_it_are_not_to_blame(place, three):
    path, span = frame_of(place, three[1])
    flip(path, span.start + 2)
    flip(path, span.entry + 30, 255)
    flip(path, span.entry + 60, 255)
    try:
        with aegis_store.open(place) as store:
            with pytest.raises(Corrupt):
                store.session("s").writes("a")
            assert {finding.index for finding in store.verify(deep=True).findings} == {three[1]}
    except Corrupt as error:
        assert error.index is None or error.index <= three[1]


def test_a_flipped_byte_of_a_payload_is_named(place, three):
    path, span = frame_of(place, three[1])
    flip(path, span.payload + 20)
    with aegis_store.open(place) as store:
        with pytest.raises(Corrupt) as caught:
            store.session("s").writes("a")
        assert caught.value.index == three[1]
        assert store.session("s").latest().state == 1


def test_a_catalogue_that_points_elsewhere_is_found_out(place, three, monkeypatch):
    with aegis_store.open(place) as store:
        real = store.catalog.writes
        monkeypatch.setattr(store.catalog, "writes", lambda *key: [(ordinal + 1, index) for ordinal, index in real(*key)])
        with pytest.raises(Foreign, match="is not writes 1 of session 's'"):
            store.session("s").writes("a")
