"""An open store, as the engine sees it: tiers of records, their trees, their segments.

A call is counted while it runs, in steps that an interrupt may fall between anywhere, because Ctrl-C must leave an engine that
can still be closed: a token of its own goes into `_calls`; then `_closing` is looked at; whatever happens, the token is taken
out. Closing sets `_closing` first and looks for tokens then, so one of the two sees the other. Memory for outputs is taken
from a pool and given back, not kept for a thread: a signal handler that appends must not find itself in the middle of
somebody's read.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from threading import get_ident
from typing import Any, Final, Literal, Self, TypeAlias

from aegis_store import errors
from aegis_store._engine import facts
from aegis_store._engine.facts import RECORD, Description, Footer, GapRun, Progress, Record, Report, TierStats
from aegis_store._engine.failures import failure, make
from aegis_store._engine.proofs import PROOF_HASHES_MAX
from aegis_store._engine.signatures import SECRET_KEY_SIZE, SignFunction
from aegis_store._native import ffi, lib
from aegis_store.config import Config, Durability
from aegis_store.types import HASH_SIZE, Head, Tier

Mode: TypeAlias = Literal["r", "a", "x", "w"]

ENTRY_MAX: Final = lib.AEGIS_ENTRY_MAX
PAYLOAD_MAX: Final = lib.AEGIS_PAYLOAD_MAX
NAME_MAX: Final = lib.AEGIS_NAME_MAX
META_MAX: Final = lib.AEGIS_META_MAX
SECRET_SIZE: Final = 32
STORE_ID_SIZE: Final = 16
SIGNATURE_SIZE: Final = 64

#: What a read starts with; a record that needs more gets a buffer for the time of the call.
READ_BUFFER_BYTES: Final = 64 << 10
#: A scan has a buffer of its own, so that one call reads many records.
SCAN_BUFFER_BYTES: Final = 1 << 20
SCAN_RECORDS: Final = 256
#: What a frame adds to entry and payload, at the most: its header, and the space up to the next block.
FRAME_OVERHEAD_BYTES: Final = 48 + 4096
RECORD_BYTES_MAX: Final = ENTRY_MAX + PAYLOAD_MAX + FRAME_OVERHEAD_BYTES
#: So often a verification shows progress and can be stopped.
VERIFY_STEP_BYTES: Final = 8 << 20
GAP_RUNS: Final = 256
SPARE_MAX: Final = 32

_MODES: Final = {
    "r": lib.AEGIS_MODE_READ,
    "a": lib.AEGIS_MODE_APPEND,
    "x": lib.AEGIS_MODE_CREATE,
    "w": lib.AEGIS_MODE_WRITE,
}
_DURABILITY: Final = {
    Durability.COMMIT: lib.AEGIS_DURABILITY_COMMIT,
    Durability.WRITE: lib.AEGIS_DURABILITY_WRITE,
}

_APPENDED: Final = struct.Struct(f"=Q{HASH_SIZE}s")

_new_buffer: Final = ffi.new_allocator(should_clear_after_alloc=False)

# How many forks away this process is from the first: a handle from another count belongs to a parent.
_forks = 0


def _count_fork() -> None:
    global _forks  # noqa: PLW0603 - one process, one count
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


class _Room:
    """Where a read puts what it finds."""

    __slots__ = ("buffer", "record", "record_view", "view")

    def __init__(self) -> None:
        self.record = ffi.new("aegis_record *")
        self.record_view = ffi.buffer(self.record)
        self.buffer = _new_buffer("uint8_t[]", READ_BUFFER_BYTES)
        self.view = ffi.buffer(self.buffer)


class _Appended:
    """Where an append says what it appended: the index, and the leaf hash behind it."""

    __slots__ = ("index", "leaf", "view")

    def __init__(self) -> None:
        out = _new_buffer("uint64_t[]", 1 + HASH_SIZE // 8)
        self.index = out
        self.leaf = ffi.cast("uint8_t *", out + 1)
        self.view = ffi.buffer(out)


# What nobody uses just now: rooms, outputs of one number, outputs of appends.
_spare_rooms: Final[list[_Room]] = []
_spare_numbers: Final[list[Any]] = []
_spare_appended: Final[list[_Appended]] = []


class Engine:
    """An open store. Made by `Engine.open`; any number of threads may use it; as a context manager it closes at the end.

    `report` says what opening found. `path` is the store's, as it was given.
    """

    def __init__(self, path: str, handle: Any, report: Report, *, keyed: bool) -> None:
        self.path: Final = path
        self.report: Final = report
        self._keyed: Final = keyed
        self._born: Final = _forks
        self._handle = handle
        # Token of a call under way -> its thread; negative for a verification, which runs code of the caller in between.
        self._calls: Final[dict[object, int]] = {}
        self._closing = False
        self._release_lock: Final = threading.RLock()
        self._call_ended: Final = threading.Event()

    # ---- opening and closing

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        mode: Mode = "a",
        secret: bytes | None = None,
        store_id: bytes | None = None,
        name: str = "",
        meta: bytes = b"",
        anchors: Sequence[Head] = (),
        config: Config | None = None,
        background: bool = True,
    ) -> Self:
        """Opens the store at `path` and recovers what a crash left.

        `mode` is "r" to read (nothing on disk is changed), "a" to write and make the store where it is missing, "x" to make it
        (it must not be there), "w" to write (it must be). `secret` [32] may be left out for reading only. A new store needs a
        `store_id` [16]; where one is given, an old one must have it. `name` and `meta` are kept by a new store. Each of
        `anchors`, heads that were kept outside, must be a prefix of what is found. With `background=False` no thread is
        started: the caller runs `run_background`.

        Raises NotAStore, StoreExists, NewerFormat, KeysMissing, KeysWrong, Locked, ReadOnly, NetworkFileSystem, Corrupt,
        Foreign, RolledBack, NoSpace, OutOfResources, StorageError, InvalidArgument.
        """
        where = os.fspath(path)
        raw_path = os.fsencode(where)
        if not raw_path or b"\0" in raw_path:
            raise errors.InvalidArgument(f"the path {where!r} is empty or holds a zero character", op="open")
        config = Config() if config is None else config
        options, memory = _options(mode, secret, store_id, name, meta, anchors, config)
        if not background:
            options.flags |= lib.AEGIS_OPEN_NO_THREAD
        handle = ffi.new("aegis_store **")
        found = ffi.new("aegis_report *")
        code = lib.aegis_open(raw_path, options, handle, found)
        del memory  # which the options point to, until here
        if code:
            raise failure(code, "open", where, keyed=secret is not None)
        return cls(where, handle[0], facts.report(found), keyed=secret is not None)

    def close(self) -> None:
        """Commits what was appended, writes the end marks and lets go of the store, once calls under way have ended.

        The engine is closed even where this raises; closing it again does nothing.
        """
        self._release("close", lib.aegis_close)

    def abandon(self) -> None:
        """Lets go of the store as a crash would: nothing is written."""
        self._release("abandon", lib.aegis_abandon)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(
        self,
        _finalizing: Callable[[], bool] = sys.is_finalizing,
        _close: Callable[[Any], int] = lib.aegis_close,
        _warn: Callable[..., None] = warnings.warn,
    ) -> None:
        # Like a file that was forgotten: closed, with a warning. Nobody can be in a call, for a call holds a reference; but at
        # the interpreter's end other threads stand still within theirs, and then the handle is left to the end of the process.
        if getattr(self, "_handle", None) is None:
            return
        if _finalizing():
            handle, self._handle = self._handle, None
            if not self._calls:
                _close(handle)
            return
        if self._born == _forks:
            _warn(f"the store {self.path} was not closed", ResourceWarning, source=self)
        self.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed, abandoned, or is about to be."""
        return self._closing

    def demand_open(self, op: str = "use") -> None:
        """Closed, UsedAfterFork: no call of this handle would do anything."""
        if self._closing or self._born != _forks:
            self._check_usable(op)

    def refresh(self) -> None:
        """For readers: takes in what the writer has made durable since. A writer sees its own records anyway."""
        self._call("refresh", None, lib.aegis_refresh)

    def describe(self) -> Description:
        """What this store is."""
        info = ffi.new("aegis_info *")
        self._call("describe", None, lib.aegis_describe, info)
        return facts.description(info)

    # ---- appending

    def append(self, tier: Tier, kind: int, entry: bytes, payload: bytes = b"") -> int:
        """Queues a record and returns its index. It is neither durable nor readable until `commit` returns.

        What leaves nothing behind: InvalidArgument, StateTooLarge, NoSpace, OutOfResources, ReadOnly, Poisoned.
        """
        if type(entry) is not bytes or type(payload) is not bytes:
            raise make(errors.InvalidArgument, "entry and payload are bytes", op="append", path=self.path, tier=tier)
        return self._number("append", tier, lib.aegis_append, tier, kind, entry, len(entry), payload, len(payload))

    def append_signed(
        self, tier: Tier, kind: int, message: bytes, entry_at: int, sign: SignFunction, secret_key: bytes, payload: bytes
    ) -> tuple[int, bytes]:
        """The same with an entry that is signed on the way: `message` from `entry_at` on, and the signature over all of it.

        The index, and the leaf hash [32]. One call, for each that lets go of the interpreter's lock may wait for it for long.
        `secret_key` is as `sign` takes it, for libsodium 64 bytes."""
        if type(message) is not bytes or type(payload) is not bytes or len(secret_key) != SECRET_KEY_SIZE:
            raise make(
                errors.InvalidArgument, "message and payload are bytes, a key has 64", op="append", path=self.path, tier=tier
            )
        try:
            out = _spare_appended.pop()
        except IndexError:
            out = _Appended()
        code = self._try(
            "append", lib.aegis_append_signed, tier, kind, message, len(message), entry_at, sign, secret_key, payload,
            len(payload), out.index, out.leaf,
        )  # fmt: skip
        if code:
            raise failure(code, "append", self.path, tier=tier, keyed=self._keyed)
        index, leaf = _APPENDED.unpack(out.view)
        if len(_spare_appended) < SPARE_MAX:
            _spare_appended.append(out)
        return index, leaf

    def commit(self, tier: Tier, index: int) -> None:
        """Returns once the record at `index`, and all before it, are as durable as the tier asks.

        After OutcomeUnknown or Poisoned the engine accepts nothing more: close it and open the store again.
        """
        code = self._try("commit", lib.aegis_commit, tier, index)
        if code:
            raise failure(code, "commit", self.path, tier=tier, keyed=self._keyed)

    def rotate(self, tier: Tier) -> None:
        """Commits what was appended, then begins the tier's next segment though the active one is not full.

        Durable when it returns. Where the active one has no record, nothing happens. NoSpace changes nothing.
        """
        self._call("rotate", tier, lib.aegis_rotate, tier)

    def run_background(self) -> float:
        """One turn of the background work, where no thread does it (`background=False`); seconds until the next is due."""
        return self._number("background", None, lib.aegis_background) / 1000

    # ---- reading

    def size(self, tier: Tier) -> int:
        """How many records can be read: in a writer, those that were acknowledged."""
        return self._number("size", tier, lib.aegis_size, tier)

    def read(self, tier: Tier, index: int) -> Record:
        """One record, its checksum and its place in the tree checked. NotFound, Corrupt, Unauthenticated."""
        try:
            room = _spare_rooms.pop()
        except IndexError:
            room = _Room()
        buffer, view = room.buffer, room.view
        code = self._try("read", lib.aegis_read, tier, index, buffer, len(view), room.record)
        if code == lib.AEGIS_E_SPACE:
            buffer, view = self._larger(room.record, len(view))
            code = self._try("read", lib.aegis_read, tier, index, buffer, len(view), room.record)
        if code:
            raise failure(code, "read", self.path, tier=tier, index=index, keyed=self._keyed)
        record = facts.record(RECORD.unpack(room.record_view), view)
        if len(_spare_rooms) < SPARE_MAX:
            _spare_rooms.append(room)
        return record

    def read_range(self, tier: Tier, first: int, limit: int) -> list[Record]:
        """Records `first` to `first + limit - 1`, in order; fewer where the log ends before that, none from its end on."""
        return [record for batch in self._batches(tier, first, first + limit) for record in batch]

    def scan(self, tier: Tier, first: int = 0, end: int | None = None) -> Iterator[Record]:
        """Records `first` to `end - 1` in order, or to the last one that can be read when the scan starts."""
        for batch in self._batches(tier, first, end):
            yield from batch

    def _batches(self, tier: Tier, first: int, end: int | None) -> Iterator[list[Record]]:
        """Records in lists, through one buffer. A record that needs a larger one gets it for itself alone."""
        size = self.size(tier)
        end = size if end is None else min(end, size)
        if first >= end:
            return
        kept = _new_buffer("uint8_t[]", SCAN_BUFFER_BYTES)
        kept_view = ffi.buffer(kept)
        records = ffi.new("aegis_record[]", SCAN_RECORDS)
        records_view = ffi.buffer(records)
        count = ffi.new("uint32_t *")
        while first < end:
            buffer, view, limit = kept, kept_view, min(SCAN_RECORDS, end - first)
            code = self._try("read", lib.aegis_read_range, tier, first, limit, buffer, len(view), records, count)
            if code == lib.AEGIS_E_SPACE:
                buffer, view = self._larger(records[0], len(view))
                code = self._try("read", lib.aegis_read_range, tier, first, 1, buffer, len(view), records, count)
            if code:
                raise failure(code, "read", self.path, tier=tier, index=first, keyed=self._keyed)
            got = count[0]
            yield [facts.record(fields, view) for fields in RECORD.iter_unpack(records_view[: got * RECORD.size])]
            first += got

    def _larger(self, record: Any, capacity: int) -> tuple[Any, Any]:
        """A buffer, and a view of it, for a record that did not fit in `capacity` bytes."""
        needed = record.entry_length + record.payload_length + FRAME_OVERHEAD_BYTES
        if not capacity < needed <= RECORD_BYTES_MAX:
            raise make(errors.EngineBug, f"a record of {needed} bytes does not fit {capacity}", op="read", path=self.path)
        buffer = _new_buffer("uint8_t[]", needed)
        return buffer, ffi.buffer(buffer)

    # ---- the tree

    def head(self, tier: Tier, size: int | None = None) -> Head:
        """The tree head at `size` records, or at all that can be read."""
        out = ffi.new("aegis_head *")
        at = self.size(tier) if size is None else size
        self._call("head", tier, lib.aegis_head_at, tier, at, out)
        return Head(tier=tier, size=out.size, root=facts.as_bytes(out.root))

    def inclusion(self, tier: Tier, index: int, size: int | None = None) -> list[bytes]:
        """The proof, hashes [32], that record `index` is in the tree at `size` (RFC 6962, 2.1.1), for `check_inclusion`."""
        at = self.size(tier) if size is None else size
        return self._proof("inclusion", tier, lib.aegis_inclusion, index, at)

    def consistency(self, tier: Tier, old_size: int, size: int | None = None) -> list[bytes]:
        """The proof that the tree at `old_size` is a prefix of that at `size` (RFC 6962, 2.1.2), for `check_consistency`."""
        at = self.size(tier) if size is None else size
        return self._proof("consistency", tier, lib.aegis_consistency, old_size, at)

    def _proof(self, op: str, tier: Tier, function: Callable[..., int], *place: int) -> list[bytes]:
        hashes = ffi.new("uint8_t[]", PROOF_HASHES_MAX * HASH_SIZE)
        count = ffi.new("uint32_t *")
        self._call(op, tier, function, tier, *place, hashes, count)
        proof = facts.as_bytes(hashes)
        return [proof[at : at + HASH_SIZE] for at in range(0, count[0] * HASH_SIZE, HASH_SIZE)]

    # ---- segments

    def segments(self, tier: Tier, found: Callable[[errors.AegisError], object] | None = None) -> Iterator[Footer]:
        """The tier's segments, oldest first. Corrupt where a footer was damaged since the store was opened.

        With `found`, that does not end the work: it is called for each such footer, which is left out.
        """
        out = ffi.new("aegis_footer *")
        position = 0
        while (code := self._try("segments", lib.aegis_segment, tier, position, out)) != lib.AEGIS_E_RANGE:
            if code == lib.AEGIS_OK:
                yield facts.footer(position, out)
            else:
                error = failure(code, "segments", self.path, tier=tier, keyed=self._keyed)
                if found is None or not isinstance(error, errors.Corrupt):
                    raise error
                found(error)
            position += 1

    def seal(self, tier: Tier) -> None:
        """Every full segment has its footer when this returns."""
        self._call("seal", tier, lib.aegis_seal, tier)

    def sign_segment(self, tier: Tier, position: int, signature: bytes, *, segment: int) -> None:
        """Writes the signature [64] of the sealed segment at `position`, whose number is `segment`, once.

        KeysWrong where another one stands already; NotFound where another file of these records has taken its place since.
        """
        _check_length("a signature", signature, SIGNATURE_SIZE)
        self._call("sign", tier, lib.aegis_sign_segment, tier, position, segment, signature)

    def set_swept(self, tier: Tier, swept: int) -> None:
        """Notes that what the prune and erase records below index `swept` say has been done to the files.

        Durable; never lowered. InvalidArgument above what is durable.
        """
        self._call("sweep", tier, lib.aegis_set_swept, tier, swept)

    # ---- verifying

    def verify(
        self,
        tier: Tier,
        progress: Callable[[Progress], object] | None = None,
        found: Callable[[errors.AegisError], object] | None = None,
        gaps: Callable[[list[GapRun]], object] | None = None,
    ) -> Progress:
        """Reads every byte of a tier again and recomputes its tree, past all caches. Corrupt where something is not right.

        With `found`, damage does not end the work: it is called for each finding and the rest is verified. `progress` is called
        every few megabytes. `gaps` is told of payloads that are gone, in order: that the record which authorises a run is one
        that may is the caller's to see. All run in this thread, may stop the work by raising, and must not close the engine.
        """
        verifier = ffi.new("aegis_verifier **")
        out = ffi.new("aegis_progress *")
        token = object()
        try:
            # A verifier reads from the store, so it counts as one call for as long as it lives.
            self._calls[token] = -get_ident()
            self._check_usable("verify")
            code = lib.aegis_verify_start(self._handle, tier, verifier)
            if code:
                raise failure(code, "verify", self.path, tier=tier, keyed=self._keyed)
            while True:
                self._check_usable("verify")
                code = lib.aegis_verify_step(verifier[0], VERIFY_STEP_BYTES, out)
                # Before anything else is called: what the engine said last is about this.
                error = failure(code, "verify", self.path, tier=tier, keyed=self._keyed) if code else None
                if gaps is not None:
                    _tell_gaps(verifier[0], gaps)
                if error is not None:
                    if found is None or not isinstance(error, errors.Corrupt):
                        raise error
                    found(error)
                    continue
                state = facts.progress(out)
                if progress is not None:
                    progress(state)
                if state.done:
                    return state
        finally:
            if verifier[0] != ffi.NULL:
                lib.aegis_verify_end(verifier[0])
            self._calls.pop(token, None)
            self._call_ended.set()

    def stats(self, tier: Tier) -> TierStats:
        """A tier in numbers."""
        out = ffi.new("aegis_tier_stats *")
        self._call("stats", tier, lib.aegis_stats, tier, out)
        return facts.tier_stats(out)

    # ---- calls, and the end of them

    def _call(self, op: str, tier: Tier | None, function: Callable[..., int], *arguments: Any) -> None:
        """Calls the engine and raises what it says."""
        code = self._try(op, function, *arguments)
        if code:
            raise failure(code, op, self.path, tier=tier, keyed=self._keyed)

    def _number(self, op: str, tier: Tier | None, function: Callable[..., int], *arguments: Any) -> int:
        """Calls the engine for one number."""
        try:
            out = _spare_numbers.pop()
        except IndexError:
            out = ffi.new("uint64_t *")
        code = self._try(op, function, *arguments, out)
        if code:
            raise failure(code, op, self.path, tier=tier, keyed=self._keyed)
        number: int = out[0]
        if len(_spare_numbers) < SPARE_MAX:
            _spare_numbers.append(out)
        return number

    def _try(self, op: str, function: Callable[..., int], *arguments: Any) -> int:
        """Calls the engine; its code. The steps are those that this file's head describes."""
        token = object()
        try:
            self._calls[token] = get_ident()
            if self._closing or self._born != _forks:
                self._check_usable(op)
            return function(self._handle, *arguments)
        except (OverflowError, TypeError) as error:
            raise errors.InvalidArgument(f"a number out of range, or not a number: {error}", op=op, path=self.path) from error
        finally:
            self._calls.pop(token, None)
            if self._closing:
                self._call_ended.set()

    def _check_usable(self, op: str) -> None:
        if self._born != _forks:
            message = "the store was opened before fork() and belongs to the parent"
            raise make(errors.UsedAfterFork, message, op=op, path=self.path)
        if self._closing:
            raise errors.Closed("the store is closed", op=op, path=self.path)

    def _release(self, op: str, function: Callable[[Any], int]) -> None:
        """Gives the handle back by `function`, once calls under way have ended."""
        if self._born != _forks:
            # The parent's threads, and the locks they held, are not in this process: there is nobody to wait for.
            self._closing = True
            handle, self._handle = self._handle, None
            if handle is not None:
                lib.aegis_abandon(handle)
            return
        me = get_ident()
        if -me in list(self._calls.values()):
            raise errors.InvalidArgument(f"{op} from within this thread's own verification", op=op, path=self.path)
        with self._release_lock:
            self._closing = True
            self._call_ended.clear()
            # A token of this very thread is one that an interrupt left behind: a thread that is in a call is not here.
            while any(thread != me for thread in list(self._calls.values())):
                self._call_ended.wait()
                self._call_ended.clear()
            handle, self._handle = self._handle, None
            code = lib.AEGIS_OK if handle is None else function(handle)
            if code:
                raise failure(code, op, self.path, keyed=self._keyed)


def _tell_gaps(verifier: Any, gaps: Callable[[list[GapRun]], object]) -> None:
    runs = ffi.new("aegis_gap_run[]", GAP_RUNS)
    count = ffi.new("uint32_t *")
    while lib.aegis_verify_gaps(verifier, runs, GAP_RUNS, count) == lib.AEGIS_OK and count[0]:
        gaps(facts.gap_runs(runs, count[0]))


def _options(
    mode: str,
    secret: bytes | None,
    store_id: bytes | None,
    name: str,
    meta: bytes,
    anchors: Sequence[Head],
    config: Config,
) -> tuple[Any, tuple[Any, ...]]:
    """aegis_options, and the memory that it points to."""
    if mode not in _MODES:
        raise errors.InvalidArgument(f"mode is {mode!r}, not 'r', 'a', 'x' or 'w'", op="open")
    _check_length("the store secret", secret, SECRET_SIZE)
    _check_length("a store id", store_id, STORE_ID_SIZE)
    if len(meta) > META_MAX:
        raise errors.InvalidArgument(f"the meta block has {len(meta)} bytes, more than {META_MAX}", op="open")
    raw_name = _name_bytes(name)
    heads = ffi.new("aegis_head[]", len(anchors))
    for out, head in zip(heads, anchors, strict=True):
        _check_length("an anchor's root", head.root, HASH_SIZE)
        out.tier, out.size = head.tier, head.size
        ffi.memmove(out.root, head.root, HASH_SIZE)
    secret_bytes = ffi.NULL if secret is None else ffi.new("uint8_t[]", secret)
    id_bytes = ffi.NULL if store_id is None else ffi.new("uint8_t[]", store_id)
    name_text = ffi.new("char[]", raw_name)
    meta_bytes = ffi.new("uint8_t[]", meta)

    options = ffi.new("aegis_options *")
    options.struct_size = ffi.sizeof("aegis_options")
    options.mode = _MODES[mode]
    options.flags = lib.AEGIS_OPEN_NETWORK if config.allow_network else 0
    options.align = config.align.bytes
    options.secret = secret_bytes
    options.store_id = id_bytes
    options.name = name_text
    options.meta = meta_bytes
    options.meta_length = len(meta)
    options.anchors = heads
    options.anchor_count = len(anchors)
    options.segment_bytes = config.segment_bytes
    options.cache_bytes = config.cache_bytes
    for tier in Tier:
        options.durability[tier] = _DURABILITY[config.durability.of(tier)]
    return options, (heads, secret_bytes, id_bytes, name_text, meta_bytes)


def _name_bytes(name: str) -> bytes:
    try:
        raw = name.encode()
    except UnicodeEncodeError:
        raise errors.InvalidArgument(f"the name {name!r} cannot be written in UTF-8", op="open") from None
    if b"\0" in raw or len(raw) > NAME_MAX:
        raise errors.InvalidArgument(f"the name {name!r} is longer than {NAME_MAX} bytes or holds a zero character", op="open")
    return raw


def _check_length(what: str, value: bytes | None, length: int) -> None:
    if value is not None and (type(value) is not bytes or len(value) != length):
        raise errors.InvalidArgument(f"{what} is {length} bytes")
