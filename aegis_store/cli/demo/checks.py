"""What was promised, compared with what is there. Nothing here looks into a store: numbers and digests go in.

BrokenPromise is what the demo exists to never show.
"""

from __future__ import annotations

from aegis_store.errors import AegisError


class BrokenPromise(AegisError):
    """The store did not keep what it acknowledged, or served something else."""

    exit_code = 1

    def __init__(self, what: str) -> None:
        super().__init__(f"BROKEN PROMISE: {what}", op="demo")


def after_kill(session: str, *, acknowledged: int, latest: int) -> None:
    """The latest checkpoint is the last acknowledged one, or the next, which was on its way. Steps count from 1; 0: none."""
    if latest < acknowledged:
        found = f"the latest one is of step {latest}" if latest else "there is none"
        raise BrokenPromise(
            f'an acknowledged checkpoint is gone: step {acknowledged} of session "{session}" was durable, and {found}'
        )
    if latest > acknowledged + 1:
        raise BrokenPromise(
            f'the store is ahead of its agent: step {latest} of session "{session}" is there, but after step {acknowledged} '
            f"only step {acknowledged + 1} can have been on its way"
        )


def resumed_session(*, expected: str, found: str) -> None:
    """The agent goes on with the first session that is not finished."""
    if found != expected:
        raise BrokenPromise(f'the agent went on with session "{found}", although session "{expected}" is not finished')


def resumed(session: str, *, latest: int, step: int) -> None:
    """The agent goes on at the step after the latest checkpoint."""
    if step != latest + 1:
        raise BrokenPromise(
            f'the agent resumed session "{session}" at step {step}, and the latest checkpoint is of step {latest}'
        )


def follows(session: str, *, before: int, step: int) -> None:
    """Steps are acknowledged one after the other, in whatever process."""
    if step != before + 1:
        raise BrokenPromise(f'after step {before} of session "{session}", step {step} was acknowledged')


def all_there(session: str, *, steps: list[int], expected: int) -> None:
    """A session's checkpoints, oldest first, are of the steps 1 to `expected`: none is missing, none is there twice."""
    for place, step in enumerate(steps, 1):
        if step != place:
            raise BrokenPromise(f'session "{session}" has a checkpoint of step {step} where that of step {place} belongs')
    if len(steps) != expected:
        raise BrokenPromise(f'session "{session}" has {len(steps)} checkpoints, and it should have {expected}')


def same(session: str, *, step: int, expected: bytes, found: bytes) -> None:
    """A checkpoint holds what the same steps give without a store. Both are digests [32]."""
    if expected != found:
        raise BrokenPromise(f'the checkpoint of step {step} of session "{session}" holds something else than was saved')


def same_step(session: str, *, expected: int, found: int) -> None:
    """A record is the checkpoint that it was."""
    if expected != found:
        raise BrokenPromise(
            f'a record of session "{session}" was the checkpoint of step {expected}, and now is that of {found}'
        )


def nothing_found(problems: list[str]) -> None:
    """A store that nobody has touched verifies."""
    if problems:
        raise BrokenPromise(f"verification of an untouched store found: {'; '.join(problems)}")


def damage_named(*, record: int, findings: list[int | None]) -> None:
    """The record that was damaged is among those that were named."""
    if record not in findings:
        named = ", ".join(str(index) for index in findings) or "none"
        raise BrokenPromise(f"record {record} was damaged, and verification named {named}")


def damage_refused(*, record: int, served: bool) -> None:
    """A damaged record is not served."""
    if served:
        raise BrokenPromise(f"record {record} was damaged, and it was served all the same")
