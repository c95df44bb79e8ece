"""Bytes on disk over the turns of one conversation, as a picture: ours and those of LangGraph's SqliteSaver.

A graph of one node, two messages of 1,000 characters a turn. SqliteSaver writes the whole state with each checkpoint, so that
its file grows with the square of the turns; a store keeps what changed. Everything is counted that the two have on disk, with
SQLite's log written back before, and the store as it is while it is open.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from contextlib import ExitStack
from hashlib import shake_128
from pathlib import Path
from typing import Annotated, Any, Final, TypedDict
from xml.sax.saxutils import escape

import msgspec

from aegis_store.bench.picture import STYLE
from aegis_store.bench.rivals.absent import demand

OURS, PEER = "aegis-store", "SqliteSaver"
MESSAGE_BYTES: Final = 1000
WIDTH, HEIGHT = 960, 420
LEFT, RIGHT, TOP, BOTTOM = 90, 180, 92, 64
_STEPS: Final = (1, 2, 5)
_COLOURS: Final = (
    ".ours { stroke: #1a7f5a; fill: none; stroke-width: 3; } .peer { stroke: #b35900; fill: none; stroke-width: 3; }"
)


class Series(msgspec.Struct, frozen=True):
    """Bytes on disk after each of `Growth.turns`."""

    name: str
    bytes: list[int]


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """The same conversation on each side. `content_bytes`: of all messages together, at the end."""

    turns: list[int]
    content_bytes: int
    series: list[Series]


class _State(TypedDict):
    messages: Annotated[list[str], operator.add]


def measured(folder: Path, *, turns: int = 200, every: int = 10) -> Growth:
    """Let the conversation go on in both, turn by turn, and look at what they take. NotHere: a package is missing."""
    graphs, sqlite = (
        demand("langgraph.graph", "LangGraph", "langgraph"),
        demand("langgraph.checkpoint.sqlite", PEER, "langgraph-checkpoint-sqlite"),
    )
    from aegis_store.adapters.langgraph import AegisSaver

    at, found = list(range(every, turns + 1, every)), {OURS: list[int](), PEER: list[int]()}
    with ExitStack() as held:
        peer = held.enter_context(sqlite.SqliteSaver.from_conn_string(str(folder / "saver.db")))
        ours = held.enter_context(AegisSaver.from_path(str(folder / "state")))
        apps = [_compiled(graphs, each) for each in (ours, peer)]
        for turn in range(1, turns + 1):
            for app in apps:
                app.invoke({"messages": [_message(2 * turn)]}, {"configurable": {"thread_id": "conversation"}})
            if turn % every == 0:
                peer.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                found[OURS].append(_bytes_of(folder / "state"))
                found[PEER].append(os.stat(folder / "saver.db").st_blocks * 512)
    series = [Series(name, numbers) for name, numbers in found.items()]
    return Growth(turns=at, content_bytes=2 * turns * MESSAGE_BYTES, series=series)


def _compiled(graphs: Any, saver: Any) -> Any:
    graph = graphs.StateGraph(_State)
    graph.add_node("answer", lambda state: {"messages": [_message(len(state["messages"]) + 2)]})
    graph.add_edge(graphs.START, "answer")
    return graph.compile(checkpointer=saver)


def _message(number: int) -> str:
    """Characters that nothing else has, the same on each side and machine."""
    return shake_128(str(number).encode()).hexdigest(MESSAGE_BYTES // 2)


def _bytes_of(path: Path) -> int:
    return sum(os.lstat(os.path.join(folder, name)).st_blocks * 512 for folder, _, names in os.walk(path) for name in names)


# ---- the picture ----------------------------------------------------------------------------------------------------------


def draw(growth: Growth) -> str:
    """The picture: a line for each side, with what it takes at the end."""
    most_bytes, most_turns = max(max(each.bytes) for each in growth.series), growth.turns[-1]
    step = _step(most_bytes)
    top = step * -(-most_bytes // step)

    def place(turn: float, size: float) -> tuple[float, float]:
        x = LEFT + turn / most_turns * (WIDTH - LEFT - RIGHT)
        return round(x, 1), round(HEIGHT - BOTTOM - size / top * (HEIGHT - TOP - BOTTOM), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img"'
        ' aria-labelledby="title">',
        '<title id="title">Bytes on disk over the turns of one LangGraph conversation</title>',
        f"<style>{STYLE}{_COLOURS}</style>",
        f'<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="8"/>',
        _text(24, 34, "Bytes on disk over the turns of one conversation", "title"),
        _text(24, 58, f"LangGraph, one node, two messages of {MESSAGE_BYTES:,} characters a turn; everything counted", "faint"),
    ]
    for size in range(0, top + 1, step):
        x, y = place(0, size)
        parts.append(f'<line class="grid" x1="{x}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}"/>')
        parts.append(_text(x - 12, y + 5, _size(size), "faint", "end"))
    for turn in range(0, most_turns + 1, _step(most_turns)):
        parts.append(_text(place(turn, 0)[0], HEIGHT - BOTTOM + 22, str(turn), "faint", "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, "turns", "faint", "middle"))
    for each in growth.series:
        kind = "ours" if each.name == OURS else "peer"
        points = [place(0, 0), *map(place, growth.turns, each.bytes)]
        parts.append(f'<polyline class="{kind}" points="{" ".join(f"{x},{y}" for x, y in points)}"/>')
        end = points[-1][1]
        parts.append(_text(WIDTH - RIGHT + 12, end - 2, each.name, ""))
        parts.append(_text(WIDTH - RIGHT + 12, end + 15, _size(each.bytes[-1]), "faint"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _step(most: int) -> int:
    """Between lines of a scale, so that there are four to nine of them."""
    power = 1
    while True:
        for factor in _STEPS:
            if most <= 8 * factor * power:
                return factor * power
        power *= 10


def _size(number: int) -> str:
    return f"{number / 1e6:g} MB" if number % 100_000 == 0 else f"{number / 1e6:.1f} MB"


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def write(growth: Growth, folder: Path, names: Sequence[str] = ("langgraph-growth.json", "langgraph-growth.svg")) -> None:
    """The figures and the picture, side by side."""
    figures, picture = (folder / name for name in names)
    figures.write_bytes(msgspec.json.format(msgspec.json.encode(growth), indent=2) + b"\n")
    picture.write_text(draw(growth), encoding="utf-8")
