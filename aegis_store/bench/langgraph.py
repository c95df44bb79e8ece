"""LangGraph on a store, beside SqliteSaver and InMemorySaver: a compiled graph over 200 turns, and each call of a saver.

The graph has one node and an append reducer; a turn adds two messages of 1,000 random hexadecimal characters. The runtime's own
default durability is what it is run with, and every commit of ours is synced. A graph's time is that of all its turns; a case's
is that of one call. Each side takes its turn in each round, in one process.

How near InMemorySaver's time a graph can come whose every call is synced, and signed, is measured as well: by InMemorySaver
itself, which is made to do so and nothing else.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, TypedDict

import aegis_store
from aegis_store.bench.measure import Figure, Sample, Samples, Side, Wanted, Work, field_figure, figure, interleave, run_each
from aegis_store.bench.results import Outcome
from aegis_store.bench.rivals import saver
from aegis_store.bench.rivals.absent import Missing, demand, noted
from aegis_store.bench.rivals.synced_memory import SIGNED, SYNCED, synced_memory
from aegis_store.bench.workload import DURABLE, Run, Workload
from aegis_store.stats import disk_bytes

OURS, SQLITE, IN_MEMORY = "aegis", saver.SQLITE, saver.IN_MEMORY
PACKAGE: Final = "langgraph"
TURNS, TURNS_QUICK = 200, 6
MESSAGE_BYTES: Final = 500
#: Most of InMemorySaver's time, and of a megabyte on the disk, before the store is closed and after.
TIME_WANTED: Final = Wanted(most=1.2)
BYTES_WANTED: Final = Wanted(most=1.5e6)
#: Most of SqliteSaver's time, in every case.
CASE_WANTED: Final = Wanted(most=1.0)
SIZES: Final = {"1 kB": 1_000, "30 kB": 30_000, "1 MB": 1_000_000}
#: Calls of a round, by size.
CALLS: Final = {"1 kB": 60, "30 kB": 40, "1 MB": 8}
CALLS_QUICK: Final = 3
THREADS: Final = 20
CALLS_OF_THREADS: Final = {"1 kB": 10, "30 kB": 6, "1 MB": 1}
LISTED: Final = 10

#: A saver, opened in a folder of its own.
Opened = Callable[[ExitStack, Path], Any]


def run(how: Run) -> Outcome:
    missing: list[Missing] = []
    figures: list[Figure] = []
    samples: dict[str, Samples] = {}
    plain: dict[str, Any] = {"durability of aegis": f"{DURABLE}: one sync a call, or for all that wait"}
    with noted(missing):
        demand("langgraph.graph", OURS, PACKAGE)
        savers = _savers(missing)
        plain |= {"calls that are timed": "by the round's median"}
        figures += _graph(how, savers, samples, plain)
        figures += _cases(how, savers, samples)
    return Outcome(figures=figures, samples=samples, plain=plain, missing=list({each.name: each for each in missing}.values()))


def _savers(missing: list[Missing]) -> dict[str, Opened]:
    from aegis_store.adapters.langgraph import AegisSaver

    def ours(stack: ExitStack, place: Path) -> Any:
        return AegisSaver(stack.enter_context(aegis_store.open(place / "store")))

    def sqlite(stack: ExitStack, place: Path) -> Any:
        made = demand("langgraph.checkpoint.sqlite", SQLITE, saver.PACKAGE).SqliteSaver
        return stack.enter_context(made.from_conn_string(str(place / "saver.sqlite")))

    def in_memory(stack: ExitStack, place: Path) -> Any:
        return demand("langgraph.checkpoint.memory", IN_MEMORY, PACKAGE).InMemorySaver()

    def synced(signs: bool) -> Opened:
        return lambda stack, place: stack.enter_context(synced_memory(place / "synced", signs=signs))

    found: dict[str, Opened] = {OURS: ours, IN_MEMORY: in_memory, SYNCED: synced(False), SIGNED: synced(True)}
    with noted(missing):
        demand("langgraph.checkpoint.sqlite", SQLITE, saver.PACKAGE)
        found[SQLITE] = sqlite
    return found


# ---- the graph --------------------------------------------------------------------------------------------------------------


class _State(TypedDict):
    messages: Annotated[list[str], operator.add]


def _graph(how: Run, savers: dict[str, Opened], samples: dict[str, Samples], plain: dict[str, Any]) -> list[Figure]:
    turns = TURNS_QUICK if how.quick else TURNS
    disk: dict[str, list[float]] = {}
    sides = [Side(name=name, run=_turns(how.place, name, opened, turns, disk)) for name, opened in savers.items()]
    found = interleave(sides, how.rounds, how.progress)
    samples[f"{turns} turns"] = found
    title = f"{turns} turns: time"
    figures = [
        field_figure(title, found, OURS, IN_MEMORY, "seconds", f"{DURABLE}; the peer: none", unit="s", wanted=TIME_WANTED),
        field_figure(f"{turns} turns: CPU", found, OURS, IN_MEMORY, "cpu_us", f"{DURABLE}; the peer: none", note="a turn"),
    ]
    for floor in (SYNCED, SIGNED):
        note = "the least that can be had of a saver that syncs each call"
        figures.append(
            field_figure(title, found, floor, IN_MEMORY, "seconds", "a sync a call; the peer: none", unit="s", note=note)
        )
    figures.append(field_figure(title, found, OURS, SIGNED, "seconds", f"{DURABLE}; the peer: a sync a call", unit="s"))
    if SQLITE in found:
        figures.append(field_figure(title, found, OURS, SQLITE, "seconds", DURABLE, unit="s", wanted=CASE_WANTED))
    for when, wanted in (("open", BYTES_WANTED), ("closed", BYTES_WANTED)):
        figures.append(
            figure(
                f"{turns} turns: bytes on disk", ours=OURS, ours_values=disk[f"{OURS}, {when}"], unit="B", comparison="alone",
                durability=DURABLE, wanted=wanted, note=f"the whole directory, {when}",
            )
        )  # fmt: skip
    return figures + [
        figure(
            f"{turns} turns: bytes on disk", ours=OURS, peer=SQLITE, ours_values=disk[f"{OURS}, closed"],
            peer_values=disk[f"{SQLITE}, closed"], unit="B", comparison="ratio", durability=DURABLE, note="closed",
        )
        for _ in range(SQLITE in found)
    ]  # fmt: skip


def _turns(place: Path, name: str, opened: Opened, turns: int, disk: dict[str, list[float]]) -> Callable[[], Sample]:
    rounds = iter(range(-1, 1 << 30))

    def run() -> Sample:
        number, source = next(rounds), random.Random(1)
        folder = place / f"{name} {number}"
        folder.mkdir()
        with ExitStack() as stack:
            app, config = _compiled(opened(stack, folder), source), _config("thread")

            def turn() -> None:
                app.invoke({"messages": [source.randbytes(MESSAGE_BYTES).hex()]}, config)

            sample = run_each(turn for _ in range(turns))
            if len(app.get_state(config).values["messages"]) != 2 * turns:
                raise RuntimeError(f"{name} lost a message")
            if number >= 0:
                disk.setdefault(f"{name}, open", []).append(disk_bytes(folder))
        if number >= 0:
            disk.setdefault(f"{name}, closed", []).append(disk_bytes(folder))
        return sample

    return run


def _compiled(checkpointer: Any, source: random.Random) -> Any:
    langgraph = demand("langgraph.graph", OURS, PACKAGE)
    graph = langgraph.StateGraph(_State)
    graph.add_node("answer", lambda state: {"messages": [source.randbytes(MESSAGE_BYTES).hex()]})
    graph.add_edge(langgraph.START, "answer")
    graph.add_edge("answer", langgraph.END)
    return graph.compile(checkpointer=checkpointer)


# ---- call by call -----------------------------------------------------------------------------------------------------------


def _cases(how: Run, savers: dict[str, Opened], samples: dict[str, Samples]) -> list[Figure]:
    figures: list[Figure] = []
    for title, size in SIZES.items():
        with ExitStack() as stack:
            sides: dict[str, _Calls] = {}
            for name in (OURS, SQLITE):
                if name in savers:
                    folder = how.place / f"{title} {name}".replace(" ", "-")
                    folder.mkdir()
                    sides[name] = _Calls(savers[name](stack, folder), size, CALLS_QUICK if how.quick else CALLS[title])
            for case in _Calls.CASES:
                runs = [Side(name=name, run=partial(each.run, case)) for name, each in sides.items()]
                how.say(f"{title}: {case}")
                found = interleave(runs, how.rounds)
                samples[f"{case}, {title}"] = found
                if SQLITE in found:
                    figures.append(
                        field_figure(f"{case}, {title}", found, OURS, SQLITE, "median_us", DURABLE, wanted=CASE_WANTED)
                    )
            many = CALLS_QUICK if how.quick else CALLS_OF_THREADS[title]
            runs = [Side(name=name, run=partial(each.at_once, many)) for name, each in sides.items()]
            found = interleave(runs, how.rounds, how.progress)
            samples[f"{THREADS} threads, {title}"] = found
            if SQLITE in found:
                figures.append(
                    field_figure(
                        f"{THREADS} threads, {title}", found, OURS, SQLITE, "seconds", DURABLE, unit="s", wanted=CASE_WANTED,
                        note="put, put_writes and get_tuple",
                    )
                )  # fmt: skip
    return figures


class _Calls:
    """A saver with a thread whose state has some `size` bytes and changes a little from step to step."""

    CASES: Final = ("put", "put_writes", "get_tuple", "get_tuple by id", "list 10", "list 10 by metadata")

    def __init__(self, saver: Any, size: int, calls: int) -> None:
        self._saver = saver
        self._size = size
        self._calls = calls
        self._empty: Any = demand("langgraph.checkpoint.base", OURS, PACKAGE).empty_checkpoint
        self._threads = iter(range(1 << 30))
        self._line = _Line(self, "line")
        for _ in range(3 * LISTED):
            self._line.put()
            self._line.put_writes()

    def run(self, case: str) -> Sample:
        return run_each(self._work(case) for _ in range(self._calls))

    def _work(self, case: str) -> Work:
        saver, line = self._saver, self._line
        match case:
            case "put":
                return line.put
            case "put_writes":
                return line.put_writes_to_older
            case "get_tuple":
                return partial(saver.get_tuple, _config(line.thread))
            case "get_tuple by id":
                return partial(saver.get_tuple, line.made[-LISTED])
            case "list 10":
                return lambda: list(saver.list(_config(line.thread), limit=LISTED))
            case _:
                return lambda: list(saver.list(_config(line.thread), filter={"source": "loop", "even": True}, limit=LISTED))

    def at_once(self, calls: int) -> Sample:
        """What THREADS do at once, each on a thread of its own: a put, writes, and a look at the newest."""

        def work(thread: str) -> None:
            line = _Line(self, thread)
            for _ in range(calls):
                line.put()
                line.put_writes()
                self._saver.get_tuple(_config(thread))

        names = [f"at once {next(self._threads)}" for _ in range(THREADS)]

        def all_of_them() -> None:
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(work, names))

        return run_each(iter([all_of_them]))

    def checkpoint(self, step: int, values: dict[str, Any], version: str) -> Any:
        made = self._empty()
        made["channel_values"] = values
        made["channel_versions"] = dict.fromkeys(values, version)
        return made

    @property
    def saver(self) -> Any:
        return self._saver

    def states(self) -> Iterator[dict[str, Any]]:
        """A text that grows by a line a step, as long at the start as is asked for."""
        source = random.Random(self._size)
        lines = [source.randbytes(40).hex() for _ in range(max(1, self._size // 80))]
        while True:
            yield {"messages": list(lines), "position": len(lines)}
            lines.append(source.randbytes(40).hex())


class _Line:
    """A thread of a saver, put by put."""

    def __init__(self, calls: _Calls, thread: str) -> None:
        self.thread = thread
        self.made: list[Any] = []
        self._calls = calls
        self._states = calls.states()
        self._step = self._written = 0

    def put(self) -> None:
        self._step += 1
        version = f"{self._step:032}.0"
        checkpoint = self._calls.checkpoint(self._step, next(self._states), version)
        about = {"source": "loop", "step": self._step, "parents": {}, "even": self._step % 2 == 0}
        before = self.made[-1] if self.made else _config(self.thread)
        self.made.append(self._calls.saver.put(before, checkpoint, about, dict(checkpoint["channel_versions"])))

    def put_writes(self) -> None:
        self._write(self.made[-1])

    def put_writes_to_older(self) -> None:
        """To one of those that are not listed, and of which none gets many: what is asked for later stays as it is."""
        self._write(self.made[-LISTED - 1 - self._written % (2 * LISTED - 1)])

    def _write(self, config: Any) -> None:
        # Of a task of its own: what a task has written before is not written again.
        self._written += 1
        writes = [("messages", ["a line that was written"]), ("position", 7)]
        self._calls.saver.put_writes(config, writes, f"task {self._written}")


def _config(thread: str) -> dict[str, dict[str, str]]:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


WORKLOAD: Final = Workload(name="langgraph", promise="a compiled graph of 200 turns, and each call of a saver", run=run)
