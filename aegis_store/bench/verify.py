"""A whole store is verified, as fast as its hashes and checksums can be computed; deep, as fast as its signatures can be.

The peers: a C loop that computes what must be computed, with the engine's own checksum and hashes; SHA-256 of the same files,
which is what `sha256sum` does and proves much less; for the deep look, libsodium's bare verification on as many threads as
there are cores. Every side reads from the page cache.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from hashlib import file_digest
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import msgspec
from nacl._sodium import ffi, lib  # type: ignore[import-not-found]

import aegis_store
from aegis_store.bench.measure import (
    Figure,
    Sample,
    Samples,
    Side,
    Wanted,
    Work,
    cpu_seconds,
    figure,
    interleave,
    run_threads_for,
)
from aegis_store.bench.results import Outcome, cores
from aegis_store.bench.resume import WRITE
from aegis_store.bench.rivals import programs
from aegis_store.bench.states import conversations
from aegis_store.bench.workload import Field, Run, Workload, rates_against
from aegis_store.schema.entry import UNSIGNED_SIZE
from aegis_store.trust.signer import FileSigner

RECORDS: Final = 50_000
RECORDS_QUICK: Final = 2_000
STATES: Final = 512
SESSIONS: Final = 100
#: Deep rounds: each one takes seconds.
ROUNDS_DEEP: Final = 3
#: Signatures between two looks at the clock.
SIGNATURES: Final = 16

HASHES_WANTED: Final = Wanted(least=0.8)
SIGNATURES_WANTED: Final = Wanted(least=0.8)
OURS, DEEP, DEEP_SMALL = "aegis verify", "aegis verify --deep", "aegis verify --deep, small"
HASH_LOOP, SHA256 = programs.HASH_LOOP, "SHA-256 of the files"
READS: Final = "reads only"


class HashLoopSaid(msgspec.Struct, frozen=True, kw_only=True):
    """The one line of `hash_loop`."""

    records: int
    bytes: int
    seconds: float
    cpu_seconds: float
    check: int


def run(how: Run) -> Outcome:
    records = how.records or (RECORDS_QUICK if how.quick else RECORDS)
    place = how.place / "store"
    how.say(f"building two stores of {records:,} records")
    _build(place, records, conversations(STATES))
    _build(how.place / "small", records, [{"step": number} for number in range(STATES)])
    with ExitStack() as stack:
        store = stack.enter_context(aegis_store.open(place, mode="r"))
        small = stack.enter_context(aegis_store.open(how.place / "small", mode="r"))
        first = store.verify()
        tier = first.tiers[0]
        files = sorted((place / "session").glob("*.seg"))
        field = Field(stack)
        field.add(OURS, lambda: lambda: _verify(store, deep=False))
        field.add(HASH_LOOP, lambda: _hash_loop(how, files, tier.segments_sealed, tier.records))
        field.add(SHA256, lambda: lambda: _sha256(files, tier.records))
        plain_samples = interleave(field.sides, how.rounds, how.progress)
        threads = cores()
        raw = f"libsodium alone, {threads} threads" if threads > 1 else "libsodium alone"
        deep_sides = [
            Side(name=DEEP, run=lambda: _verify(store, deep=True)),
            Side(name=DEEP_SMALL, run=lambda: _verify(small, deep=True)),
            Side(name=raw, run=lambda: _signatures(threads, how.seconds)),
        ]
        rounds = min(how.rounds, ROUNDS_DEEP)
        deep_samples = interleave(deep_sides, rounds, lambda number, side: how.say(f"deep: {number + 1} of {rounds}: {side}"))
    figures = [
        *rates_against(
            "records a second", plain_samples, OURS, [HASH_LOOP, SHA256], wanted={HASH_LOOP: HASHES_WANTED}, durability=READS
        ),
        *(
            rate
            for title, side in (
                ("signatures a second, states of 4 KiB", DEEP),
                ("signatures a second, small states", DEEP_SMALL),
            )
            for rate in rates_against(title, deep_samples, side, [raw], wanted={raw: SIGNATURES_WANTED}, durability=READS)
        ),
        _speed(plain_samples, tier.bytes),
    ]
    plain: dict[str, Any] = {
        "records": tier.records,
        "bytes of frames": tier.bytes,
        "segments": f"{tier.segments}, {tier.segments_sealed} of them sealed",
    }
    return Outcome(figures=figures, samples={"all": plain_samples, "deep": deep_samples}, plain=plain, missing=field.missing)


def _speed(samples: Samples, frame_bytes: int) -> Figure:
    values = [frame_bytes / sample.seconds / 1e9 for sample in samples[OURS]]
    return figure(
        "bytes a second", ours=OURS, ours_values=values, unit="GB/s", comparison="alone", durability=READS, better="more"
    )


def _build(place: Path, records: int, states: Sequence[object]) -> None:
    """Without syncs: what is read afterwards is the same."""
    with aegis_store.open(place, config=WRITE) as store:
        sessions = [store.session(f"session-{number}") for number in range(min(SESSIONS, records))]
        for session, state in islice(zip(cycle(sessions), cycle(states), strict=False), records):
            session.checkpoint(state)


def _verify(store: aegis_store.Store, *, deep: bool) -> Sample:
    began, cpu = perf_counter(), cpu_seconds(resource.RUSAGE_SELF)
    result = store.verify(deep=deep)
    seconds = perf_counter() - began
    if not result.ok:
        raise RuntimeError(f"the store that was just built is damaged: {result.findings[0].problem}")
    tier = result.tiers[0]
    return _whole(tier.signatures or tier.records, seconds, cpu_seconds(resource.RUSAGE_SELF) - cpu)


def _hash_loop(how: Run, files: list[Path], sealed: int, records: int) -> Callable[[], Sample]:
    program = programs.build_hash_loop(how.place)

    def run_round() -> Sample:
        said = msgspec.json.decode(programs.said(program, str(sealed), *map(str, files)), type=HashLoopSaid)
        if said.records != records:
            raise RuntimeError(f"the loop found {said.records} records where the store has {records}")
        return _whole(said.records, said.seconds, said.cpu_seconds)

    return run_round


def _sha256(files: list[Path], records: int) -> Sample:
    began, cpu = perf_counter(), cpu_seconds(resource.RUSAGE_SELF)
    for path in files:
        with path.open("rb") as file:
            file_digest(file, "sha256").digest()
    return _whole(records, perf_counter() - began, cpu_seconds(resource.RUSAGE_SELF) - cpu)


def _signatures(threads: int, seconds: float) -> Sample:
    """Nothing but verifications, on so many threads: PyNaCl's library, called without PyNaCl's checks around it."""
    sample = run_threads_for([_signature_work(number) for number in range(threads)], seconds)
    return msgspec.structs.replace(
        sample,
        operations=sample.operations * SIGNATURES,
        median_us=sample.median_us / SIGNATURES,
        p99_us=sample.p99_us / SIGNATURES,
        cpu_us=sample.cpu_us / SIGNATURES,
    )


def _signature_work(number: int) -> Work:
    signer = FileSigner("bench", bytes([number % 256]) * 32)
    message = bytes(UNSIGNED_SIZE + 32)
    signed = signer.sign(message) + message
    opened, opened_length = ffi.new("unsigned char[]", len(signed)), ffi.new("unsigned long long *")
    length, key, verify = len(signed), signer.public_key, lib.crypto_sign_open

    def work() -> None:
        for _ in range(SIGNATURES):
            if verify(opened, opened_length, signed, length, key) != 0:
                raise RuntimeError("a good signature did not hold")

    return work


def _whole(operations: int, seconds: float, cpu: float) -> Sample:
    """One long operation, told by its parts."""
    each = seconds / operations * 1e6
    return Sample(operations=operations, seconds=seconds, median_us=each, p99_us=each, cpu_us=cpu / operations * 1e6)


WORKLOAD: Final = Workload(name="verify", promise="a whole store is verified", run=run)
