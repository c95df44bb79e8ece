"""How a store is made and opened, as one frozen value.

Sizes are in bytes. `align` and `segment_bytes` count when a store is made and are its own from then on; the rest holds for as
long as it is open. A value that cannot be meant is refused here, by name, before any file is touched.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Self, TypeVar

import msgspec

from aegis_store import amounts, lifetimes
from aegis_store.errors import InvalidArgument, StorageError
from aegis_store.lifetimes import Lifetime
from aegis_store.rules import Rule, from_tables, in_order
from aegis_store.targets import CHECKPOINT_INTERVAL, Target, intervals_from, usual
from aegis_store.targets import from_tables as targets_from
from aegis_store.types import Tier

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

SEGMENT_BYTES_MIN: Final = 64 * KIB
SEGMENT_BYTES_MAX: Final = 1 * GIB
CACHE_BYTES_MIN: Final = 64 * KIB
CACHE_BYTES_MAX: Final = 64 * GIB
#: The format keeps the length of an envelope in 32 bits.
STATE_LIMIT_BYTES_MAX: Final = (1 << 32) - 1

_Choice = TypeVar("_Choice", bound=StrEnum)


class Durability(StrEnum):
    """What an acknowledged record survives."""

    #: A power cut: each group of commits is synced.
    COMMIT = "commit"
    #: The death of the process: each group is written and left to the operating system.
    WRITE = "write"


class Align(StrEnum):
    """Where a group of records starts in its file."""

    #: Right after the one before. Assumes that a sector is written whole or not at all.
    PACKED = "packed"
    #: At a block of 4 KiB of its own, for devices that break that assumption. Costs space.
    BLOCK = "block"

    @property
    def bytes(self) -> int:
        """The alignment in bytes, as the format stores it."""
        return 4096 if self is Align.BLOCK else 8


class TierDurability(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The durability of each tier."""

    audit: Durability = Durability.COMMIT
    memory: Durability = Durability.COMMIT
    session: Durability = Durability.COMMIT
    telemetry: Durability = Durability.WRITE

    def __post_init__(self) -> None:
        for tier in Tier:
            _choose(self, tier.label, Durability, prefix="durability.")

    def of(self, tier: Tier) -> Durability:
        """The durability of one tier."""
        durability: Durability = getattr(self, tier.label)
        return durability


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of a store; the defaults are safe. InvalidArgument names the option and what it allows."""

    durability: TierDurability = msgspec.field(default_factory=TierDurability)
    align: Align = Align.PACKED
    #: Size at which a segment file is full: 64 KiB to 1 GiB.
    segment_bytes: int = 32 * MIB
    #: Memory for nodes of the tree, for each tier.
    cache_bytes: int = 4 * MIB
    #: Memory for the last states of sessions, which the next ones are stored as deltas to.
    state_cache_bytes: int = 64 * MIB
    #: The largest state that is stored or restored; checked before memory is taken for it.
    state_limit_bytes: int = 256 * MIB
    #: Allow writing on a network file system, whose locks and syncs may not do what they say.
    allow_network: bool = False
    #: What each agent is there for, as in {"planner-7": "planner"}: kept with the sessions that it begins.
    roles: Mapping[str, str] = msgspec.field(default_factory=dict)
    #: Which checkpoints stay when the store is swept, the first rule that fits a session being its own. None: all of them.
    retention: Sequence[Rule] = ()
    #: How long what the memory holds is there, by namespace, where a put does not say. None: for ever.
    memory: Sequence[Lifetime] = ()
    #: How old what would be lost may be, and how long coming back may take, as in {"session": {"rpo": "5m", "rto": "30m"}}. Of
    #: a tier that is named here a miss is a finding that needs attention, and an audit event.
    targets: Mapping[str, Target] = msgspec.field(default_factory=dict)
    #: Between two checkpoints of a session that is kept by a timer: whole seconds, or text such as "5m". Kept as seconds.
    checkpoint_interval: int | str = CHECKPOINT_INTERVAL
    #: The same for sessions of agents in a role, as in {"planner": "1m"}.
    intervals: Mapping[str, int | str] = msgspec.field(default_factory=dict)
    #: How old the newest head of a tier may get that the audit tier has recorded, while the tier grows: whole seconds, or text
    #: such as "1h". Kept as seconds.
    heads_every: int | str = "1h"

    def __hash__(self) -> int:
        return hash(tuple(tuple(each.items()) if isinstance(each, Mapping) else each for each in msgspec.structs.astuple(self)))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The options in a TOML file: the fields of this class, with tables [durability], [roles], [intervals],
        [targets.<tier>], [[retention]] for rules and [[memory]] for lifetimes.

        InvalidArgument names the file and the option; StorageError: the file cannot be read.
        """
        where = os.fspath(path)
        try:
            with open(where, "rb") as file:
                found: dict[str, Any] = tomllib.load(file)
            if isinstance(durability := found.get("durability"), dict):
                found["durability"] = _made(TierDurability, durability, "durability.")
            if "retention" in found:
                found["retention"] = from_tables(found["retention"])
            if "memory" in found:
                found["memory"] = lifetimes.from_tables(found["memory"])
            return _made(cls, found, "")
        except OSError as error:
            raise StorageError(
                f"the options cannot be read: {error.strerror}", op="open", path=where, hint=f"see who may: ls -l {where}"
            ) from None
        except InvalidArgument as error:
            raise type(error)(error.message, op="open", path=where, hint=error.hint) from None
        except (ValueError, RecursionError) as error:  # numbers of thousands of digits and nesting without end too
            raise InvalidArgument(f"this is not TOML: {error}", op="open", path=where) from None

    def __post_init__(self) -> None:
        if not isinstance(self.durability, TierDurability):
            raise InvalidArgument(f"durability is {self.durability!r}, not a TierDurability")
        _choose(self, "align", Align)
        _check_bytes("segment_bytes", self.segment_bytes, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
        _check_bytes("cache_bytes", self.cache_bytes, CACHE_BYTES_MIN, CACHE_BYTES_MAX)
        _check_bytes("state_cache_bytes", self.state_cache_bytes, 0, CACHE_BYTES_MAX)
        _check_bytes("state_limit_bytes", self.state_limit_bytes, 1, STATE_LIMIT_BYTES_MAX)
        if not isinstance(self.allow_network, bool):
            raise InvalidArgument(f"allow_network is {self.allow_network!r}, not True or False")
        given: object = self.roles
        if not isinstance(given, Mapping) or not all(type(each) is str for pair in given.items() for each in pair):
            raise InvalidArgument(f"roles is {self.roles!r}, not a table of agents and what they are there for")
        msgspec.structs.force_setattr(self, "roles", MappingProxyType(dict(self.roles)))
        msgspec.structs.force_setattr(self, "retention", in_order(self.retention))
        msgspec.structs.force_setattr(self, "memory", lifetimes.in_force(self.memory))
        msgspec.structs.force_setattr(self, "targets", MappingProxyType(targets_from(self.targets)))
        interval = amounts.seconds("checkpoint_interval", self.checkpoint_interval)
        msgspec.structs.force_setattr(self, "checkpoint_interval", interval)
        msgspec.structs.force_setattr(self, "intervals", MappingProxyType(intervals_from(self.intervals)))
        msgspec.structs.force_setattr(self, "heads_every", amounts.seconds("heads_every", self.heads_every))

    def interval_seconds(self, role: str | None) -> int:
        """Between two checkpoints of a session of an agent in that role."""
        own = None if role is None else self.intervals.get(role)
        return int(self.checkpoint_interval if own is None else own)

    def target(self, tier: Tier) -> Target:
        """What a tier is measured against: what was set for it, and what is usual where nothing was."""
        return self.targets.get(tier.label) or usual(tier, int(self.checkpoint_interval))


_Made = TypeVar("_Made", bound=msgspec.Struct)


def _made(struct: type[_Made], options: dict[str, Any], prefix: str) -> _Made:
    """The struct with these fields. InvalidArgument for one that it does not have."""
    known = struct.__struct_fields__
    for name in options:
        if name not in known:
            raise InvalidArgument(f"there is no option {prefix}{name}", hint=f"the options are {', '.join(known)}")
    return struct(**options)


def _choose(struct: msgspec.Struct, field: str, choices: type[_Choice], prefix: str = "") -> None:
    """Makes a plain string the choice of that name, so that `align="block"` is enough."""
    value: object = getattr(struct, field)
    if not isinstance(value, choices):
        if not isinstance(value, str) or value not in {*choices}:
            allowed = " or ".join(repr(str(choice)) for choice in choices)
            raise InvalidArgument(f"{prefix}{field} is {value!r}, not {allowed}")
        msgspec.structs.force_setattr(struct, field, choices(value))


def _check_bytes(field: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidArgument(f"{field} is {value!r}, not a whole number of bytes from {low:,} to {high:,}")
