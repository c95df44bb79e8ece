"""What is to be kept, as data: rules of retention as a program or a file writes them.

Plain values, checked when they are made and frozen from then on. What they mean for a session is told by `retention.policy`;
they stand down here because the options of a store hold them (docs/decisions/0015).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from aegis_store import amounts
from aegis_store.errors import InvalidArgument, WriteOnce
from aegis_store.types import Tier

#: Tiers that a rule may be for. The audit tier keeps everything, for ever.
TIERS: Final = tuple(tier.label for tier in (Tier.SESSION, Tier.MEMORY, Tier.TELEMETRY))
_BUDGET: Final = "whole bytes from 1, or text such as '2GiB', '500MB'"


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stays of the sessions of a tier that were begun in `role` (None: in any, or none).

    A checkpoint stays if any key keeps it. Whatever the keys say, the newest of a session, what is held, and what a fork
    goes on from stay. A rule without a key keeps everything; one with a `byte_budget` alone, everything within the budget.
    In the memory tier a key of that is a session and its versions are checkpoints, whose age counts from when the next came.
    InvalidArgument names the key and what it allows.
    """

    #: "session", "memory" or "telemetry".
    tier: str = Tier.SESSION.label
    role: str | None = None
    #: The newest so many of a session.
    keep_last: int | None = None
    #: What is younger: whole seconds, or text such as "30d", "12h", "90m", "45s". Kept as seconds.
    keep_age: int | str | None = None
    #: The newest of each of the last so many hours that have one, in UTC; and so on. Weeks are those of ISO 8601.
    hourly: int | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None
    yearly: int | None = None
    #: What is at a position of such a name: `*`, `?` and `[...]` as in `fnmatch.fnmatchcase`.
    keep_positions: Sequence[str] = ()
    #: What all sessions of this rule may take together: bytes, or text such as "2GiB", "500MB". Kept as bytes. The oldest
    #: checkpoints go first; at a named position none does.
    byte_budget: int | str | None = None

    def __post_init__(self) -> None:
        tier: object = self.tier
        if tier == Tier.AUDIT.label:
            raise WriteOnce("tier is 'audit', which keeps everything for ever; no rule can change that")
        if not isinstance(tier, str) or tier not in TIERS:
            raise InvalidArgument(f"tier is {tier!r}, not {' or '.join(map(repr, TIERS))}")
        role: object = self.role
        if role is not None and not isinstance(role, str):
            raise InvalidArgument(f"role is {role!r}, not the name of a role")
        for key in ("keep_last", "hourly", "daily", "weekly", "monthly", "yearly"):
            _check_count(key, getattr(self, key))
        age = None if self.keep_age is None else amounts.seconds("keep_age", self.keep_age)
        budget = None if self.byte_budget is None else amounts.amount("byte_budget", self.byte_budget, amounts.BYTES, _BUDGET)
        patterns: object = self.keep_positions
        if not isinstance(patterns, (list, tuple)) or not all(isinstance(each, str) for each in patterns):
            raise InvalidArgument(f"keep_positions is {patterns!r}, not a list of names such as ['approved/*']")
        if patterns and tier == Tier.MEMORY.label:
            raise InvalidArgument("keep_positions says nothing of the memory tier, whose items have no position")
        msgspec.structs.force_setattr(self, "keep_age", age)
        msgspec.structs.force_setattr(self, "keep_positions", tuple(patterns))
        msgspec.structs.force_setattr(self, "byte_budget", budget)

    @property
    def described(self) -> str:
        """The rule in a few words, with no key that was left out."""
        keys = ((key, getattr(self, key)) for key in self.__struct_fields__ if key not in ("tier", "role"))
        said = ", ".join(f"{key} {', '.join(value) if isinstance(value, tuple) else value}" for key, value in keys if value)
        return f"{said or 'everything stays'}{'' if self.role is None else f' (role {self.role})'}"

    @property
    def age_seconds(self) -> int | None:
        """`keep_age`, for readers that want a number."""
        return None if self.keep_age is None else int(self.keep_age)

    @property
    def budget_bytes(self) -> int | None:
        """`byte_budget`, for readers that want a number."""
        return None if self.byte_budget is None else int(self.byte_budget)


def in_order(rules: object) -> tuple[Rule, ...]:
    """The rules as they stand, each of them reached by some session.

    The first rule that fits a session is its own. One behind a rule that takes all of its sessions would look as if it did
    something, so it is an InvalidArgument; therefore rules for a role stand before the one for any.
    """
    if not isinstance(rules, (list, tuple)):
        raise InvalidArgument(f"retention is {rules!r}, not a list of rules")
    for number, rule in enumerate(rules, 1):
        if not isinstance(rule, Rule):
            raise InvalidArgument(f"retention rule {number} is {rule!r}, not a Rule")
        for before, earlier in enumerate(rules[: number - 1], 1):
            if earlier.tier == rule.tier and earlier.role in (None, rule.role):
                whose = "any role" if earlier.role is None else f"role {earlier.role!r}"
                raise InvalidArgument(
                    f"retention rule {number} is never reached: rule {before} takes all sessions of {whose}",
                    hint="the first rule that fits is taken: write one rule a role, and the one without a role last",
                )
    return tuple(rules)


def from_tables(tables: object) -> tuple[Rule, ...]:
    """The rules in the tables [[retention]] of a TOML file. InvalidArgument names the rule, by number from 1, and the key."""
    if not isinstance(tables, list) or not all(isinstance(each, Mapping) for each in tables):
        raise InvalidArgument("retention is not a list of tables", hint="each rule starts with a line [[retention]]")
    rules = []
    for number, table in enumerate(tables, 1):
        for key in table:
            if key not in Rule.__struct_fields__:
                raise InvalidArgument(
                    f"retention rule {number}: there is no key {key}", hint=f"the keys are {', '.join(Rule.__struct_fields__)}"
                )
        try:
            rules.append(Rule(**table))
        except InvalidArgument as error:
            raise type(error)(f"retention rule {number}: {error.message}", hint=error.hint) from None
    return in_order(rules)


def _check_count(key: str, value: object) -> None:
    # Not 0: whether that keeps nothing, or is as good as left out, is for nobody to guess where data goes.
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise InvalidArgument(f"{key} is {value!r}, not a whole number from 1; leave it out if it is to keep nothing")
