"""The agent as a process: started, listened to, and killed when it doesn't expect it."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from aegis_store.cli.demo.agent import Acknowledged, Event, Finished, Job, Resumed
from aegis_store.cli.demo.checks import BrokenPromise
from aegis_store.cli.figures import quantile
from aegis_store.errors import AegisError
from aegis_store.types import Randomness

_MODULE: Final = "aegis_store.cli.demo.agent"
#: An agent that says nothing for so long hangs.
SILENCE_SECONDS: Final = 60
#: The kill comes at a random moment up to so many checkpoints (in time) after an acknowledgement.
_DELAY_CHECKPOINTS: Final = 2.0


class AgentFailed(AegisError):
    """The agent ended by itself, and not because its work was done."""


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """When to kill: a little after an acknowledgement, once so much time has passed, or so many steps."""

    seconds: float
    steps: int


#: Is told of each acknowledgement.
Watcher: TypeAlias = Callable[[Acknowledged], object]


class Life(msgspec.Struct, kw_only=True):
    """One run of the agent. What came through the pipe counts as acknowledged.

    If it was killed, then `killed_after_us` µs after the acknowledgement `heard`; both are None if it ended by itself.
    """

    resumed: Resumed | None = None
    acknowledged: list[Acknowledged] = msgspec.field(default_factory=list)
    finished: Finished | None = None
    heard: Acknowledged | None = None
    killed_after_us: float | None = None


def live(job: Job, *, kill: Kill | None, log: Path, randomness: Randomness, watch: Watcher | None = None) -> Life:
    """Run the agent to its end. AgentFailed with its last words if that is neither a kill nor the end of its work."""
    life = Life()
    with _started(job, log) as process:
        assert process.stdout is not None
        begin: float | None = None
        events = _events(process.stdout.fileno(), log)
        for event in events:
            now = time.perf_counter()
            begin = now if begin is None else begin
            _hear(life, event, watch)
            if kill is None or not isinstance(event, Acknowledged):
                continue
            if now - begin >= kill.seconds or len(life.acknowledged) >= kill.steps:
                _wait_a_little(life, randomness)
                process.kill()
                life.heard, life.killed_after_us = event, (time.perf_counter() - now) * 1e6
                break
        for event in events:
            _hear(life, event, watch)
        code = process.wait()
    if life.finished is not None:
        life.heard = life.killed_after_us = None
    elif life.killed_after_us is None:
        what = f"the agent ended before its work did (exit code {code})"
        if code == 1:  # it found damage, or an error that should not be there
            raise BrokenPromise(f"{what}: {_last_words(log)}")
        raise AgentFailed(what, op="demo", hint=_last_words(log))
    return life


def _hear(life: Life, event: Event, watch: Watcher | None) -> None:
    match event:
        case Resumed():
            life.resumed = event
        case Acknowledged():
            life.acknowledged.append(event)
            if watch is not None:
                watch(event)
        case Finished():
            life.finished = event


def _wait_a_little(life: Life, randomness: Randomness) -> None:
    """Not aligned with a step: anywhere within the next two, as long as they took until now."""
    usual_us = quantile((event.took_us for event in life.acknowledged), 0.5)
    part = int.from_bytes(randomness.draw(4), "little") / 2**32
    time.sleep(part * _DELAY_CHECKPOINTS * usual_us / 1e6)


@contextmanager
def _started(job: Job, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The agent's process, which does not outlive this."""
    # The child finds modules where this process does, and not in whatever directory it happens to run.
    places = [os.path.abspath(place) for place in sys.path if place]
    with open(log, "wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
            start_new_session=True,  # Ctrl-C is for the demo, which then ends the agent
        )
    with process:
        try:
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # an agent that does not even start says why on stderr
                process.stdin.write(msgspec.json.encode(job))
                process.stdin.close()
            yield process
        finally:
            process.kill()


def _events(pipe: int, log: Path) -> Iterator[Event]:
    """What the agent tells, until its end of the pipe is closed."""
    decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
    rest = b""
    while True:
        if not select.select([pipe], [], [], SILENCE_SECONDS)[0]:
            raise AgentFailed(f"the agent has said nothing for {SILENCE_SECONDS} s", op="demo", hint=_last_words(log))
        piece = os.read(pipe, 1 << 16)
        if not piece:
            return
        *lines, rest = (rest + piece).split(b"\n")
        for each in lines:
            yield decoder.decode(each)


def _last_words(log: Path) -> str | None:
    """The end of what the agent wrote to stderr."""
    text = log.read_text(errors="replace").strip()
    return "\n".join(text.splitlines()[-5:]) or None
