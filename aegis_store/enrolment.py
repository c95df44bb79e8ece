"""Which agents' keys a store allows, and taking one back.

A key counts in a log from its key-add record to its key-revoke record; each tier has its own. Revoking ends the key and not the
name: what it signed before stays good, a copy of it signs nothing more that anybody believes, and whoever writes in the agent's
name next has a new key. The file of the old one is kept in the key directory under another name.

    bar the name ──▶ let those who hold the key finish ──▶ key-revoke records, durable in each tier ──▶ put the file away

A crash in between leaves a key that some tiers allow and some do not. A revoked key is never enrolled again, in any tier, so it
writes nothing more in the latter; the call is repeated for the others.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from aegis_store.audit import Audit
from aegis_store.catalog import Catalog, KeyRecord
from aegis_store.chain import Chain
from aegis_store.errors import InvalidArgument, KeysWrong, NotFound, ReadOnly
from aegis_store.opening import demand_name
from aegis_store.records import Records
from aegis_store.trust.keys import KeyDirectory
from aegis_store.trust.signer import Signer
from aegis_store.types import LogIndex, Tier

#: Where the audit tier says that a key was revoked, and how.
SUBJECT: Final = "store/keys"
REVOKED: Final = "key.revoked"


class KeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A key that a store allows or allowed. `added` and `revoked` are the records that say so, by tier; `is_here`: the key
    directory has it, and signs with it in the agent's name."""

    agent: str
    key_id: str
    public_key: bytes
    added: dict[str, LogIndex]
    revoked: dict[str, LogIndex]
    is_here: bool

    @property
    def is_allowed(self) -> bool:
        """Whether it may sign in any tier."""
        return len(self.revoked) < len(self.added)


class Revoked(msgspec.Struct, frozen=True, kw_only=True):
    """What a revocation did: the keys, and the key-revoke records by tier (none where it was revoked before)."""

    agent: str
    key_ids: tuple[str, ...]
    records: dict[str, tuple[LogIndex, ...]]


class Owner(Protocol):
    """The store, as its enrolment sees it."""

    @property
    def path(self) -> Path: ...
    @property
    def agent(self) -> str: ...
    @property
    def catalog(self) -> Catalog: ...
    @property
    def keys(self) -> KeyDirectory: ...
    @property
    def audit(self) -> Audit: ...
    def catch_up(self) -> None: ...
    def check_open(self) -> None: ...
    def all_chains(self) -> Sequence[Chain]:
        """Those that somebody holds, of all tiers."""
        ...


class Enrolment:
    """The keys of one open store. Any number of threads may use it."""

    def __init__(self, owner: Owner, records: Mapping[Tier, Records], *, writes: bool) -> None:
        self._owner = owner
        self._records = records
        self._writes = writes
        self._signers: dict[tuple[str, Tier], Signer] = {}
        self._barred: set[str] = set()
        self._lock: Final = threading.Lock()
        self._revoking: Final = threading.Lock()

    # ---- signing ----------------------------------------------------------------------------------------------------------

    def signer(self, agent: str, tier: Tier = Tier.SESSION) -> Signer:
        """The agent's key, allowed by the tier's log from here on. Asked under the lock of the chain that is written to."""
        signer = self._signers.get((agent, tier))
        if signer is None:
            if not self._writes:
                raise ReadOnly(
                    "the store is open for reading",
                    op="checkpoint",
                    path=str(self._owner.path),
                    hint='open it with mode="a" to write',
                )
            # Looked for and enrolled as one: a key that is revoked in between must not come back.
            with self._lock:
                self._demand_free(agent)
                self._owner.catch_up()
                signer = self._good(agent)
                self._records[tier].enrol(signer, self._owner.keys.enrolment)
                self._signers[agent, tier] = signer
        return signer

    def _demand_free(self, agent: str) -> None:
        if agent in self._barred:
            raise KeysWrong(
                f"the key of agent {agent!r} is being revoked",
                op="sign",
                path=str(self._owner.path),
                hint="try again when it is",
            )

    def _good(self, agent: str) -> Signer:
        """The agent's key, another one where that was revoked."""
        keys = self._owner.keys
        signer = keys.agent(agent, taken=self._taken())
        while any(
            each.public_key == signer.public_key and each.revoked is not None
            for tier in self._records
            for each in self._owner.catalog.key(tier, signer.key_id)
        ):
            keys.retire(agent)
            signer = keys.agent(agent, taken=self._taken())
        return signer

    def _taken(self) -> Collection[bytes]:
        """Key ids that a new key must not have: two keys of one id are told apart by nobody."""
        known = {each.key_id for tier in self._records for each in self._owner.catalog.keys(tier)}
        return known | {each.key_id for each in self._owner.keys.agents()} | {self._owner.keys.enrolment.key_id}

    # ---- looking ----------------------------------------------------------------------------------------------------------

    def infos(self) -> list[KeyInfo]:
        """Every agent's key that a log of the store allows or allowed, by agent, oldest first."""
        self._owner.catch_up()
        here = {each.public_key for each in self._owner.keys.agents()}
        found: dict[bytes, list[KeyRecord]] = {}
        for tier in self._records:
            for each in self._owner.catalog.keys(tier):
                found.setdefault(each.public_key, []).append(each)
        infos = [
            KeyInfo(
                agent=times[0].agent,
                key_id=times[0].key_id.hex(),
                public_key=key,
                added={each.tier.label: each.added for each in times},
                revoked={each.tier.label: each.revoked for each in times if each.revoked is not None},
                is_here=key in here,
            )
            for key, times in found.items()
        ]
        return sorted(infos, key=lambda each: (each.agent, sorted(each.added.values())))

    # ---- revoking ---------------------------------------------------------------------------------------------------------

    def revoke(self, agent: str, *, reason: str, by: str) -> Revoked:
        """See `Store.revoke_key`."""
        self._owner.check_open()
        for text, what in ((agent, "agent"), (reason, "reason"), (by, "name")):
            demand_name(text, what, op="revoke")
        if not reason:
            raise InvalidArgument("a revocation says why: give a reason", op="revoke")
        if not self._writes:
            raise ReadOnly(
                "the store is open for reading", op="revoke", path=str(self._owner.path), hint='open it with mode="a"'
            )
        with self._revoking:
            self._owner.catch_up()
            standing = {
                tier: [each for each in self._owner.catalog.keys(tier) if each.agent == agent and each.revoked is None]
                for tier in self._records
            }
            if not any(standing.values()):
                raise NotFound(
                    f"no key of agent {agent!r} is allowed in this store",
                    op="revoke",
                    path=str(self._owner.path),
                    hint=f"see which are: aegis keys list {shlex.quote(str(self._owner.path))}",
                )
            with self._lock:
                self._barred.add(agent)
                for key in [key for key in self._signers if key[0] == agent]:
                    del self._signers[key]
            try:
                for chain in self._owner.all_chains():
                    with chain.lock:  # whoever had the key has queued what it signed, before what revokes it
                        pass
                done = self._write(standing, reason)
                self._owner.keys.retire(agent)
            finally:
                self._barred.discard(agent)
        ids = tuple(sorted({each.key_id.hex() for times in standing.values() for each in times}))
        details = {
            "agent": agent,
            "key_ids": list(ids),
            "reason": reason,
            "records": {key: list(each) for key, each in done.items()},
        }
        self._owner.audit.record(by, REVOKED, SUBJECT, details)
        return Revoked(agent=agent, key_ids=ids, records=done)

    def _write(self, standing: Mapping[Tier, Sequence[KeyRecord]], reason: str) -> dict[str, tuple[LogIndex, ...]]:
        """Key-revoke records, durable in each tier when this returns."""
        enrolment = self._owner.keys.enrolment
        return {
            tier.label: tuple(self._records[tier].revoke(key, enrolment, reason=reason) for key in times)
            for tier, times in standing.items()
            if times
        }
