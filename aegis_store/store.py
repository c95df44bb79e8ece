"""A store, open: its keys, its engine, its catalogue, and the sessions in it.

Opening is where everything comes together: the key directory says who we are, the engine recovers the logs, the catalogue is
vouched for or built again, and the heads that were released before are demanded of what was found.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Final, Self

import msgspec
from blake3 import blake3

from aegis_store import verification
from aegis_store._engine import Engine, Footer, Report
from aegis_store.audit import Audit
from aegis_store.autosave import Autosaver
from aegis_store.catalog import Catalog, CheckpointMade, Row, Stretch
from aegis_store.chain import Chain
from aegis_store.codec.registry import StateTypes
from aegis_store.compaction import Compacted, Stage
from aegis_store.config import Config
from aegis_store.enrolment import Enrolment, KeyInfo, Revoked
from aegis_store.erasure import WAIT_SECONDS, Erasure
from aegis_store.errors import AegisError, Closed, InvalidArgument, KeysWrong, NotFound, ReadOnly, UsedAfterFork
from aegis_store.heads import Heads
from aegis_store.health import Health, Lookout, gather, health
from aegis_store.health.verified import note_verified
from aegis_store.holding import HoldInfo
from aegis_store.housekeeping import Housekeeping
from aegis_store.incidents import Incidents
from aegis_store.indexing import rows_of, whole
from aegis_store.keeping import Compaction, Keeping
from aegis_store.memory import Memory
from aegis_store.open_tier import OpenTier, tier_named
from aegis_store.opening import (
    KEYS_SUFFIX,
    Anchor,
    Mode,
    anchor_heads,
    config_of,
    demand_keys,
    demand_mode,
    demand_name,
    keys_for,
    place_of,
    store_meta,
)
from aegis_store.records import Records
from aegis_store.retention.sweeper import Retained, Watcher
from aegis_store.rules import Rule, in_order
from aegis_store.schema.entry import TAG_SIZE
from aegis_store.session import Session, SessionInfo, session_info
from aegis_store.stats import CATALOG_FOLDER, StoreStats, stats_of
from aegis_store.trust.heads import SignedHead
from aegis_store.trust.keys import KeyDirectory, SystemRandomness
from aegis_store.trust.signer import Signer
from aegis_store.types import LINK_OF, Clock, Head, Randomness, Ref, SystemClock, Tier

DEFAULT_AGENT: Final = "agent"

_CATALOG_CONTEXT: Final = "aegis-store 2026 catalogue sidecar"
_REQUEST_CONTEXT: Final = "aegis-store 2026 request tags"
#: Checkpoints after which sealed segments that are not signed yet are looked for.
HOUSEKEEPING_RECORDS: Final = 1024
SESSIONS_PAGE: Final = 256
#: Of `state_cache_bytes`, what a tier takes at the most: of events nothing is made.
CACHE_SHARES: Final = {Tier.SESSION: 1 << 62, Tier.MEMORY: 8 << 20, Tier.AUDIT: 0}
#: Sessions that are remembered though nobody holds them: about a kilobyte each.
RECENT_SESSIONS: Final = 4096


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
        types: StateTypes,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self.path: Final = path
        self.agent: Final = agent
        self.config: Final = config
        self.types: Final = types
        self.keys: Final = keys
        self._engine = engine
        #: Closed, UsedAfterFork: asked before any lock, for in a forked child a lock may never be let go.
        self.check_open: Final = engine.demand_open
        self._mode = mode
        self.clock: Final = clock
        self._randomness = randomness
        self._lock = threading.Lock()
        self._sessions: weakref.WeakValueDictionary[tuple[str, str], Session] = weakref.WeakValueDictionary()
        self._chains: weakref.WeakValueDictionary[str, Chain] = weakref.WeakValueDictionary()
        # The newest are held, for callers that ask for a session anew each time: it takes time to find and believe one.
        self._recent: OrderedDict[str, Chain] = OrderedDict()
        # A mark of the last call that did not come to its end, and of the last one whose records were looked for.
        self._lost: object = None
        self._found: object = None
        self._unsigned_from: dict[Tier, int] = {}
        self._since_housekeeping = 0
        self._housekeeping: Final = Housekeeping(self._keep_house)
        self._closed = False
        self.catalog: Final = Catalog.open(
            path / CATALOG_FOLDER,
            store_id=keys.store_id,
            mac_key=blake3(keys.secret, derive_key_context=_CATALOG_CONTEXT).digest(),
            log_sizes={tier: engine.size(tier) for tier in LINK_OF},
            root_at=lambda tier, size: engine.head(tier, size).root,
            refill=self._all_rows,
            writable=mode != "r",
            due=self._housekeeping.due,
        )
        self._records: Final = {tier: self._records_of(tier) for tier in LINK_OF}
        self._enrolment: Final = Enrolment(self, self._records, writes=mode != "r")
        #: The agent's key, allowed by the tier's log from here on.
        self.signer_for: Final = self._enrolment.signer
        #: Of the session tier.
        self.records: Final = self._records[Tier.SESSION]
        self.keeping: Final = Keeping(self)
        #: The tiers beside that of sessions.
        self.open_tiers: Final = [OpenTier(self, self._records[tier]) for tier in (Tier.AUDIT, Tier.MEMORY)]
        self.audit: Final = Audit(self.open_tiers[0])
        self.heads: Final = Heads(self.audit, engine, keys, config, writes=mode != "r")
        self.incidents: Final = Incidents(self, writes=mode != "r")
        self.memory: Final = Memory(self.open_tiers[1], config.memory)
        #: What saves sessions by a timer.
        self.autosaver: Final = Autosaver(self, told=self._housekeeping.due)
        #: What it knows of itself for those who ask whether it is well.
        self.lookout: Final = Lookout(self, engine, self._records, writes=mode != "r", look=partial(gather, self))
        self.lookout.timers = self.autosaver

    def _records_of(self, tier: Tier) -> Records:
        keys, config = self.keys, self.config
        return Records(
            self._engine,
            self.catalog,
            tier,
            store_id=keys.store_id,
            enrolment_key=keys.enrolment.public_key,
            log_signer=keys.log,
            request_key=blake3(keys.secret, derive_key_context=_REQUEST_CONTEXT).digest(),
            clock=self.clock,
            randomness=self._randomness,
            state_limit_bytes=config.state_limit_bytes,
            state_cache_bytes=min(config.state_cache_bytes, CACHE_SHARES[tier]),
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
        anchor: Anchor | Iterable[Anchor] | None = None,
        config: Config | str | os.PathLike[str] | None = None,
        types: Iterable[type] | Mapping[str, type] = (),
        clock: Clock | None = None,
        randomness: Randomness | None = None,
    ) -> Self:
        """See `aegis_store.open`."""
        place = place_of(path)
        key_place = place_of(keys) if keys is not None else place.with_name(place.name + KEYS_SUFFIX)
        demand_mode(mode, place)
        demand_name(agent, "agent", op="open")
        chosen = config_of(config)
        named = StateTypes(types)
        began = perf_counter()
        ticking: Clock = SystemClock() if clock is None else clock
        drawn: Randomness = SystemRandomness() if randomness is None else randomness
        directory = keys_for(place, key_place, mode=mode, name=name, randomness=drawn)
        engine = Engine.open(
            place,
            mode=mode,
            secret=directory.secret,
            store_id=directory.store_id,
            name=directory.name,
            meta=store_meta(directory, ticking),
            anchors=[*directory.released().values(), *anchor_heads(anchor, directory)],
            config=chosen,
        )
        try:
            demand_keys(engine, directory)
            store = cls(
                place, engine, directory, agent=agent, mode=mode, config=chosen, types=named, clock=ticking, randomness=drawn
            )
            try:
                store._index_rest(alone=True)
                store.heads.demand()
                store._sign_segments()
                if mode != "r":
                    store.keeping.resume()
                    store.memory.keeping.resume()
                    store.lookout.open_seconds = perf_counter() - began
            except BaseException:
                store.catalog.abandon()
                raise
        except BaseException:
            engine.abandon()
            raise
        return store

    def close(self) -> None:
        """Save what timers keep, make everything durable, sign what is sealed, remember the heads. The store is closed even
        where this raises.

        In a forked child it lets go of what the parent has open, and changes nothing.
        """
        try:
            self.check_open()
        except (Closed, UsedAfterFork):
            self._engine.close()
            return
        unsaved = self.autosaver.finish()
        with self._lock:
            if self._closed:
                return
            self._closed = True
        heads: list[Head] = []
        try:
            try:
                self.memory.finish()
                self.keeping.finish()
                self.memory.keeping.finish()
                self._housekeeping.finish()
                self.heads.record_at_close()
                self._sign_segments()
                self.lookout.finish()
                if self._mode != "r":
                    heads = [self._engine.head(tier) for tier in Tier if self._engine.size(tier) > 0]
            finally:
                # A catalogue with gaps is not vouched for: the next open is to find out about them too.
                if any(records.suspects for records in self._records.values()):
                    self.catalog.abandon()
                else:
                    self.catalog.close()
        finally:
            self._engine.close()
        # Only now is it certain that the heads are those of what the next open will find.
        for head in heads:
            self.keys.record_released(head)
        if unsaved is not None:
            raise unsaved  # the last state of a session that a timer kept

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
        key = session_id, self.agent if agent is None else agent
        with self._lock:
            session = self._sessions.get(key) if type(session_id) is type(key[1]) is str else None
            if session is None:
                demand_name(session_id, "session id", op="session")
                demand_name(key[1], "agent", op="session")
                chain = self._chain_of(session_id)
                self._recent[session_id] = chain
                self._recent.move_to_end(session_id)
                if len(self._recent) > RECENT_SESSIONS:
                    self._recent.popitem(last=False)
                session = self._sessions[key] = Session(self, chain, key[1])
        return session

    def _chain_of(self, session_id: str) -> Chain:
        chain = self._chains.get(session_id)
        if chain is None:
            chain = self._chains[session_id] = Chain(self, session_id)
        return chain

    def sessions(
        self,
        *,
        agent: str | None = None,
        open: bool | None = None,
        prefix: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> Iterator[SessionInfo]:
        """Sessions, oldest first, read in pages as they are asked for.

        Only those that `agent` began, that are open (or ended, with `open=False`), whose id starts with `prefix`; at most
        `limit`; with `after`, those that began after the session of that id, which is how a list goes on. NotFound: there is
        none of it.
        """
        if limit is not None and limit < 0:
            raise InvalidArgument(f"limit is {limit}", op="sessions")
        self.check_open()
        self.catch_up()
        number: int | None = None
        if after is not None:
            last = self.catalog.session(after)
            if last is None:
                raise NotFound(f"there is no session {after!r} to go on after", op="sessions", path=str(self.path))
            number = last.number
        return islice(self._infos(number, agent, open, prefix), limit)

    def _infos(self, after: int | None, agent: str | None, is_open: bool | None, prefix: str | None) -> Iterator[SessionInfo]:
        while page := self.catalog.sessions(after=after, limit=SESSIONS_PAGE):
            for each in page:
                if (
                    (agent is None or each.agent == agent)
                    and (is_open is None or (each.ended is None) == is_open)
                    and (prefix is None or each.id.startswith(prefix))
                ):
                    yield session_info(each)
            after = page[-1].number

    # ---- what stays and what goes -----------------------------------------------------------------------------------------

    def retain(self, rules: Sequence[Rule] | None = None, *, dry_run: bool = False, watch: Watcher | None = None) -> Retained:
        """Let go what the rules do not keep: those given, or the store's options'. Without any, everything stays.

        What goes is written down in a prune record, durable when this returns, and reads as pruned from then on. The space
        comes back with `compact`. On a dry run nothing is written; the decisions say what would go, and why what stays does.
        """
        self.check_open()
        chosen = self.config.retention if rules is None else in_order(rules)
        found = self.keeping.sweeper.sweep(chosen, dry_run=dry_run, watch=watch)
        if not any(rule.tier == Tier.MEMORY.label for rule in chosen):
            return found
        also = self.memory.keeping.sweeper.sweep(chosen, dry_run=dry_run, watch=watch)
        return msgspec.structs.replace(found, memory=also)

    def compact(self, *, bytes_a_second: int | None = None, watch: Callable[[Stage], object] | None = None) -> Compacted:
        """Take out of the files what was pruned or erased. No root, proof or signature changes, and appends go on meanwhile.

        `bytes_a_second` is the pace at most; `watch` is told how far it is. Conflict: another thread compacts already. NoSpace:
        the largest segment needs room beside itself; nothing was changed that was not done."""
        self.check_open()
        done = self.keeping.compact(bytes_a_second=bytes_a_second, watch=watch)
        return done.and_then(self.memory.keeping.compact(bytes_a_second=bytes_a_second, watch=watch))

    def start_compaction(self, *, bytes_a_second: int | None = None) -> Compaction:
        """The same in a thread of its own, or the one that is at work. Closing the store stops it; the next one goes on."""
        self.check_open()
        self.catch_up()
        return self.keeping.start_compaction(bytes_a_second=bytes_a_second, also=[self.memory.keeping])

    def erase(
        self,
        *,
        session: str,
        ordinal: int | None = None,
        reason: str,
        by: str | None = None,
        forks: bool = False,
        wait_seconds: float = WAIT_SECONDS,
    ) -> Erasure:
        """Erase a session (see `Session.erase`), or with `ordinal` what one checkpoint of it holds.

        A checkpoint's neighbours usually hold most of the same text: erase them too. `by` is the store's agent if nobody is
        named."""
        self.check_open()
        who = self.agent if by is None else by
        if ordinal is None:
            return self.keeping.eraser.session(session, reason=reason, by=who, forks=forks, wait_seconds=wait_seconds)
        if forks:
            raise InvalidArgument("forks go with a whole session, not with one checkpoint", op="erase")
        return self.keeping.eraser.checkpoint(session, ordinal, reason=reason, by=who, wait_seconds=wait_seconds)

    def holds(self) -> list[HoldInfo]:
        """The holds that stand, oldest first. They are placed by `Session.hold`."""
        self.check_open()
        return self.keeping.holds.infos()

    def release(self, hold: int, *, reason: str, by: str | None = None) -> None:
        """Let a hold go, by its number; durable when this returns. NotFound: none of that number stands."""
        self.check_open()
        self.keeping.holds.release(hold, reason=reason, by=self.agent if by is None else by)

    # ---- who may sign -----------------------------------------------------------------------------------------------------

    def agent_keys(self) -> list[KeyInfo]:
        """The agents' keys that the store allows or allowed."""
        self.check_open()
        return self._enrolment.infos()

    def revoke_key(self, agent: str, *, reason: str, by: str | None = None) -> Revoked:
        """Let an agent's key sign nothing more, in any tier; durable in all of them when this returns, and an audit event.

        What it signed before stays good. Who writes in the agent's name from now on has a new key. NotFound: no key of that
        name is allowed. Whatever interrupts it, it can be repeated.
        """
        return self._enrolment.revoke(agent, reason=reason, by=self.agent if by is None else by)

    # ---- the whole --------------------------------------------------------------------------------------------------------

    def head(self, tier: str | Tier = Tier.SESSION) -> SignedHead:
        """The tree head of a tier, signed by the log key, to be kept outside: hand it in as an anchor at a later open.

        Before it is returned a writer records it in the audit tier, durably, and it is remembered in the key directory, so that
        no other root of that size is ever signed.
        """
        which = tier_named(tier)
        self.catch_up()
        return self.heads.release(which)

    def inclusion(self, ref: Ref, size: int | None = None) -> list[bytes]:
        """Hashes [32] that lead from a checkpoint's leaf to the root at `size` (RFC 6962, 2.1.1)."""
        return self._engine.inclusion(ref.tier, ref.index, size)

    def consistency(self, old: Head, size: int | None = None) -> list[bytes]:
        """Hashes [32] that show that an older head is a prefix of the log at `size` (RFC 6962, 2.1.2)."""
        return self._engine.consistency(old.tier, old.size, size)

    def verify(
        self,
        *,
        deep: bool = False,
        watch: verification.Watcher | None = None,
        tiers: Collection[str | Tier] | None = None,
        jobs: int | None = None,
    ) -> verification.Result:
        """Read every byte again and recompute the trees; `deep` also checks every signature, envelope and chain.

        `tiers` are all of them, if not said otherwise. Findings are listed, not raised. `watch(tier, what, done, total)` is
        called as the work goes on. `jobs` threads check signatures, as many as there are processors.
        """
        self.catch_up()
        only = None if tiers is None else {tier_named(each) for each in tiers}
        found = verification.verify(
            self._engine, self._records, self.keys.log.public_key, deep=deep, watch=watch, only=only, jobs=jobs
        )
        found = self.heads.also(found, only)
        if tiers is None:
            note_verified(self.keys, found, self.clock.now_ms())
        return found

    def health(self) -> Health:
        """Whether the store is well, and what to do where it is not, as `aegis health` says it. Changes nothing."""
        self.catch_up()
        return health(self)

    def stats(self) -> StoreStats:
        """The store in numbers."""
        return stats_of(self.path, self._engine, self.catalog)

    # ---- for sessions -----------------------------------------------------------------------------------------------------

    @property
    def is_writable(self) -> bool:
        """Whether it is open for writing."""
        return self._mode != "r"

    def store_signer(self, op: str) -> Signer:
        """The log key, for what is the store's own."""
        if self._mode == "r":
            raise ReadOnly("the store is open for reading", op=op, path=str(self.path), hint='open it with mode="a" to write')
        return self.keys.log

    def chains(self) -> list[Chain]:
        """What is held of sessions."""
        with self._lock:
            return list(self._chains.values())

    def all_chains(self) -> list[Chain]:
        """What is held of the chains of all tiers."""
        return [*self.chains(), *(each for tier in self.open_tiers for each in tier.chains())]

    def chain_of(self, session_id: str) -> Chain:
        """What all objects of a session share."""
        with self._lock:
            return self._chain_of(session_id)

    def forget_session(self, session_id: str) -> None:
        """Whoever asks for the session from now on gets a new one."""
        with self._lock:
            self._chains.pop(session_id, None)
            self._recent.pop(session_id, None)
            for key in [key for key in self._sessions if key[0] == session_id]:
                self._sessions.pop(key, None)

    def role_of(self, agent: str) -> str | None:
        """What the options say that an agent is there for."""
        return self.config.roles.get(agent)

    def demand_no_incident(self, session_id: str) -> None:
        """IncidentOpen: a security incident of the session is open."""
        self.incidents.demand_none(session_id)

    def draw_tag(self) -> bytes:
        """A session tag that was never drawn."""
        tag = self._randomness.draw(TAG_SIZE)
        while self.catalog.session_by_tag(tag) is not None:
            tag = self._randomness.draw(TAG_SIZE)
        return tag

    def note(self, row: Row) -> None:
        """Tell the catalogue of a committed record. It is durable, so nothing here fails the call that made it."""
        try:  # noqa: SIM105 - suppress() costs as much as the note
            self.catalog.note(row)
        except Closed:
            pass
        self._since_housekeeping += 1
        heads_due = type(row) is CheckpointMade and self.heads.is_due(row.time_ms)
        if heads_due or self._since_housekeeping >= HOUSEKEEPING_RECORDS:
            self._since_housekeeping = 0
            self._housekeeping.due()

    def _keep_house(self) -> None:
        """Write the catalogue's rows and sign what was sealed. What fails is tried again, at the next open at last."""
        with suppress(AegisError):
            self.catalog.flush()
            self._sign_segments()
            self.heads.record_due()
        self.lookout.turn()

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
            for records in self._records.values():
                records.flush()
            self._index_rest(alone=False)
            self._found = lost

    def take_in(self, tier: Tier, size: int) -> None:
        """See to it that the catalogue knows every record of a tier below `size`, which are durable."""
        if self.catalog.covered(tier) < size:
            self._index_rest(alone=False)

    # ---- within -----------------------------------------------------------------------------------------------------------

    def _all_rows(self) -> Iterator[Row | Stretch]:
        for records in self._records.values():
            yield from whole(records)

    def _index_rest(self, *, alone: bool) -> None:
        """Tell the catalogue what it has not seen of the log; in bulk, if that is all of it and nobody notes meanwhile."""
        with self._lock:
            for tier, records in self._records.items() if self.catalog.is_read else ():
                covered = self.catalog.covered(tier)
                if covered < records.size():
                    self.catalog.apply(whole(records) if alone and covered == 0 else rows_of(records, covered))

    def _sign_segments(self) -> None:
        """Sign the footers of sealed segments, off the commit path."""
        if self._mode != "r":
            for tier in self._records:
                self._sign_segments_of(tier)

    def _sign_segments_of(self, tier: Tier) -> None:
        newest: Footer | None = None
        # A damaged footer is not signed, and keeps no other from being: verifying names it.
        for footer in self._engine.segments(tier, lambda error: None):
            if footer.position < self._unsigned_from.get(tier, 0) or not footer.sealed:
                continue
            if footer.signature is None:
                self.sign_segment(footer, tier)
            else:
                newest = footer
            self._unsigned_from[tier] = footer.position + 1
        if newest is not None:
            # A crash may have cut it short; not those before it, for each was synced before the next was begun. Where another
            # one stands, verify says so.
            with suppress(KeysWrong):
                self.sign_segment(newest, tier)

    def sign_segment(self, footer: Footer, tier: Tier = Tier.SESSION) -> None:
        """Sign the footer of a sealed segment."""
        signature = self.keys.log.sign(verification.footer_message(footer))
        with suppress(NotFound):  # rewritten since: the file that took its place is signed when its turn comes
            self._engine.sign_segment(tier, footer.position, signature, segment=footer.segment)
