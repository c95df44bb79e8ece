"""Which session a thread is in: one for each of its namespaces.

    thread "ticket-7", namespace ""                 langgraph/ticket-7/
    thread "a/b", namespace "child:1f0c…"           langgraph/a%2Fb/child:1f0c…

The thread's own `%` and `/` are escaped, so the second slash is where it ends, and no two pairs have one session.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

PREFIX: Final = "langgraph/"
#: Lines whose session is not made out again.
KNOWN_LINES: Final = 4096


class Line(NamedTuple):
    """A thread in one namespace; that of the graph itself is ""."""

    thread: str
    namespace: str


@lru_cache(KNOWN_LINES)
def session_id(line: Line) -> str:
    """The session that holds a thread's checkpoints of a namespace."""
    return f"{thread_prefix(line.thread)}{line.namespace}"


def thread_prefix(thread: str) -> str:
    """What the sessions of a thread have in common."""
    return f"{PREFIX}{thread.replace('%', '%25').replace('/', '%2F')}/"


def line_of(session: str) -> Line | None:
    """Which line a session holds; None: none, it was not made by this adapter."""
    if not session.startswith(PREFIX):
        return None
    thread, slash, namespace = session[len(PREFIX) :].partition("/")
    return Line(thread.replace("%2F", "/").replace("%25", "%"), namespace) if slash else None
