"""What came out of a demo, as values: for the show, for JSON, for tests."""

from __future__ import annotations

import msgspec


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a session; steps and the plan's sessions count from 1."""

    number: int
    session: str
    step: int


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the agent.

    It went on at `resumed` (None: nothing was left to do) and saw `acknowledged` checkpoints acknowledged, `last` at the end.
    If it was killed, then `killed_after_us` µs after the acknowledgement of `heard`, and the store, opened again, had `latest`.
    """

    resumed: Point | None
    acknowledged: int
    last: Point | None
    heard: Point | None = None
    killed_after_us: float | None = None
    latest: Point | None = None
    reopened_seconds: float | None = None
    cut_bytes: int | None = None

    @property
    def was_killed(self) -> bool:
        return self.killed_after_us is not None


class Flip(msgspec.Struct, frozen=True, kw_only=True):
    """A byte that was changed: in which file, where, from what to what, and in the frame of which record."""

    file: str
    offset: int
    before: int
    after: int
    record: int
    frame_offset: int


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """The byte, and what the store said to it.

    `victim` is the checkpoint that it was in. `opened` is False where the store refused to open at all. `findings` are those of
    a deep verification, by record. `refused` checkpoints raised when they were read, `served` ones were as they had been saved.
    """

    flip: Flip
    victim: Point
    opened: bool
    refusal: str
    findings: list[tuple[int | None, str]]
    refused: list[Point]
    served: int


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What the checkpoints of one kind of work cost. `frame_bytes` is what they take in the log; sizes are of all together."""

    name: str
    sessions: int
    sessions_complete: int
    checkpoints: int
    state_bytes: int
    frame_bytes: int
    median_us: float


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What it cost. `disk_bytes` is the store's directory, everything in it.

    `sync_median_us` and `sync_p99_us` are what the disk takes for 4 KiB and a sync without any store, between the runs.
    """

    checkpoints: int
    state_bytes: int
    disk_bytes: int
    median_us: float
    p99_us: float
    syncs: int
    reopened_seconds: list[float]
    verified_seconds: float
    file_system: str | None
    processors: int
    sync_median_us: float
    sync_p99_us: float
    sources: list[Source]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. There is one only if every promise held."""

    runs: list[Run]
    steps_planned: int
    checkpoints_compared: int
    records: int
    root: str
    signatures: int | None
    damage: Damage
    cost: Cost
