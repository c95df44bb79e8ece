"""What a store's owner wants of each tier, as data: how much may be lost, and how long it may take to come back.

RPO (recovery point objective): the age of what would be lost if the machine went now. RTO (recovery time objective): how long
until the store serves again. Plain values, checked when they are made; how they are measured, `aegis_store.health` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from aegis_store import amounts
from aegis_store.errors import InvalidArgument
from aegis_store.types import Tier

#: Seconds between two checkpoints of a session that is kept by a timer, if nothing else was said.
CHECKPOINT_INTERVAL: Final = 300


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The targets of a tier: whole seconds, or text such as "5m". Kept as seconds. None: no target.

    An RPO of 0 allows no loss at all. InvalidArgument names the key and what it allows.
    """

    rpo: int | str | None = None
    rto: int | str | None = None

    def __post_init__(self) -> None:
        for key, least in (("rpo", 0), ("rto", 1)):
            value = getattr(self, key)
            if value is not None:
                msgspec.structs.force_setattr(self, key, amounts.seconds(key, value, least=least))

    @property
    def rpo_seconds(self) -> int | None:
        """`rpo`, for readers that want a number."""
        return None if self.rpo is None else int(self.rpo)

    @property
    def rto_seconds(self) -> int | None:
        """`rto`, for readers that want a number."""
        return None if self.rto is None else int(self.rto)


#: What a tier is measured against where its owner has set nothing: a yardstick, and no alarm. The RPO of the session tier is
#: the checkpoint interval.
USUAL: Final[Mapping[Tier, Target]] = MappingProxyType(
    {
        Tier.AUDIT: Target(rpo=0, rto="4h"),
        Tier.MEMORY: Target(rpo="15m", rto="1h"),
        Tier.SESSION: Target(rto="30m"),
        Tier.TELEMETRY: Target(rpo="24h", rto="4h"),
    }
)


def usual(tier: Tier, interval: int) -> Target:
    """The usual targets of a tier, where sessions are saved each `interval` seconds."""
    found = USUAL[tier]
    return msgspec.structs.replace(found, rpo=interval) if tier is Tier.SESSION else found


def from_tables(tables: object) -> dict[str, Target]:
    """The targets in the tables [targets.<tier>] of a TOML file, or in a mapping. InvalidArgument names the tier and the
    key."""
    if not isinstance(tables, Mapping):
        raise InvalidArgument(f"targets is {tables!r}, not a table of tiers and their targets")
    found = {}
    for tier, table in tables.items():
        if tier not in {each.label for each in Tier}:
            raise InvalidArgument(f"targets: there is no tier {tier!r}: {', '.join(each.label for each in Tier)}")
        if isinstance(table, Target):
            found[tier] = table
            continue
        if not isinstance(table, Mapping):
            raise InvalidArgument(f"targets.{tier} is {table!r}, not a table with rpo and rto")
        for key in table:
            if key not in Target.__struct_fields__:
                raise InvalidArgument(f"there is no option targets.{tier}.{key}", hint="the keys are rpo, rto")
        try:
            found[tier] = Target(**table)
        except InvalidArgument as error:
            raise InvalidArgument(f"targets.{tier}.{error.message}", hint=error.hint) from None
    return found


def intervals_from(table: object) -> dict[str, int]:
    """Roles and their checkpoint intervals in seconds. InvalidArgument names the role."""
    if not isinstance(table, Mapping) or not all(isinstance(role, str) for role in table):
        raise InvalidArgument(f"intervals is {table!r}, not a table of roles and seconds between checkpoints")
    return {role: amounts.seconds(f"intervals.{role}", each) for role, each in table.items()}
