"""Heads of the other tiers, in the audit tier: an older store beside a newer audit tier is noticed from inside.

    session   ─── 1,000 records ───────────── 2,400 ─────▶
                     │                          │
    audit     ──── head.recorded ────────── head.released ──▶      subject "store/heads", each with the signed note

A head is recorded where a tier has grown and the last one is older than `Config.heads_every`, at a clean close of a store that
has an audit tier, and before one is released by `Store.head`. At an open for writing the newest of each tier is demanded of
what is there, in a verification all of them are.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Final

import msgspec

from aegis_store._engine import Engine
from aegis_store.audit import Audit
from aegis_store.audit_chain import Event
from aegis_store.config import Config, Durability
from aegis_store.errors import AegisError, Corrupt, RolledBack
from aegis_store.trust.heads import SignedHead, open_head, sign_head, verifier_key
from aegis_store.trust.keys import KeyDirectory
from aegis_store.types import LINK_OF, Head, Tier
from aegis_store.verification import Finding, Result

SUBJECT: Final = "store/heads"
RECORDED: Final = "head.recorded"
RELEASED: Final = "head.released"
#: Who acts: the store itself.
ACTOR: Final = "aegis-store"
#: Events of the subject that an open looks at for the newest head of each tier.
LOOK: Final = 16

#: Of these heads are recorded. The audit tier's own would never be done.
_OTHERS: Final = tuple(tier for tier in LINK_OF if tier is not Tier.AUDIT)


class Heads:
    """The heads of one open store. Any number of threads may use it."""

    def __init__(self, audit: Audit, engine: Engine, keys: KeyDirectory, config: Config, *, writes: bool) -> None:
        self._audit = audit
        self._engine = engine
        self._keys = keys
        self._writes = writes
        # What was written and not synced may be lost in a power cut: a head of it would refuse what is left.
        self._synced = [tier for tier in _OTHERS if config.durability.of(tier) is Durability.COMMIT]
        self._every_ms = int(config.heads_every) * 1000
        self._lock = threading.Lock()
        #: The newest that is recorded of each tier.
        self._newest: dict[Tier, Head] = {}
        # When the next ones are due, by the times of records; None: nothing was written yet.
        self._due_ms: int | None = None
        self._is_due = False

    # ---- recording --------------------------------------------------------------------------------------------------------

    def is_due(self, time_ms: int) -> bool:
        """Whether it is time to record heads, now that a record of that time is there. Costs an append next to nothing."""
        if self._due_ms is None:
            self._due_ms = time_ms + self._every_ms
        elif time_ms >= self._due_ms:
            self._due_ms = time_ms + self._every_ms
            self._is_due = True
            return True
        return False

    def record_due(self) -> None:
        """Record the heads of what has grown, if it was time to since the last call."""
        if self._is_due:
            self._is_due = False
            self._record_grown()

    def record_at_close(self) -> None:
        """The same at the end, in a store that has an audit tier: none is made for that."""
        if self._writes and self._engine.size(Tier.AUDIT) > 0:
            with suppress(AegisError):  # what was acknowledged is there all the same, and the key directory remembers its heads
                self._record_grown()

    def release(self, tier: Tier) -> SignedHead:
        """The head of a tier, signed, to be handed out: recorded before, by a writer, and remembered in the key directory."""
        head = self._engine.head(tier)
        signed = self._sign(head)
        if self._writes and tier is not Tier.AUDIT and head.size > 0:
            with self._lock:
                self._record(head, signed, RELEASED)
        self._keys.record_released(head)
        return signed

    def _record_grown(self) -> None:
        with self._lock:
            for tier in self._synced:
                if self._engine.size(tier) > 0:
                    head = self._engine.head(tier)
                    self._record(head, self._sign(head), RECORDED)

    def _record(self, head: Head, signed: SignedHead, action: str) -> None:
        """Write a head down, durably, unless it is there already. The lock is held."""
        if self._newest.get(head.tier) == head:
            return
        note = signed.format().decode()
        details = {"tier": head.tier.label, "size": head.size, "root": head.root, "note": note}
        self._audit.record(ACTOR, action, SUBJECT, details)
        self._newest[head.tier] = head

    def _sign(self, head: Head) -> SignedHead:
        return sign_head(self._keys.store_id, head, self._keys.head_signer(head.tier))

    # ---- demanding --------------------------------------------------------------------------------------------------------

    def demand(self) -> None:
        """RolledBack: a tier is older than the newest of its heads that is recorded, or another one. For whoever opens the
        store for writing; where there are no audit events nothing is read."""
        if not self._writes or self._engine.size(Tier.AUDIT) == 0:
            return
        for event in self._latest():
            try:
                head = self._head_in(event)
            except AegisError:
                continue  # an agent's word alone keeps nobody out; verification names it
            if head.tier not in self._newest:
                problem = self._problem(head, event)
                if problem is not None:
                    raise RolledBack(
                        problem,
                        op="open",
                        path=self._engine.path,
                        tier=head.tier.label,
                        hint=f"nothing was written; what else is wrong: aegis verify {shlex.quote(self._engine.path)}",
                    )
                self._newest[head.tier] = head

    def _latest(self) -> Iterator[Event]:
        """The last events of the subject. What is damaged keeps nobody from opening: whoever asks for it is told."""
        with suppress(Corrupt):
            for event, _ in zip(self._audit.newest_first(SUBJECT), range(LOOK), strict=False):
                if len(self._newest) == len(_OTHERS):
                    return
                yield event

    def also(self, result: Result, only: Collection[Tier] | None) -> Result:
        """What a verification has found, of all tiers or `only` some, and what the heads show of them."""
        more = [each for each in self.findings() if only is None or each.tier in only]
        return msgspec.structs.replace(result, findings=(*result.findings, *more))

    def findings(self) -> Iterator[Finding]:
        """What is wrong with any head that is recorded. Damage to the events themselves is for others to name."""
        with suppress(AegisError):
            for event in self._audit.events(SUBJECT):
                try:
                    head = self._head_in(event)
                    problem, tier = self._problem(head, event), head.tier
                except AegisError as error:
                    problem, tier = f"record {event.ref.index} holds no head that the store signed: {error.message}", Tier.AUDIT
                if problem is not None:
                    yield Finding(tier=tier, problem=problem, index=event.ref.index if tier is Tier.AUDIT else None)

    def _head_in(self, event: Event) -> Head:
        """The head that an event records, if the log key signed it. Corrupt, BadSignature, BadProof: it did not."""
        try:
            details = msgspec.convert(event.details, _Details)
            tier = Tier.labelled(details.tier)
        except (msgspec.ValidationError, KeyError) as error:
            raise Corrupt(f"its details are not those of a head: {error}", op="audit") from None
        key = verifier_key(self._keys.store_id, tier, self._keys.log.public_key)
        head = open_head(details.note.encode(), log_key=key).head
        if head != Head(tier=tier, size=details.size, root=details.root) or tier not in _OTHERS:
            raise Corrupt("its note is of another head", op="audit")
        return head

    def _problem(self, head: Head, event: Event) -> str | None:
        """Why what is there is not what a head was of; None: it is."""
        size, record = self._engine.size(head.tier), event.ref.index
        if size < head.size:
            return (
                f"the {head.tier.label} tier has {size:,} records, and record {record} of the audit tier has its head at "
                f"{head.size:,}: this is an older copy of it"
            )
        if self._engine.head(head.tier, head.size).root != head.root:
            return (
                f"the first {head.size:,} records of the {head.tier.label} tier are not those that it had when record {record} "
                "of the audit tier was made"
            )
        return None


class _Details(msgspec.Struct, frozen=True, kw_only=True):
    tier: str
    size: int
    root: bytes
    note: str
