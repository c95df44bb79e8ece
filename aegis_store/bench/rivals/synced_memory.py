"""InMemorySaver with a sync at each call: what no saver that is durable call by call can stay under.

It keeps nothing that could be read again: RECORD_BYTES of nothing are written to a pre-zeroed file and synced, and with `signs`
something is signed before. What our own record of a call takes is more than that, so where this one misses a figure, ours does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from aegis_store.bench.rivals.absent import demand
from aegis_store.trust.signer import FileSigner

SYNCED: Final = "InMemorySaver, synced"
SIGNED: Final = "InMemorySaver, synced and signed"
#: About what a record of the 200-turn graph takes.
RECORD_BYTES: Final = 600
RECORDS_MAX: Final = 8192
#: What an entry's signature is over.
MESSAGE_BYTES: Final = 157


@contextmanager
def synced_memory(path: Path, *, signs: bool) -> Iterator[Any]:
    """The saver, with its file at `path`. NotHere without LangGraph."""
    memory = demand("langgraph.checkpoint.memory", SYNCED, "langgraph").InMemorySaver
    signer = FileSigner("floor", bytes(32)) if signs else None
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    places = iter(range(RECORDS_MAX))

    def sync() -> None:
        if signer is not None:
            signer.sign(bytes(MESSAGE_BYTES))
        os.pwrite(descriptor, b"x" * RECORD_BYTES, next(places) * RECORD_BYTES)
        os.fdatasync(descriptor)

    class SyncedMemory(memory):  # type: ignore[misc, valid-type]
        def put(self, *arguments: Any, **options: Any) -> Any:
            config = super().put(*arguments, **options)
            sync()
            return config

        def put_writes(self, *arguments: Any, **options: Any) -> None:
            super().put_writes(*arguments, **options)
            sync()

    try:
        os.pwrite(descriptor, bytes(RECORDS_MAX * RECORD_BYTES), 0)
        os.fsync(descriptor)
        yield SyncedMemory()
    finally:
        os.close(descriptor)
