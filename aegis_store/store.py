"""A store, open: its keys, its engine, its catalogue, and the sessions in it.

Opening is where everything comes together: the key directory says who we are, the engine recovers the logs, the catalogue is
vouched for or built again, and the heads that were released before are demanded of what was found.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import msgspec
from blake3 import blake3

from aegis_store import verification
from aegis_store._engine import Engine, Report, TierStats
from aegis_store.catalog import Catalog, Row, Stretch
from aegis_store.config import Config
from aegis_store.errors import (
    AegisError,
    Closed,
    Corrupt,
    InvalidArgument,
    NotAStore,
    ReadOnly,
    RolledBack,
    StorageError,
    UsedAfterFork,
)
from aegis_store.indexing import rows_of, whole
from aegis_store.records import Records
from aegis_store.schema.entry import STORE_ID_SIZE, TAG_SIZE
from aegis_store.session import Chain, Session, moment
from aegis_store.trust.heads import SignedHead, sign_head
from aegis_store.trust.keys import KeyDirectory, SystemRandomness
from aegis_store.trust.signer import Signer
from aegis_store.types import Clock, Head, Randomness, Ref, SystemClock, Tier

DEFAULT_AGENT: Final = "agent"
KEYS_SUFFIX: Final = ".keys"
CATALOG_FOLDER: Final = "catalog"
_CATALOG_CONTEXT: Final = "aegis-store 2026 catalogue sidecar"
#: Checkpoints after which sealed segments that are not signed yet are looked for.
HOUSEKEEPING_RECORDS: Final = 1024
SESSIONS_PAGE: Final = 256
#: Of a session id, and of an agent's name.
NAME_CHARACTERS_MAX: Final = 1_000_000

Mode = Literal["a", "r", "x"]


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One line about a session. `latest` is None while it has no checkpoint."""

    id: str
    agent: str
    checkpoints: int
    created_at: datetime
    changed_at: datetime
    is_open: bool


class StoreStats(msgspec.Struct, frozen=True, kw_only=True):
    """A store in numbers. `disk_bytes` is what its directory takes, everything in it counted."""

    path: str
    name: str
    store_id: str
    disk_bytes: int
    catalogue_bytes: int
    catalogue_problem: str | None
    tiers: dict[str, TierStats]


class _Meta(msgspec.Struct, frozen=True, kw_only=True):
    log_key: bytes
    enrolment_key: bytes
    created: int


class Store:
    """An open store, made by `aegis_store.open`, for any number of threads. As a context manager it closes at the end."""

    def __init__(
        self,
        path: Path,
        engine: Engine,
        keys: KeyDirectory,
        *,
        agent: str,
        mode: Mode,
        config: Config,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self.path: Final = path
        self.agent: Final = agent
        self.config: Final = config
        self.keys: Final = keys
        self._engine = engine
        self._mode = mode
        self._randomness = randomness
        self._lock = threading.Lock()
        self._sessions: weakref.WeakValueDictionary[tuple[str, str], Session] = weakref.WeakValueDictionary()
        self._chains: weakref.WeakValueDictionary[str, Chain] = weakref.WeakValueDictionary()
        # A mark of the last call that did not come to its end, and of the last one whose records were looked for.
        self._lost: object = None
        self._found: object = None
        self._signers: dict[str, Signer] = {}
        self._unsigned_from = 0
        self._since_housekeeping = 0
        self._closed = False
        self.catalog: Final = Catalog.open(
            path / CATALOG_FOLDER,
            store_id=keys.store_id,
            mac_key=blake3(keys.secret, derive_key_context=_CATALOG_CONTEXT).digest(),
            log_sizes={Tier.SESSION: engine.size(Tier.SESSION)},
            root_at=lambda tier, size: engine.head(tier, size).root,
            refill=self._all_rows,
            writable=mode != "r",
        )
        self.records: Final = Records(
            engine,
            self.catalog,
            Tier.SESSION,
            store_id=keys.store_id,
            enrolment_key=keys.enrolment.public_key,
            clock=clock,
            randomness=randomness,
            state_limit_bytes=config.state_limit_bytes,
        )

    # ---- opening and closing ----------------------------------------------------------------------------------------------

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        agent: str = DEFAULT_AGENT,
        mode: Mode = "a",
        keys: str | os.PathLike[str] | None = None,
        name: str | None = None,
        anchors: Iterable[Head | SignedHead] = (),
        config: Config | None = None,
        clock: Clock | None = None,
        randomness: Randomness | None = None,
    ) -> Self:
        """See `aegis_store.open`."""
        place = _place(path)
        key_place = _place(keys) if keys is not None else place.with_name(place.name + KEYS_SUFFIX)
        if mode not in ("a", "r", "x"):
            raise InvalidArgument(f"mode is {mode!r}, not 'a', 'r' or 'x'", op="open", path=str(place))
        _demand_name(agent, "agent", op="open")
        chosen = Config() if config is None else config
        ticking: Clock = SystemClock() if clock is None else clock
        drawn: Randomness = SystemRandomness() if randomness is None else randomness
        directory = _keys_for(place, key_place, mode=mode, name=name, randomness=drawn)
        meta = _Meta(log_key=directory.log.public_key, enrolment_key=directory.enrolment.public_key, created=ticking.now_ms())
        engine = Engine.open(
            place,
            mode=mode,
            secret=directory.secret,
            store_id=directory.store_id,
            name=directory.name,
            meta=msgspec.msgpack.encode(meta),
            anchors=[*directory.released().values(), *(_as_head(each, directory.store_id) for each in anchors)],
            config=chosen,
        )
        try:
            _demand_keys(engine, directory)
            store = cls(place, engine, directory, agent=agent, mode=mode, config=chosen, clock=ticking, randomness=drawn)
            try:
                store._index_rest(alone=True)
                store._sign_segments()
            except BaseException:
                store.catalog.abandon()
                raise
        except BaseException:
            engine.abandon()
            raise
        return store

    def close(self) -> None:
        """Make everything durable, sign what is sealed, remember the heads. The store is closed even where this raises.

        In a forked child it lets go of what the parent has open, and changes nothing.
        """
        try:
            self.check_open()
        except (Closed, UsedAfterFork):
            self._engine.close()
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
        heads: list[Head] = []
        try:
            try:
                self._sign_segments()
                if self._mode != "r":
                    heads = [self._engine.head(tier) for tier in Tier if self._engine.size(tier) > 0]
            finally:
                # A catalogue with gaps is not vouched for: the next open is to find out about them too.
                if self.records.suspects:
                    self.catalog.abandon()
                else:
                    self.catalog.close()
        finally:
            self._engine.close()
        # Only now is it certain that the heads are those of what the next open will find.
        for head in heads:
            self.keys.record_released(head)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def report(self) -> Report:
        """What opening found, tier by tier."""
        return self._engine.report

    # ---- sessions ---------------------------------------------------------------------------------------------------------

    def session(self, session_id: str, *, agent: str | None = None) -> Session:
        """The session of that id, which begins with its first checkpoint. `agent` signs what is written through it."""
        self.check_open()
        _demand_name(session_id, "session id", op="session")
        key = session_id, self.agent if agent is None else agent
        _demand_name(key[1], "agent", op="session")
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                chain = self._chains.get(session_id)
                if chain is None:
                    chain = self._chains[session_id] = Chain()
                session = self._sessions[key] = Session(self, *key, chain)
        return session

    def sessions(self) -> list[SessionInfo]:
        """All sessions, oldest first."""
        self.catch_up()
        found: list[SessionInfo] = []
        after: int | None = None
        while page := self.catalog.sessions(after=after, limit=SESSIONS_PAGE):
            found.extend(
                SessionInfo(
                    id=each.id,
                    agent=each.agent,
                    checkpoints=0 if each.last_ordinal is None else each.last_ordinal + 1,
                    created_at=moment(each.created_ms),
                    changed_at=moment(each.last_ms),
                    is_open=each.ended is None,
                )
                for each in page
            )
            after = page[-1].number
        return found

    # ---- the whole --------------------------------------------------------------------------------------------------------

    def head(self, tier: str | Tier = Tier.SESSION) -> SignedHead:
        """The tree head of a tier, signed by the log key, to be kept outside: hand it in as an anchor at a later open.

        It is remembered in the key directory before it is returned, so that no other root of that size is ever signed.
        """
        which = tier_named(tier)
        self.catch_up()
        head = self._engine.head(which)
        self.keys.record_released(head)
        return sign_head(self.keys.store_id, head, self.keys.head_signer(which))

    def inclusion(self, ref: Ref, size: int | None = None) -> list[bytes]:
        """Hashes [32] that lead from a checkpoint's leaf to the root at `size` (RFC 6962, 2.1.1)."""
        return self._engine.inclusion(ref.tier, ref.index, size)

    def consistency(self, old: Head, size: int | None = None) -> list[bytes]:
        """Hashes [32] that show that an older head is a prefix of the log at `size` (RFC 6962, 2.1.2)."""
        return self._engine.consistency(old.tier, old.size, size)

    def verify(self, *, deep: bool = False, watch: verification.Watcher | None = None) -> verification.Result:
        """Read every byte again and recompute the trees; `deep` also checks every signature, envelope and chain.

        Findings are listed, not raised. `watch(tier, what, done, total)` is called as the work goes on.
        """
        self.catch_up()
        return verification.verify(
            self._engine, {self.records.tier: self.records}, self.keys.log.public_key, deep=deep, watch=watch
        )

    def stats(self) -> StoreStats:
        """The store in numbers."""
        about = self._engine.describe()
        return StoreStats(
            path=str(self.path),
            name=about.name,
            store_id=about.store_id.hex(),
            disk_bytes=disk_bytes(self.path),
            catalogue_bytes=disk_bytes(self.path / CATALOG_FOLDER),
            catalogue_problem=self.catalog.broken,
            tiers={tier.label: self._engine.stats(tier) for tier in Tier if self._engine.size(tier) > 0},
        )

    # ---- for sessions -----------------------------------------------------------------------------------------------------

    def check_open(self) -> None:
        """Closed, UsedAfterFork: asked before any lock, for in a forked child a lock may never be let go."""
        self._engine.size(Tier.SESSION)

    def signer_for(self, agent: str) -> Signer:
        """The agent's key, allowed by the log from here on."""
        signer = self._signers.get(agent)
        if signer is None:
            if self._mode == "r":
                raise ReadOnly(
                    "the store is open for reading", op="checkpoint", path=str(self.path), hint='open it with mode="a" to write'
                )
            self.catch_up()
            taken = {each.key_id for each in self.keys.agents()} | {self.keys.enrolment.key_id}
            signer = self.keys.agent(agent, taken=taken)
            self.records.enrol(signer, self.keys.enrolment)
            self._signers[agent] = signer
        return signer

    def draw_tag(self) -> bytes:
        """A session tag that was never drawn."""
        tag = self._randomness.draw(TAG_SIZE)
        while self.catalog.session_by_tag(tag) is not None:
            tag = self._randomness.draw(TAG_SIZE)
        return tag

    def note(self, row: Row) -> None:
        """Tell the catalogue of a committed record; now and then, sign what was sealed meanwhile.

        The record is durable, so nothing here fails the call that made it: the catalogue catches up at the next open, and a
        segment that could not be signed is tried again then.
        """
        with suppress(Closed):
            self.catalog.note(row)
        self._since_housekeeping += 1
        if self._since_housekeeping >= HOUSEKEEPING_RECORDS:
            self._since_housekeeping = 0
            with suppress(AegisError):
                self._sign_segments()

    def lost_track(self) -> None:
        """A call did not come to its end: there may be records that nobody noted."""
        self._lost = object()

    def catch_up(self) -> None:
        """Take in what the catalogue does not know: a writer's records in a reader, those of interrupted calls in a writer."""
        if self._mode == "r":
            self._engine.refresh()
            self._index_rest(alone=True)
        elif self._found is not self._lost:
            lost = self._lost
            self.records.flush()
            self._index_rest(alone=False)
            self._found = lost

    # ---- within -----------------------------------------------------------------------------------------------------------

    def _all_rows(self) -> Iterable[Row | Stretch]:
        return whole(self.records)

    def _index_rest(self, *, alone: bool) -> None:
        """Tell the catalogue what it has not seen of the log; in bulk, if that is all of it and nobody notes meanwhile."""
        with self._lock:
            covered = self.catalog.covered(self.records.tier)
            if covered < self.records.size():
                bulk = alone and covered == 0
                self.catalog.apply(self._all_rows() if bulk else rows_of(self.records, covered))

    def _sign_segments(self) -> None:
        """Sign the footers of sealed segments, off the commit path."""
        if self._mode == "r":
            return
        for footer in self._engine.segments(Tier.SESSION):
            if footer.position < self._unsigned_from or not footer.sealed:
                continue
            if footer.signature is None:
                message = verification.footer_message(footer)
                self._engine.sign_segment(Tier.SESSION, footer.position, self.keys.log.sign(message))
            self._unsigned_from = footer.position + 1


def tier_named(tier: str | Tier) -> Tier:
    """The tier of a name. InvalidArgument if there is none."""
    if isinstance(tier, Tier):
        return tier
    try:
        return Tier.labelled(tier)
    except KeyError:
        names = ", ".join(each.label for each in Tier)
        raise InvalidArgument(f"there is no tier {tier!r}: {names}", op="tier") from None


def _as_head(anchor: Head | SignedHead, store_id: bytes) -> Head:
    """The head in what a caller has kept. InvalidArgument if it says that it is another store's."""
    if isinstance(anchor, Head):
        return anchor
    if anchor.store_id != store_id:
        raise InvalidArgument(f"an anchor is a head of store {anchor.store_id.hex()}, and this is {store_id.hex()}", op="open")
    return anchor.head


def disk_bytes(folder: Path) -> int:
    """What a folder takes on its file system, everything in it counted: allocated blocks, as `du` counts them."""
    total = 0
    for root, folders, files in os.walk(folder):
        for each in (*folders, *files):
            try:
                total += os.lstat(os.path.join(root, each)).st_blocks * 512
            except FileNotFoundError:
                continue  # a file that was replaced while we looked
    return total


def _demand_name(name: str, what: str, *, op: str) -> None:
    """InvalidArgument for what is no name: a str that a record of its session, or a key file, has room for."""
    if type(name) is not str:
        raise InvalidArgument(f"a name is a str, and this {what} is of type {type(name).__name__}", op=op)
    if len(name) > NAME_CHARACTERS_MAX:
        raise InvalidArgument(f"this {what} has {len(name):,} characters, and the limit is {NAME_CHARACTERS_MAX:,}", op=op)


def _demand_keys(engine: Engine, keys: KeyDirectory) -> None:
    """KeysWrong where the store was made with another log key or enrolment key than the directory holds."""
    about = engine.describe()
    try:
        meta = msgspec.msgpack.decode(about.meta, type=_Meta)
    except msgspec.DecodeError:
        raise Corrupt("the manifest does not say which keys the store has", op="open", path=engine.path) from None
    keys.demand(store_id=about.store_id, log_key=meta.log_key, enrolment_key=meta.enrolment_key)


def _keys_for(place: Path, key_place: Path, *, mode: Mode, name: str | None, randomness: Randomness) -> KeyDirectory:
    """The key directory of a store: that which is there, or a new one for a store that is new."""
    there = _store_at(place)
    if there or mode == "r" or key_place.exists():
        if not there and mode == "r":
            raise NotAStore(
                "there is no store here",
                op="open",
                path=str(place),
                hint='give the directory that holds MANIFEST, or make a store there with mode="a"',
            )
        keys = KeyDirectory.load(key_place, randomness=randomness)
        lost = [head for head in keys.released().values() if head.size > 0]
        if not there and lost:
            raise RolledBack(
                f"the store is gone: its key directory remembers {lost[0].size} records of tier {lost[0].tier.label}",
                op="open",
                path=str(place),
                hint=f"put the store back from a copy; to begin a new one, move {key_place} away first",
            )
        return keys
    return KeyDirectory.create(
        key_place,
        store_id=randomness.draw(STORE_ID_SIZE),
        name=place.name if name is None else name,
        randomness=randomness,
    )


def _place(path: str | os.PathLike[str]) -> Path:
    """A path as an absolute one with a name. InvalidArgument for what can be no store's."""
    text = os.fspath(path)
    if not text or "\0" in text:
        raise InvalidArgument(f"{text!r} is no path: it is empty or holds a zero character", op="open")
    place = Path(os.path.abspath(text))
    if not place.name:
        raise InvalidArgument(f"{place} is no place for a store: it has no name", op="open", path=str(place))
    return place


def _store_at(place: Path) -> bool:
    """Whether there is anything at `place` that is, or was, a store. NotAStore: there is something else."""
    try:
        names = {entry.name for entry in os.scandir(place)}
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        raise NotAStore("a store is a directory, and this is a file", op="open", path=str(place)) from None
    except OSError as error:
        raise StorageError(
            f"the directory cannot be read: {error.strerror}", op="open", path=str(place), hint=f"see who may: ls -ld {place}"
        ) from None
    if "MANIFEST" in names or names & {tier.label for tier in Tier}:
        return True
    strangers = sorted(names - {"LOCK", "MANIFEST.new", "lost+found"})
    if strangers:
        raise NotAStore(
            f"the directory holds something else: {strangers[0]}",
            op="open",
            path=str(place),
            hint="give a directory that is empty, or does not exist yet",
        )
    return False
