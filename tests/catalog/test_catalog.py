"""The catalogue as a whole: what it answers, what it survives, and what it never opens."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_store.catalog import Catalog, CheckpointMade, SessionBegan, catalog
from aegis_store.catalog.disk import DiskTables
from aegis_store.errors import Closed, InvalidArgument, Locked, UsedAfterFork
from aegis_store.types import Tier

NAMES = [
    "",
    "a\0b",
    "\0",
    "../../etc/passwd",
    "/",
    "🙂" * 50,
    "\ud83d\ude42",  # two lone surrogates, which are not the emoji
    "🙂",
    "\udcff",
    "x" * 10_240,
    "x" * 10_241,
    "é" * 600,
    "Ticket-1",
    "ticket-1",
]


# ---- answers ------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_noted_in_portions_rebuilt_and_in_memory_it_answers_as_the_log_does(kit, tmp_path_factory, data) -> None:
    directory = tmp_path_factory.mktemp("store")
    log = kit.Log()
    live, vouched = log.open(directory / "live"), {}
    for _ in range(data.draw(st.integers(1, 5))):
        for row in kit.work(log, data.draw(kit.actions)):
            live.note(row)
        match data.draw(st.sampled_from(["go on", "flush", "reopen", "crash", "look"])):
            case "flush":
                live.flush()
            case "look":
                assert kit.answers(live, log.rows) == kit.expected(log.rows)
            case "reopen":
                live.close()
                live, vouched = log.open(directory / "live"), dict(log.sizes)
                assert {tier: live.covered(tier) for tier in log.sizes} == log.sizes
            case "crash":
                live.abandon()
                live = log.open(directory / "live")
                covered = {tier: live.covered(tier) for tier in Tier if live.covered(tier)}
                assert covered in ({}, vouched)  # the latter if nothing had been written
                vouched = covered
                log.feed(live)
    rebuilt = log.feed(log.open(directory / "rebuilt"))
    memory = log.feed(log.open(directory / "none", writable=False))
    for each in (live, rebuilt, memory):
        assert kit.answers(each, log.rows) == kit.expected(log.rows)
        assert {tier: each.covered(tier) for tier in log.sizes} == log.sizes
        assert each.broken is None
        each.close()
    again = log.open(directory / "rebuilt")
    assert kit.answers(again, log.rows) == kit.expected(log.rows)
    assert again.broken is None
    again.close()


@settings(deadline=None)
@given(st.data())
def test_threads_may_note_what_they_committed_in_any_order(kit, tmp_path_factory, data) -> None:
    log = kit.Log()
    rows = kit.work(log, data.draw(kit.actions))
    late = {id(row): 0 if isinstance(row, SessionBegan) else data.draw(st.integers(0, 6)) for row in rows}
    order = sorted(range(len(rows)), key=lambda at: (at + late[id(rows[at])], at))
    live = log.open(tmp_path_factory.mktemp("store") / "c")
    for at in order:
        live.note(rows[at])
        if data.draw(st.booleans()):
            live.flush()
    assert kit.answers(live, log.rows) == kit.expected(log.rows)
    assert {tier: live.covered(tier) for tier in log.sizes} == log.sizes
    assert live.broken is None
    live.close()


def test_many_rows_go_through_every_kind_of_flush(kit, place: Path, monkeypatch, opened) -> None:
    monkeypatch.setattr(catalog, "PENDING_ROWS", 64)
    monkeypatch.setattr(catalog, "BULK_ROWS", 200)
    log = kit.busy(sessions=7, checkpoints=1_500)
    live = opened(log.open(place))
    for row in log.rows:
        live.note(row)
        assert len(live._rows) + live._unwritten < 64
    rebuilt = opened(log.feed(log.open(place.with_name("rebuilt"))))
    for each in (live, rebuilt):
        assert kit.answers(each, log.rows) == kit.expected(log.rows)
        assert each.broken is None


def test_what_was_noted_is_found_at_once_without_a_write(kit, place: Path, opened, monkeypatch) -> None:
    log = kit.busy()
    live = opened(log.feed(log.open(place)))
    monkeypatch.setattr(DiskTables, "write", None)
    session = log.begun[0]
    for _ in range(130):
        row = log.checkpoint(session)
        live.note(row)
        found = live.session(session.id)
        assert (found.last_index, found.last_leaf, found.last_ordinal) == (row.index, row.leaf, row.ordinal)
        assert live.checkpoint(found.number, row.ordinal).index == row.index
        assert live.checkpoints(found.number, limit=1)[0].index == row.index
    assert len(live.checkpoints(session.index, limit=1_000)) == 150
    assert live.broken is None


def test_to_note_does_not_touch_lmdb(kit, place: Path, opened) -> None:
    log = kit.Log()
    live = opened(log.open(place))
    live._tables = None
    for row in kit.busy(checkpoints=2_000).rows[: catalog.PENDING_ROWS - 1]:
        live.note(row)
    assert len(live._rows) == catalog.PENDING_ROWS - 1


def test_to_note_does_not_wait_for_another_thread_s_flush_until_very_much_pends(kit, place: Path, opened) -> None:
    class Held:
        """A lock that somebody else has."""

        def __init__(self) -> None:
            self.waits: list[bool] = []

        def acquire(self, *, blocking: bool) -> bool:
            self.waits.append(blocking)
            return False

    log = kit.busy(checkpoints=10_000)
    live = opened(log.open(place))
    lock, live._lock = live._lock, Held()
    for row in log.rows[: catalog.PENDING_ROWS_MAX]:
        live.note(row)
    assert live._lock.waits == [False] * (catalog.PENDING_ROWS_MAX - catalog.PENDING_ROWS) + [True]
    live._lock = lock
    for row in log.rows[catalog.PENDING_ROWS_MAX :]:
        live.note(row)
        assert len(live._rows) + live._unwritten < catalog.PENDING_ROWS
    assert kit.answers(live, log.rows) == kit.expected(log.rows)


def test_threads_note_and_look_at_the_same_time(kit, place: Path, opened, monkeypatch) -> None:
    monkeypatch.setattr(catalog, "PENDING_ROWS", 16)
    log = kit.Log()
    begun = [log.begin() for _ in range(4)]
    live = opened(log.feed(log.open(place)))
    parts = [[log.checkpoint(session) for _ in range(400)] for session in begun]
    wrong: list[object] = []

    def run(session: SessionBegan, rows: list[CheckpointMade]) -> None:
        for row in rows:
            live.note(row)
            found = live.session(session.id)
            if found is None or found.last_index != row.index:
                wrong.append((row, found))

    threads = [threading.Thread(target=run, args=pair) for pair in zip(begun, parts, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert live.broken is None
    assert kit.answers(live, log.rows) == kit.expected(log.rows)
    assert live.covered(Tier.SESSION) == log.sizes[Tier.SESSION]


@pytest.mark.parametrize("writable", [True, False])
def test_any_name_is_found_again_and_none_is_taken_for_another(kit, place: Path, opened, writable: bool) -> None:
    log = kit.Log()
    for name in NAMES:
        log.begin(name, agent=name)
    live = log.feed(log.open(place, writable=writable))
    if writable:
        live.close()
        live = log.open(place)
    for name, begun in zip(NAMES, log.begun, strict=True):
        found = opened(live).session(name)
        assert (found.number, found.id, found.agent) == (begun.index, name, name)
    for absent in ("y" * 10_240, "ticket", "\udcfe", "a", "a\0"):
        assert live.session(absent) is None
    assert [session.id for session in live.sessions(limit=100)] == NAMES
    assert live.broken is None


def test_questions_that_have_no_answer(kit, place: Path, opened) -> None:
    log = kit.busy()
    for live in (opened(log.feed(log.open(place))), log.feed(log.open(place, writable=False))):
        assert live.session_by_tag(b"") is live.session_by_tag(b"t" * 16) is live.session_by_tag(b"t" * 600) is None
        assert (
            live.checkpoint(-1, 0)
            is live.checkpoint(1 << 48, 0)
            is live.checkpoint(4, -1)
            is live.checkpoint(4, 1 << 32)
            is None
        )
        assert live.checkpoint(3, 0) is None  # not a session-begin
        assert live.checkpoints(-1) == live.checkpoints(1 << 48) == live.checkpoints(3) == live.checkpoints(4, before=0) == []
        assert live.key(Tier.SESSION, b"none") == live.key(Tier.SESSION, b"") == live.key(Tier.SESSION, b"x" * 600) == []
        assert live.sessions(after=1 << 40) == []
        assert live.checkpoints(4, before=1 << 60, limit=3) == live.checkpoints(4, limit=3)
        for name, question in (
            ("sessions", {"limit": 0}),
            ("sessions", {"after": -1}),
            ("checkpoints", {"number": 4, "limit": 0}),
        ):
            with pytest.raises(InvalidArgument):
                getattr(live, name)(**question)
        assert live.broken is None


def test_an_id_is_compared_and_not_only_its_hash(kit, place: Path, opened, monkeypatch) -> None:
    log = kit.busy()
    live = opened(log.feed(log.open(place)))
    key = catalog.id_key("session 0")
    monkeypatch.setattr(catalog, "id_key", lambda name, tier: key)
    assert live.session("session 0") is not None
    assert live.session("session 1") is None


# ---- coverage -----------------------------------------------------------------------------------------------------------


def test_a_record_that_was_never_noted_is_asked_for_again(kit, place: Path, opened) -> None:
    log = kit.busy()
    live = log.open(place)
    lost = log.rows[40]
    for row in log.rows:
        if row is not lost:
            live.note(row)
    live.close()
    again = opened(log.open(place))
    assert again.covered(Tier.SESSION) == lost.index
    log.feed(again)
    assert kit.answers(again, log.rows) == kit.expected(log.rows)
    assert again.covered(Tier.SESSION) == log.sizes[Tier.SESSION]


def test_the_caller_may_vouch_for_a_stretch_with_nothing_in_it(kit, place: Path, opened) -> None:
    log = kit.busy()
    log.sizes[Tier.AUDIT] += 1_000
    live = log.feed(log.open(place))
    assert live.covered(Tier.AUDIT) == 1
    live.cover(Tier.AUDIT, log.sizes[Tier.AUDIT])
    live.close()
    assert opened(log.open(place)).covered(Tier.AUDIT) == 1_001


def test_5_a_catalogue_that_covers_more_than_the_log_has_is_not_opened(kit, place: Path, opened, lmdb_opens) -> None:
    log = kit.busy()
    log.feed(log.open(place)).close()
    del lmdb_opens[:]
    for sizes in ({**log.sizes, Tier.SESSION: log.sizes[Tier.SESSION] - 1}, {Tier.SESSION: log.sizes[Tier.SESSION]}):
        live = log.open(place, log_sizes=sizes)
        assert [live.covered(tier) for tier in Tier] == [0] * 4
        assert live.sessions() == []
        log.feed(live).close()
    assert lmdb_opens == [None, None]


def test_6_a_catalogue_of_a_log_that_went_another_way_is_not_opened(kit, place: Path, opened, lmdb_opens) -> None:
    log, other = kit.busy(), kit.Log("put back from a copy")
    log.feed(log.open(place)).close()
    del lmdb_opens[:]
    for _ in range(len(log.rows) + 10):
        other.begin()
    other.other(Tier.AUDIT)
    live = opened(other.open(place))
    assert live.covered(Tier.SESSION) == 0
    assert lmdb_opens == [None]
    assert kit.answers(other.feed(live), other.rows) == kit.expected(other.rows)


def test_a_log_that_grew_is_read_from_where_the_catalogue_ends(kit, place: Path, opened) -> None:
    log = kit.busy()
    log.feed(log.open(place)).close()
    size = log.sizes[Tier.SESSION]
    log.begin()
    live = opened(log.open(place))
    assert live.covered(Tier.SESSION) == size
    assert kit.answers(log.feed(live), log.rows) == kit.expected(log.rows)


# ---- what is never opened -----------------------------------------------------------------------------------------------


def test_a_clean_catalogue_is_opened_and_not_built_again(kit, place: Path, opened, lmdb_opens) -> None:
    log = kit.busy()
    log.feed(log.open(place)).close()
    data = (place / "data.mdb").read_bytes()
    live = opened(log.open(place))
    assert lmdb_opens == [None, data]
    assert kit.answers(live, log.rows) == kit.expected(log.rows)
    assert live.broken is None
    assert sorted(os.listdir(place)) == ["data.mdb", "sidecar"]


@pytest.mark.parametrize("name", ["sidecar", "data.mdb"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "missing", "append", "directory"])
def test_a_damaged_catalogue_is_built_again_and_never_opened(
    kit, place: Path, opened, lmdb_opens, name: str, damage: str
) -> None:
    log = kit.busy(checkpoints=2_000)
    log.feed(log.open(place)).close()
    del lmdb_opens[:]
    file = place / name
    raw = file.read_bytes()
    for at in range(0, len(raw), len(raw) // 16) if damage in ("flip", "cut") else (0,):
        if damage == "directory":
            file.unlink()
            file.mkdir()
        elif damage == "missing":
            file.unlink()
        else:
            bad = {
                "flip": raw[:at] + bytes([raw[at] ^ 4]) + raw[at + 1 :],
                "cut": raw[:at],
                "append": raw + b"\0",
                "empty": b"",
            }
            file.write_bytes(bad[damage])
        live = log.open(place)
        assert live.covered(Tier.SESSION) == 0
        assert (live.broken is not None) == (damage == "directory")  # cannot be deleted: in memory, and said
        assert kit.answers(log.feed(live), log.rows) == kit.expected(log.rows)
        live.close()
        raw = raw if damage == "directory" else file.read_bytes()
    assert set(lmdb_opens) <= {None}


@pytest.mark.parametrize("options", [{"store_id": bytes(16)}, {"mac_key": b"x" * 32}])
def test_a_stranger_s_catalogue_is_never_opened(kit, place: Path, opened, lmdb_opens, options: dict) -> None:
    log = kit.busy()
    log.feed(log.open(place, **options)).close()
    live = opened(log.open(place))
    assert lmdb_opens == [None, None]
    assert live.covered(Tier.SESSION) == 0
    assert live.sessions() == []


def test_after_a_crash_it_starts_empty(kit, place: Path, opened, lmdb_opens) -> None:
    log = kit.busy()
    log.feed(log.open(place)).close()
    del lmdb_opens[:]
    more = log.begin()

    def crash() -> None:
        live = log.open(place)
        live.note(more)
        live.flush()
        os._exit(0 if live.session(more.id) and live.broken is None else 1)

    kit.in_child(crash)
    live = opened(log.open(place))
    assert live.covered(Tier.SESSION) == 0
    assert lmdb_opens == [None]
    assert kit.answers(log.feed(live), log.rows) == kit.expected(log.rows)


def test_a_crash_before_anything_was_written_costs_nothing(kit, place: Path, opened) -> None:
    log = kit.busy()
    log.feed(log.open(place)).close()
    live = log.open(place)
    live.note(log.begin())
    live.abandon()
    again = opened(log.open(place))
    assert again.covered(Tier.SESSION) == log.sizes[Tier.SESSION] - 1
    assert again.session(log.begun[-1].id) is None


@pytest.mark.parametrize(("length", "bytes_max"), [(20, 40), (40_000, 16)])
@pytest.mark.parametrize("bulk", [True, False])
def test_a_checkpoint_keeps_to_its_budget_with_everything_counted(
    kit, place: Path, length: int, bytes_max: int, bulk: bool
) -> None:
    log = kit.Log(requests=False)
    for _ in range(40_000 // length):
        session = log.begin()
        for _ in range(length):
            log.checkpoint(session)
    live = log.open(place)
    if bulk:
        live.apply(log.rows)
    else:
        for row in log.rows:
            live.note(row)
    live.close()
    assert sum(file.stat().st_size for file in place.iterdir()) / 40_000 < bytes_max


# ---- readers, processes, the end ----------------------------------------------------------------------------------------


def test_a_reader_makes_nothing_and_opens_nothing(kit, place: Path, lmdb_opens) -> None:
    log = kit.busy()
    with log.feed(log.open(place, writable=False)) as reader:
        assert kit.answers(reader, log.rows) == kit.expected(log.rows)
        reader.note(log.begin())
        reader.flush()
        assert kit.answers(reader, log.rows) == kit.expected(log.rows)
    assert not place.exists()
    assert lmdb_opens == []


def test_a_second_one_in_the_process_is_refused_and_a_reader_is_not(kit, place: Path, opened) -> None:
    log = kit.busy()
    live = opened(log.feed(log.open(place)))
    with pytest.raises(Locked, match="open in this process already"):
        log.open(place)
    assert kit.answers(log.feed(log.open(place, writable=False)), log.rows) == kit.expected(log.rows)
    assert kit.answers(live, log.rows) == kit.expected(log.rows)
    live.close()
    opened(log.open(place))


def test_a_forked_child_is_refused_and_writes_nothing(kit, place: Path, opened) -> None:
    log = kit.busy()
    live = opened(log.feed(log.open(place)))
    live.note(log.begin())
    before = (place / "data.mdb").read_bytes()
    calls = [
        lambda: live.note(log.rows[0]),
        lambda: live.apply(log.rows),
        lambda: live.cover(Tier.SESSION, 1),
        lambda: live.covered(Tier.SESSION),
        live.flush,
        lambda: live.session("session 0"),
        lambda: live.session_by_tag(log.begun[0].tag),
        live.sessions,
        lambda: live.checkpoint(4, 0),
        lambda: live.checkpoints(4),
        lambda: live.key(Tier.SESSION, bytes(4)),
    ]

    def child() -> None:
        for call in calls:
            with pytest.raises(UsedAfterFork):
                call()
        live.close()
        live.abandon()
        reader = log.feed(log.open(place, writable=False))
        assert kit.answers(reader, log.rows) == kit.expected(log.rows)

    # Whatever other threads held at the fork, nobody in the child will let go of.
    with live._lock, live._pend:
        kit.in_child(child)
    assert sorted(os.listdir(place)) == ["data.mdb"]
    assert (place / "data.mdb").read_bytes() == before
    assert kit.answers(live, log.rows) == kit.expected(log.rows)
    live.close()
    assert opened(log.open(place)).covered(Tier.SESSION) == log.sizes[Tier.SESSION]


def test_after_the_end_everything_is_refused(kit, place: Path) -> None:
    log = kit.busy()
    for end in (Catalog.close, Catalog.abandon):
        live = log.open(place)
        end(live)
        live.close()
        for name, arguments in (("flush", ()), ("sessions", ()), ("note", (log.rows[0],)), ("apply", (log.rows,))):
            with pytest.raises(Closed):
                getattr(live, name)(*arguments)


def test_a_note_that_comes_while_the_catalogue_closes_is_refused_or_kept(kit, place: Path, opened, monkeypatch) -> None:
    """Never covered and not written."""
    log = kit.busy()
    live = log.feed(log.open(place))
    late = log.begin()
    flush = Catalog._flush

    def flush_and_note(self: Catalog) -> None:
        flush(self)
        with pytest.raises(Closed):
            self.note(late)

    monkeypatch.setattr(Catalog, "_flush", flush_and_note)
    monkeypatch.setattr(Catalog, "_check", lambda self: None)  # it had passed the check before
    live.close()
    monkeypatch.undo()
    assert live.broken is None
    assert opened(log.open(place)).covered(Tier.SESSION) == late.index


def test_a_flush_that_comes_after_the_close_harms_nothing(kit, place: Path, opened, monkeypatch) -> None:
    log = kit.busy()
    live = log.feed(log.open(place))
    live.close()
    monkeypatch.setattr(Catalog, "_check", lambda self: None)  # it had passed the check before
    live._unwritten = 1
    live.flush()
    monkeypatch.undo()
    assert live.broken is None
    assert opened(log.open(place)).covered(Tier.SESSION) == log.sizes[Tier.SESSION]


# ---- sessions of other tiers


def test_sessions_of_one_tier_are_not_those_of_another(kit, place, opened):
    log = kit.Log(home=Tier.MEMORY)
    memory = log.begin("a name of both")
    log.home = Tier.SESSION
    session = log.begin("a name of both")
    catalog = opened(log.open(place))
    log.feed(catalog)
    assert memory.index == session.index == 0
    for tier, row in ((Tier.MEMORY, memory), (Tier.SESSION, session)):
        [found] = catalog.sessions(tier=tier)
        assert found == catalog.session("a name of both", tier) == catalog.session_by_tag(row.tag)
        assert (found.tag, found.begun) == (row.tag, 0)
        assert catalog.sessions(tier=tier, after=found.number) == []
    assert catalog.sessions(tier=Tier.AUDIT) == []
    assert catalog.session("a name of both", Tier.AUDIT) is None


@pytest.mark.parametrize("writable", [True, False])
def test_names_are_found_by_prefix_in_pages(kit, place, opened, writable):
    long = "long " * 100
    log = kit.Log(home=Tier.MEMORY)
    for name in ("b", "a/2", long + "2", "a/10", "ab", "a/", long + "1", "\udc80", "a/1"):
        log.begin(name)
    catalog = opened(log.open(place, writable=writable))
    log.feed(catalog)

    def named(prefix: str) -> list[str]:
        found = []
        while page := catalog.named(prefix, tier=Tier.MEMORY, after=found[-1] if found else None, limit=2):
            assert len(page) <= 2
            found += page
        return [each.id for each in found]

    assert named("a/") == ["a/", "a/1", "a/10", "a/2"]
    assert named("a/1") == ["a/1", "a/10"]
    assert named("c") == []
    assert named(long) == [long + "2", long + "1"]  # beyond their first bytes in the order in which they came
    assert named(long + "1") == [long + "1"]
    assert named("\udc80") == ["\udc80"]
    assert len(named("")) == 9
    with pytest.raises(InvalidArgument, match="not looked for by prefix"):
        catalog.named("a", tier=Tier.SESSION)
