"""A process to be killed: a saver puts checkpoints and what tasks wrote, and says so when each call has returned.

killed.py PLACE RUN        prints "put ID STEP" or "writes ID STEP" a line
"""

from __future__ import annotations

import os
import sys
from itertools import count

from aegis_store import Config
from aegis_store.adapters.langgraph import AegisSaver
from tests.adapters.langgraph.made_up import checkpoint, config


def value_of(step: int) -> str:
    return f"step {step} " * (step % 50)


def main(place: str, run: str) -> None:
    with AegisSaver.from_path(place, config=Config(segment_bytes=64 << 10)) as saver:
        before = config(run)
        for step in count():
            made = checkpoint({"value": value_of(step)}, version=str(step))
            early = config(run, made["id"])
            if step % 3 == 0:  # before its checkpoint
                saver.put_writes(early, [("value", value_of(step))], "task", "~path")
                os.write(1, f"writes {made['id']} {step}\n".encode())
            before = saver.put(before, made, {"step": step}, {"value": str(step)})
            os.write(1, f"put {made['id']} {step}\n".encode())
            if step % 3 != 0:
                saver.put_writes(before, [("value", value_of(step))], "task", "~path")
                os.write(1, f"writes {made['id']} {step}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
