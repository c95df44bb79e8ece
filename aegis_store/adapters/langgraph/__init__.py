"""LangGraph on a store: a checkpointer and a long-term memory, whose records are signed, durable when `put` returns, and stored
as what changed.

    from aegis_store.adapters.langgraph import AegisSaver, AegisStore

    with aegis_store.open("state") as store:
        graph = builder.compile(checkpointer=AegisSaver(store), store=AegisStore(store))

What of LangGraph becomes what in a store: docs/decisions/0017-langgraph-saver.md, 0024-langgraph-store.md. NotInstalled:
LangGraph is not here.
"""

from __future__ import annotations

from importlib.util import find_spec

from aegis_store.errors import NotInstalled

if find_spec("langgraph") is None or find_spec("langgraph.checkpoint") is None:
    raise NotInstalled(
        "LangGraph is not installed, and what is here are subclasses of its classes",
        op="import",
        hint="pip install 'aegis-store[langgraph]'",
    )

from aegis_store.adapters.langgraph.saver import AegisSaver
from aegis_store.adapters.langgraph.store import AegisStore

__all__ = ["AegisSaver", "AegisStore"]
