"""A process comes back: a store of a million small records is opened, and sessions are found in it.

Opened warm (files in the page cache) after a clean close; cold (their pages given back first); and after kill -9 of a writer,
when the catalogue is not vouched for. Then, warm: the newest checkpoint of a random session, a state of 4 KiB, every check
made; and a random old checkpoint.

The store is built with durability `write`, which leaves the syncs out and nothing else, and is opened and read as any other.
The peers' rows are written in bulk, in the form that SqliteSaver's own `put` gives them.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import cycle
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import ormsgpack

import aegis_store
from aegis_store.bench.measure import Figure, Sample, Samples, Side, Wanted, figure, interleave, run_each, run_for
from aegis_store.bench.results import Outcome
from aegis_store.bench.rivals import saver
from aegis_store.bench.rivals.absent import Missing, noted
from aegis_store.bench.rivals.saver import Saver
from aegis_store.bench.states import conversations
from aegis_store.bench.workload import Run, Workload
from aegis_store.stats import disk_bytes

RECORDS: Final = 1_000_000
RECORDS_QUICK: Final = 5_000
PER_SESSION: Final = 100
KILLS: Final = 3
#: What a session's last state is taken from.
STATES: Final = 64
KILLED_WITHIN_SECONDS: Final = 120.0

WARM_WANTED: Final = Wanted(most=50)
KILLED_WANTED: Final = Wanted(most=2000)
HEALTH_WANTED: Final = Wanted(most=100)
HEALTH_NOTE: Final = "opened for reading and looked at, page cache warm; the start of Python aside"
LATEST_WANTED: Final = Wanted(most=250)
OURS, SQLITE, PLAIN = "aegis", saver.SQLITE, "plain SQLite, nothing checked"
WRITE: Final = aegis_store.Config(durability=aegis_store.TierDurability(session=aegis_store.Durability.WRITE))
READS: Final = "reads only"


def run(how: Run) -> Outcome:
    records = how.records or (RECORDS_QUICK if how.quick else RECORDS)
    shape = _Shape(records)
    place = how.place / "store"
    began = perf_counter()
    _build(place, shape, how.say)
    plain: dict[str, Any] = {
        "records": records,
        "sessions": shape.sessions,
        "built": f"in {perf_counter() - began:.0f} s, durability write (no syncs); opened and read as any store",
        "bytes on disk": disk_bytes(place),
    }
    missing: list[Missing] = []
    peers = {PLAIN: how.place / "plain.sqlite", SQLITE: how.place / "saver.sqlite"}
    how.say("filling the peers")
    _fill_plain(peers[PLAIN], shape)
    with noted(missing), Saver.sqlite(peers[SQLITE]) as theirs:
        theirs.fill(shape.rows())
    if missing:
        del peers[SQLITE]
    figures = _open_figures(how, place, peers)
    samples = _lookups(how, place, peers, shape)
    figures += _lookup_figures(samples)
    return Outcome(figures=figures, samples=samples, plain=plain, missing=missing)


# ---- what is in it ----------------------------------------------------------------------------------------------------------


class _Shape:
    """So many records: sessions in turn, small states first, one of 4 KiB last."""

    def __init__(self, records: int) -> None:
        self.sessions: Final = max(1, records // PER_SESSION)
        self.steps: Final = max(2, records // self.sessions)
        self.large: Final = conversations(STATES)

    def name(self, session: int) -> str:
        return f"session-{session:06}"

    def state(self, session: int, step: int) -> dict[str, Any]:
        if step == self.steps - 1:
            return self.large[session % STATES]
        return {"messages": [{"role": "user", "content": f"step {step} of session {session}"}], "position": step}

    def rows(self) -> Iterator[tuple[str, str, str | None, dict[str, Any]]]:
        """(session, id, parent's id, state), in the order in which they were saved."""
        for step in range(self.steps):
            parent = None if step == 0 else checkpoint_id(step - 1)
            for session in range(self.sessions):
                yield self.name(session), checkpoint_id(step), parent, self.state(session, step)


def checkpoint_id(step: int) -> str:
    """Ids that sort as the steps do."""
    return f"{step:032}"


def _build(place: Path, shape: _Shape, say: Callable[[str], None]) -> None:
    with aegis_store.open(place, config=WRITE) as store:
        sessions = [store.session(shape.name(number)) for number in range(shape.sessions)]
        for step in range(shape.steps):
            say(f"building a store: {step * shape.sessions:,} of {shape.steps * shape.sessions:,} records")
            for number, session in enumerate(sessions):
                session.checkpoint(shape.state(number, step), position=step)


def _fill_plain(path: Path, shape: _Shape) -> None:
    with closing(_connect(path)) as connection:
        connection.execute(
            "CREATE TABLE checkpoint (session TEXT, id TEXT, state BLOB, PRIMARY KEY (session, id)) WITHOUT ROWID"
        )
        rows = ((session, each, ormsgpack.packb(state)) for session, each, _, state in shape.rows())
        with connection:
            connection.executemany("INSERT INTO checkpoint VALUES (?, ?, ?)", rows)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    return connection


# ---- opening ----------------------------------------------------------------------------------------------------------------


def _open_figures(how: Run, place: Path, peers: dict[str, Path]) -> list[Figure]:
    rounds = how.rounds
    ours: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in peers}
    for number in range(-1, rounds):
        how.say(f"opening, warm: {max(0, number + 1)} of {rounds}")
        mine = _open_ms(place)
        others = {name: _open_peer_ms(path, name) for name, path in peers.items()}
        if number >= 0:
            ours.append(mine)
            for name, value in others.items():
                theirs[name].append(value)
    figures = [_alone("open, warm, after a clean close", ours, WARM_WANTED, "page cache warm")]
    figures += [
        figure(
            "open, warm, after a clean close", ours=OURS, peer=name, ours_values=ours, peer_values=values, unit="ms",
            comparison="over", durability=READS, note="the peer checks nothing",
        )
        for name, values in theirs.items()
    ]  # fmt: skip
    cold = []
    for number in range(min(rounds, 5)):
        how.say(f"opening, cold: {number + 1}")
        _forget_pages(place)
        cold.append(_open_ms(place))
    figures.append(_alone("open, cold, after a clean close", cold, Wanted(), "its files' pages given back first"))
    figures.append(
        _alone("health, after a clean close", [_health_ms(place) for _ in range(rounds)], HEALTH_WANTED, HEALTH_NOTE)
    )
    killed, looked = [], []
    for number in range(min(rounds, KILLS)):
        how.say(f"opening after kill -9: {number + 1}")
        kill_a_writer(place)
        looked.append(_health_ms(place))
        killed.append(_open_ms(place))
    figures.append(_alone("health, after kill -9", looked, HEALTH_WANTED, HEALTH_NOTE))
    figures.append(_alone("open after kill -9", killed, KILLED_WANTED, "page cache warm; the catalogue is built again"))
    return figures


def _alone(title: str, values: Sequence[float], wanted: Wanted, note: str, unit: str = "ms") -> Figure:
    return figure(
        title, ours=OURS, ours_values=values, unit=unit, comparison="alone", durability=READS, wanted=wanted, note=note
    )


def _open_ms(place: Path) -> float:
    began = perf_counter()
    store = aegis_store.open(place)
    taken = perf_counter() - began
    store.close()
    return taken * 1e3


def _health_ms(place: Path) -> float:
    """What `aegis health` does, once the interpreter runs."""
    began = perf_counter()
    with aegis_store.open(place, mode="r") as store:
        store.health()
        return (perf_counter() - began) * 1e3


def _open_peer_ms(path: Path, name: str) -> float:
    """Opened for writing and asked for one row: SQLite reads nothing before."""
    table = "checkpoints" if name == SQLITE else "checkpoint"
    began = perf_counter()
    with closing(_connect(path)) as connection:
        connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()
        return (perf_counter() - began) * 1e3


def _forget_pages(place: Path) -> None:
    """Asks the kernel to drop the files' pages, which it can once they are on the disk."""
    for path in place.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            try:
                os.fsync(file)
                if hasattr(os, "posix_fadvise"):
                    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(file)


def _take_pages(place: Path) -> None:
    """Reads every file once, so that what follows finds it in memory, as a store that is in use."""
    for path in place.rglob("*"):
        if path.is_file():
            path.read_bytes()


def kill_a_writer(place: Path) -> None:
    """SIGKILL to a process that has saved a checkpoint and written its row: the catalogue is not vouched for any more."""
    context = multiprocessing.get_context("spawn")
    mine, childs = context.Pipe(duplex=False)
    child = context.Process(target=_write_and_wait, args=(place, childs), daemon=True)
    child.start()
    childs.close()
    try:
        if not mine.poll(KILLED_WITHIN_SECONDS):
            raise RuntimeError("a process that should write a checkpoint did not")
        mine.recv()
    except EOFError:
        raise RuntimeError(f"the process to be killed ended with {child.exitcode}") from None
    finally:
        child.kill()
        child.join()
        mine.close()


def _write_and_wait(place: Path, out: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which kills this
    store = aegis_store.open(place)
    store.session("killed").checkpoint({"messages": [], "position": 0})
    store.catalog.flush()
    out.send(True)
    threading.Event().wait()  # for the end


# ---- finding ----------------------------------------------------------------------------------------------------------------


def _lookups(how: Run, place: Path, peers: dict[str, Path], shape: _Shape) -> dict[str, Samples]:
    source = random.Random(1)
    any_session = cycle([shape.name(source.randrange(shape.sessions)) for _ in range(4096)])
    any_step = cycle([source.randrange(shape.steps - 1) for _ in range(4099)])
    for path in (place, *peers.values()):
        _take_pages(path if path.is_dir() else path.parent)
    with ExitStack() as stack:
        store = stack.enter_context(aegis_store.open(place))  # as who resumes opens it: to go on
        held = [store.session(shape.name(number)) for number in range(min(shape.sessions, 256))]
        any_held = cycle(held)
        latest = [
            _timed(OURS, how, lambda: store.session(next(any_session)).latest()),
            _timed(_HELD, how, lambda: next(any_held).latest()),
        ]
        old = [_timed(OURS, how, lambda: next(store.session(next(any_session)).history(before=next(any_step) + 1)))]
        plain = stack.enter_context(closing(_connect(peers[PLAIN])))

        def newest() -> object:
            return _unpacked(
                plain, "SELECT state FROM checkpoint WHERE session = ? ORDER BY id DESC LIMIT 1", (next(any_session),)
            )

        def one() -> object:
            where = next(any_session), checkpoint_id(next(any_step))
            return _unpacked(plain, "SELECT state FROM checkpoint WHERE session = ? AND id = ?", where)

        latest.append(_timed(PLAIN, how, newest))
        old.append(_timed(PLAIN, how, one))
        if SQLITE in peers:
            theirs = stack.enter_context(Saver.sqlite(peers[SQLITE]))
            latest.append(_timed(SQLITE, how, lambda: theirs.latest(next(any_session))))
            old.append(_timed(SQLITE, how, lambda: theirs.at(next(any_session), checkpoint_id(next(any_step)))))
        run_each([session.latest for session in held])  # each session's begin is read once, and then believed
        return {
            _LATEST: interleave(latest, how.rounds, how.progress),
            _OLD: interleave(old, how.rounds, how.progress),
        }


_LATEST: Final = "latest of a random session"
_OLD: Final = "a random old checkpoint"
_HELD: Final = "aegis, session held open"


def _unpacked(connection: sqlite3.Connection, query: str, where: tuple[str, ...]) -> object:
    return ormsgpack.unpackb(connection.execute(query, where).fetchone()[0])


def _timed(name: str, how: Run, work: Callable[[], object]) -> Side:
    def run_round() -> Sample:
        return run_for(work, how.seconds)

    return Side(name=name, run=run_round)


def _lookup_figures(samples: dict[str, Samples]) -> list[Figure]:
    figures = []
    for title, found in samples.items():
        for ours in (OURS, _HELD):
            if ours not in found:
                continue
            medians = [sample.median_us for sample in found[ours]]
            wanted = LATEST_WANTED if title == _LATEST else Wanted()
            note = "warm, every check made" + ("; its begin too, the first time" if ours == OURS else "")
            alone = _alone(title, medians, wanted, note, "µs")
            figures.append(alone if ours == OURS else _renamed(title, medians, wanted, note))
        for peer in (SQLITE, PLAIN):
            if peer in found:
                figures.append(
                    figure(
                        title, ours=OURS, peer=peer, unit="µs", comparison="ratio", durability=READS,
                        ours_values=[sample.median_us for sample in found[OURS]],
                        peer_values=[sample.median_us for sample in found[peer]],
                    )
                )  # fmt: skip
    return figures


def _renamed(title: str, values: Sequence[float], wanted: Wanted, note: str) -> Figure:
    return figure(
        title, ours=_HELD, ours_values=values, unit="µs", comparison="alone", durability=READS, wanted=wanted, note=note
    )


WORKLOAD: Final = Workload(name="resume", promise="a large store is opened, and sessions are found in it", run=run)
