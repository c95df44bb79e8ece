"""`aegis demo`: the store at work, and its promises held against what happens.

The story runs in a directory of its own, which is removed at the end, unless it is to be kept or a promise was broken: then
what is in it is worth a look.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import msgspec
import typer

from aegis_store.cli.outcome import FINDING, guarded
from aegis_store.cli.output import answers, emit, line, problems, shown
from aegis_store.errors import AegisError, InvalidArgument

#: Beside the stores, and removed even where those are kept: the recorded sessions that were chosen, and what the agent said.
CHOSEN = "sessions.jsonl"
LOG = "agent.log"


@guarded
def demo(
    sessions: Annotated[
        Path | None,
        typer.Option("--sessions", metavar="FILE", help="Live through recorded sessions instead: JSON lines, .zst or not."),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Work in DIR, which must be empty, and leave the stores there.")
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, metavar="S", help="How long the agent works, at the most.")
    ] = 6.0,
    as_json: Annotated[bool, typer.Option("--json", help="What came out as JSON.")] = False,
) -> None:
    """Kill an agent in its work, and see what is saved.

    The agent reads the standard library of this Python, a file a step, and saves its state after each. It is killed three
    times, and goes on each time. Then a byte of a copy is changed, to see how the damage is named; and at the end
    stands what it all cost. Exit code 1: the store broke a promise.
    """
    from aegis_store.cli.demo.show import Show
    from aegis_store.cli.demo.story import DAMAGED, STORE, Story, Teller
    from aegis_store.cli.demo.tasks import recorded_plan, stdlib_plan
    from aegis_store.trust.keys import SystemRandomness

    with workplace(keep) as place:
        plan = stdlib_plan() if sessions is None else recorded_plan(sessions, place / CHOSEN)
        with Teller() if as_json else Show(answers(), problems()) as teller:
            story = Story(place, plan, seconds=seconds, randomness=SystemRandomness(), teller=teller)
            outcome = story.tell()
    if as_json:
        kept = None if keep is None else str(keep)
        emit({"ok": True, "kept": kept, **msgspec.to_builtins(outcome)})
        return
    console = answers()
    line(console)
    if keep is None:
        line(console, "Nothing is left behind; to keep both stores for a look: aegis demo --keep DIR")
    else:
        line(console, "Both stores are kept, with their keys beside them:")
        for name in (STORE, DAMAGED):
            line(console, f"  aegis verify {shlex.quote(shown(keep / name))}")


@contextmanager
def workplace(keep: Path | None) -> Iterator[Path]:
    """A directory to work in. Without `keep` it is gone afterwards, however it ends, unless a promise was broken."""
    with _ended_by_signals():
        if keep is None:
            place = Path(tempfile.mkdtemp(prefix="aegis-demo-"))
        else:
            _make_empty(keep)
            place = keep.absolute()
        is_evidence = False
        try:
            yield place
        except AegisError as error:
            # Damage that nobody has done counts as well. What the user or the machine is to blame for is exit code 2 or 3.
            if error.exit_code == FINDING:
                is_evidence = True
                error.hint = f"this must not happen; please report it, with what is kept for it: {shown(place)}"
            raise
        finally:
            if keep is None and not is_evidence:
                shutil.rmtree(place, ignore_errors=True)
            elif keep is not None:
                for name in (CHOSEN, LOG):
                    (place / name).unlink(missing_ok=True)


def _make_empty(place: Path) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
        is_empty = not any(place.iterdir())
    except (FileExistsError, NotADirectoryError):
        raise InvalidArgument("this is a file, not a directory", op="demo", path=str(place)) from None
    if not is_empty:
        raise InvalidArgument("the directory is not empty", op="demo", path=str(place), hint="give one that is, or a new one")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does, so that it cleans up; the agent's process ends with it."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, end) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
