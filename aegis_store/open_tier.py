"""One tier of an open store, as whoever writes and reads chains in it sees it: the audit tier's subjects, the memory's keys.

A session is a chain of records under one tag, and so is what an audit trail says of a subject, and what the memory holds
under a key: `chain`, `lineage`, `keeping` serve all of them. Here stands what differs from tier to tier, and everything else
is the store's.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

from aegis_store._engine import Footer
from aegis_store.catalog import Catalog, Row
from aegis_store.chain import Chain
from aegis_store.codec.registry import StateTypes
from aegis_store.errors import InvalidArgument
from aegis_store.keeping import Keeping
from aegis_store.records import Records
from aegis_store.trust.signer import Signer
from aegis_store.types import Clock, Tier
from aegis_store.write_once import refused

#: Chains that are remembered though nobody holds them: about a kilobyte each.
RECENT_CHAINS: Final = 4096


class Owner(Protocol):
    """The store, as its tiers see it."""

    @property
    def path(self) -> Path: ...
    @property
    def agent(self) -> str: ...
    @property
    def catalog(self) -> Catalog: ...
    @property
    def types(self) -> StateTypes: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def is_writable(self) -> bool: ...
    def check_open(self) -> None: ...
    def signer_for(self, agent: str, tier: Tier = Tier.SESSION) -> Signer: ...
    def store_signer(self, op: str) -> Signer: ...
    def role_of(self, agent: str) -> str | None: ...
    def draw_tag(self) -> bytes: ...
    def note(self, row: Row) -> None: ...
    def lost_track(self) -> None: ...
    def catch_up(self) -> None: ...
    def take_in(self, tier: Tier, size: int) -> None: ...
    def sign_segment(self, footer: Footer, tier: Tier = Tier.SESSION) -> None: ...


class OpenTier:
    """A tier of a store. Any number of threads may use it."""

    def __init__(self, owner: Owner, records: Records) -> None:
        self._owner = owner
        self.records: Final = records
        self._lock = threading.Lock()
        self._chains: weakref.WeakValueDictionary[str, Chain] = weakref.WeakValueDictionary()
        self._recent: OrderedDict[str, Chain] = OrderedDict()

    @property
    def tier(self) -> Tier:
        """Which one."""
        return self.records.tier

    @cached_property
    def keeping(self) -> Keeping:
        """What stays in it and what goes. WriteOnce: of the audit tier nothing does."""
        if self.tier is Tier.AUDIT:
            raise refused("nothing of it is held, pruned, erased or compacted", op="keep", path=self.path)
        return Keeping(self)

    # ---- chains -----------------------------------------------------------------------------------------------------------

    def chain_of(self, session_id: str) -> Chain:
        """The chain of that name, which begins with its first record."""
        with self._lock:
            chain = self._chains.get(session_id)
            if chain is None:
                chain = self._chains[session_id] = Chain(self, session_id)
            self._recent[session_id] = chain
            self._recent.move_to_end(session_id)
            if len(self._recent) > RECENT_CHAINS:
                self._recent.popitem(last=False)
            return chain

    def chains(self) -> list[Chain]:
        """Those that somebody holds."""
        with self._lock:
            return list(self._chains.values())

    def forget_session(self, session_id: str) -> None:
        """Whoever asks for the chain from now on gets a new one."""
        with self._lock:
            self._chains.pop(session_id, None)
            self._recent.pop(session_id, None)

    # ---- what is the store's ----------------------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        return self._owner.path

    @property
    def agent(self) -> str:
        return self._owner.agent

    @property
    def catalog(self) -> Catalog:
        return self._owner.catalog

    @property
    def types(self) -> StateTypes:
        return self._owner.types

    @property
    def clock(self) -> Clock:
        return self._owner.clock

    @property
    def is_writable(self) -> bool:
        """Whether the store is open for writing."""
        return self._owner.is_writable

    def check_open(self) -> None:
        self._owner.check_open()

    def signer_for(self, agent: str) -> Signer:
        """The agent's key, allowed by this tier's log from here on."""
        return self._owner.signer_for(agent, self.tier)

    def store_signer(self, op: str) -> Signer:
        return self._owner.store_signer(op)

    def role_of(self, agent: str) -> str | None:
        return self._owner.role_of(agent)

    def demand_no_incident(self, session_id: str) -> None:
        """What is said and remembered of a session goes on while its incident is open."""

    def draw_tag(self) -> bytes:
        return self._owner.draw_tag()

    def note(self, row: Row) -> None:
        self._owner.note(row)

    def lost_track(self) -> None:
        self._owner.lost_track()

    def catch_up(self) -> None:
        self._owner.catch_up()

    def take_in(self, size: int) -> None:
        """See to it that the catalogue knows every record below `size`, which are durable: of one that was committed just now,
        whoever did so may not have told it yet."""
        self._owner.take_in(self.tier, size)

    def sign_segment(self, footer: Footer) -> None:
        self._owner.sign_segment(footer, self.tier)


def tier_named(tier: str | Tier) -> Tier:
    """The tier of a name. InvalidArgument if there is none."""
    if isinstance(tier, Tier):
        return tier
    try:
        return Tier.labelled(tier)
    except KeyError:
        names = ", ".join(each.label for each in Tier)
        raise InvalidArgument(f"there is no tier {tier!r}: {names}", op="tier") from None
