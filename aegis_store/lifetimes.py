"""How long what the memory holds is there, as data: defaults for namespaces as a program or a file writes them.

Plain values, checked when they are made and frozen from then on. They stand down here because the options of a store hold them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from aegis_store.amounts import SECONDS, parsed
from aegis_store.errors import InvalidArgument

#: About 300 years, so that no sum of it and a time is out of range.
TTL_SECONDS_MAX: Final = 10_000_000_000


class Lifetime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for the items of a namespace and those below it, where a put does not say otherwise.

    InvalidArgument names the key and what it allows."""

    #: The parts that the namespace begins with; none: any namespace.
    namespace: Sequence[str] = ()
    #: Until an item expires: seconds, or text such as "30d", "12h", "90m", "45s". None: never. Kept as seconds.
    ttl: float | str | None = None
    #: Whether a read moves the expiry, so that what is used stays.
    refresh_on_read: bool = True

    def __post_init__(self) -> None:
        parts: object = self.namespace
        if not isinstance(parts, (list, tuple)) or not all(isinstance(each, str) for each in parts):
            raise InvalidArgument(f"namespace is {parts!r}, not a list of names such as ['users']")
        if not isinstance(self.refresh_on_read, bool):
            raise InvalidArgument(f"refresh_on_read is {self.refresh_on_read!r}, not True or False")
        msgspec.structs.force_setattr(self, "namespace", tuple(parts))
        msgspec.structs.force_setattr(self, "ttl", None if self.ttl is None else ttl_of(self.ttl))

    @property
    def ttl_seconds(self) -> float | None:
        """`ttl`, for readers that want a number."""
        return None if self.ttl is None else float(self.ttl)


def ttl_of(given: object) -> float:
    """Seconds above 0, from a number or text. InvalidArgument: it is neither."""
    seconds = parsed(given, SECONDS) if isinstance(given, str) else given
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= TTL_SECONDS_MAX:
        raise InvalidArgument(
            f"ttl is {given!r}, not seconds from above 0 to {TTL_SECONDS_MAX:,}, or text such as '30d', '12h', '90m', '45s'"
        )
    return seconds


def in_force(lifetimes: object) -> tuple[Lifetime, ...]:
    """The lifetimes, longest namespace first, so that the first that fits a namespace is its own. InvalidArgument: two are
    for one namespace."""
    if not isinstance(lifetimes, (list, tuple)):
        raise InvalidArgument(f"memory is {lifetimes!r}, not a list of lifetimes")
    seen: set[tuple[str, ...]] = set()
    for number, each in enumerate(lifetimes, 1):
        if not isinstance(each, Lifetime):
            raise InvalidArgument(f"memory lifetime {number} is {each!r}, not a Lifetime")
        if tuple(each.namespace) in seen:
            raise InvalidArgument(f"memory lifetime {number} is for a namespace that another one is for: {each.namespace!r}")
        seen.add(tuple(each.namespace))
    return tuple(sorted(lifetimes, key=lambda each: -len(each.namespace)))


def from_tables(tables: object) -> tuple[Lifetime, ...]:
    """The lifetimes in the tables [[memory]] of a TOML file. InvalidArgument names the table, by number from 1, and the key."""
    if not isinstance(tables, list) or not all(isinstance(each, Mapping) for each in tables):
        raise InvalidArgument("memory is not a list of tables", hint="each lifetime starts with a line [[memory]]")
    lifetimes = []
    for number, table in enumerate(tables, 1):
        for key in table:
            if key not in Lifetime.__struct_fields__:
                raise InvalidArgument(
                    f"memory lifetime {number}: there is no key {key}",
                    hint=f"the keys are {', '.join(Lifetime.__struct_fields__)}",
                )
        try:
            lifetimes.append(Lifetime(**table))
        except InvalidArgument as error:
            raise InvalidArgument(f"memory lifetime {number}: {error.message}", hint=error.hint) from None
    return in_force(lifetimes)
