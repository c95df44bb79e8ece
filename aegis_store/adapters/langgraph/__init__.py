"""LangGraph on a store: a checkpointer whose checkpoints are signed, durable when `put` returns, and stored as what changed.

    from aegis_store.adapters.langgraph import AegisSaver

    with AegisSaver.from_path("state") as saver:
        graph = builder.compile(checkpointer=saver)

What of LangGraph becomes what in a store: docs/decisions/0017-langgraph-saver.md. NotInstalled: LangGraph is not here.
"""

from __future__ import annotations

from importlib.util import find_spec

from aegis_store.errors import NotInstalled

if find_spec("langgraph") is None or find_spec("langgraph.checkpoint") is None:
    raise NotInstalled(
        "LangGraph is not installed, and its saver is a subclass of one of its classes",
        op="import",
        hint="pip install 'aegis-store[langgraph]'",
    )

from aegis_store.adapters.langgraph.saver import AegisSaver

__all__ = ["AegisSaver"]
