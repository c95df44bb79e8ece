"""Sessions saved step by step: a whole signed checkpoint after every message, beside LangGraph's savers.

CPU time is the process's, user and system, our background threads included; InMemorySaver is the floor of what keeping a
checkpoint costs at all. Every side saves the same sessions in the same round, to one store for all of them, so that bytes on
disk are those of a store in use. States are made before the time is taken, for every side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

import aegis_store
from aegis_store.bench.measure import (
    Comparison,
    Figure,
    Sample,
    Samples,
    Side,
    Wanted,
    Work,
    field_figure,
    figure,
    interleave,
    run_each,
)
from aegis_store.bench.results import Outcome
from aegis_store.bench.rivals import saver
from aegis_store.bench.rivals.absent import Missing, noted
from aegis_store.bench.rivals.saver import Saver
from aegis_store.bench.sessions import Session, families
from aegis_store.bench.workload import DURABLE, Run, Workload
from aegis_store.stats import disk_bytes

#: Most of the saver's CPU time.
CPU_WANTED: Final = Wanted(most=1 / 3)
ROUNDS: Final = 6
ROUNDS_QUICK, SESSIONS_QUICK = 2, 2
OURS, SQLITE, IN_MEMORY = "aegis", saver.SQLITE, saver.IN_MEMORY


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What was found for one family."""

    samples: Samples
    bytes_on_disk: dict[str, int]
    checkpoints: int
    missing: list[Missing]
    modes: dict[str, str]


def run(how: Run) -> Outcome:
    how.say("reading the sessions" if how.sessions else "making sessions up")
    figures: list[Figure] = []
    samples: dict[str, Samples] = {}
    plain: dict[str, Any] = {"sessions": "recorded" if how.sessions else "made up; give recorded ones with --sessions FILE"}
    missing: list[Missing] = []
    for family, sessions in families(how.sessions).items():
        batches = _batches(sessions, how.quick)
        found = _measure(how, how.place / str(len(samples)), family, batches)
        samples[family] = found.samples
        missing += [each for each in found.missing if each not in missing]
        figures += _figures(family, found)
        plain[f"{family}: checkpoints"] = found.checkpoints
        plain |= {f"{family}: bytes a checkpoint, {side}": round(size) for side, size in _bytes_each(found).items()}
        plain |= {f"durability of {side}": mode for side, mode in found.modes.items()}
    return Outcome(figures=figures, samples=samples, plain=plain, missing=missing)


def _batches(sessions: Sequence[Session], quick: bool) -> list[Sequence[Session]]:
    """The sessions of each round: a fair share of them, in order."""
    if quick:
        sessions = sessions[: ROUNDS_QUICK * SESSIONS_QUICK]
    rounds = min(ROUNDS_QUICK if quick else ROUNDS, len(sessions))
    return [sessions[number::rounds] for number in range(rounds)]


def _measure(how: Run, place: Path, family: str, batches: list[Sequence[Session]]) -> Found:
    place.mkdir()
    missing: list[Missing] = []
    modes = {OURS: f"{DURABLE}: one sync a checkpoint"}
    bytes_on_disk: dict[str, int] = {}
    with ExitStack() as stack:
        ours = stack.enter_context(aegis_store.open(place / "store"))
        sides = [_side(OURS, _our_works(ours), batches)]
        sqlite: Saver | None = None
        with noted(missing):
            sqlite = stack.enter_context(Saver.sqlite(place / "saver.sqlite"))
            sides.append(_side(SQLITE, _their_works(sqlite), batches))
            sides.append(_side(IN_MEMORY, _their_works(stack.enter_context(Saver.in_memory())), batches))
            modes[SQLITE] = f"its own setup: {sqlite.synchronous()}, two transactions a checkpoint"
            modes[IN_MEMORY] = "none"
        # The warming round saves the first batch under other names; what it saves counts in bytes like all else.
        samples = interleave(
            sides, len(batches), lambda number, side: how.say(f"{family}: {max(0, number + 1)} of {len(batches)}: {side}")
        )
        if sqlite is not None:
            bytes_on_disk[SQLITE] = sqlite.file_bytes()
    bytes_on_disk[OURS] = disk_bytes(place / "store")
    saved = sum(sample.operations for sample in samples[OURS]) + sum(len(each.messages) for each in batches[0])
    return Found(samples=samples, bytes_on_disk=bytes_on_disk, checkpoints=saved, missing=missing, modes=modes)


#: Works that save a session's states in order, under a name.
Works = Callable[[str, list[dict[str, Any]]], Iterator[Work]]


def _our_works(store: aegis_store.Store) -> Works:
    def works(name: str, states: list[dict[str, Any]]) -> Iterator[Work]:
        checkpoint = store.session(name).checkpoint
        for state in states:
            yield partial(checkpoint, state, position=state["position"])

    return works


def _their_works(theirs: Saver) -> Works:
    return theirs.works


def _side(name: str, works: Works, batches: list[Sequence[Session]]) -> Side:
    turns = iter(range(-1, len(batches)))

    def run() -> Sample:
        turn = next(turns)
        prepared = [(f"{session.session_id}#{turn}", session.states()) for session in batches[max(0, turn)]]
        return run_each(work for session_name, states in prepared for work in works(session_name, states))

    return Side(name=name, run=run)


def _bytes_each(found: Found) -> dict[str, float]:
    return {side: size / found.checkpoints for side, size in found.bytes_on_disk.items()}


def _figures(family: str, found: Found) -> list[Figure]:
    samples, figures = found.samples, []
    for peer in (SQLITE, IN_MEMORY):
        if peer not in samples:
            continue
        durability = DURABLE if peer == SQLITE else f"{DURABLE}; the peer: none"
        wanted = CPU_WANTED if peer == SQLITE else Wanted()
        note = "user and system" if peer == SQLITE else "the floor: nothing is kept"
        comparison: Comparison = "ratio" if peer == SQLITE else "over"
        figures.append(
            field_figure(
                f"{family}: CPU", samples, OURS, peer, "cpu_us", durability, comparison=comparison, wanted=wanted, note=note
            )
        )
    if SQLITE in samples:
        figures.append(field_figure(f"{family}: time", samples, OURS, SQLITE, "median_us", DURABLE, note="median of a round"))
        each = _bytes_each(found)
        figures.append(
            figure(
                f"{family}: bytes on disk", ours=OURS, peer=SQLITE, ours_values=[each[OURS]], peer_values=[each[SQLITE]],
                unit="B", comparison="ratio", durability=DURABLE, note="the whole directory, as written",
            )
        )  # fmt: skip
    return figures


WORKLOAD: Final = Workload(name="checkpoint", promise="agent sessions, a checkpoint after every message", run=run)
