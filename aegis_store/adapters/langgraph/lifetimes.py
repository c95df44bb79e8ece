"""How long items are there, as LangGraph says it, in what the memory tier says: minutes, or a configuration.

A put says nothing (then the store's options for the namespace hold), a number of minutes, or that its item never expires. In an
operation nothing is None, and never is a number of minutes without an end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from langgraph.store.base import TTLConfig

from aegis_store.errors import InvalidArgument
from aegis_store.lifetimes import ttl_of
from aegis_store.memory import DEFAULT
from aegis_store.memory.memory import Ttl

#: Minutes of what never expires.
NEVER: Final = math.inf
#: Minutes between two sweeps, where nobody says.
SWEEP_MINUTES: Final = 5.0
_SECONDS: Final = 60
_KEYS: Final = ("default_ttl", "refresh_on_read", "omit_expired", "sweep_interval_minutes")


def demand_config(config: TTLConfig | None) -> None:
    """InvalidArgument: a configuration says what this store does not do."""
    if config is None:
        return
    given: object = config
    if not isinstance(given, Mapping):
        raise InvalidArgument(f"ttl is {given!r}, not a dict of options", op="open", hint=_HINT)
    for key in given:
        if key not in _KEYS:
            raise InvalidArgument(f"ttl has no option {key!r}", op="open", hint=_HINT)
    if not config.get("omit_expired", True):
        raise InvalidArgument(
            "ttl says omit_expired=False, and this store gives nobody what has expired",
            op="open",
            hint="leave omit_expired out, and give what is to stay a longer ttl",
        )
    default, interval = config.get("default_ttl"), config.get("sweep_interval_minutes")
    if default is not None:
        memory_ttl(default)
    if interval is not None:
        sweep_seconds(interval)


def memory_ttl(minutes: float | None) -> Ttl:
    """What a put of the memory tier is told. InvalidArgument: it is no time from now on."""
    if minutes is None:
        return DEFAULT
    if not _is_number(minutes) or not minutes > 0:
        raise InvalidArgument(f"ttl is {minutes!r}, not minutes above 0", op="put")
    return None if minutes == NEVER else ttl_of(minutes * _SECONDS)


def memory_refresh(config: TTLConfig | None, asked: bool) -> bool | None:
    """What a read of the memory tier is told; None: the store's options for the namespace hold.

    LangGraph asks where neither the call nor the configuration says anything, too."""
    if not asked:
        return False
    return True if config is not None and "refresh_on_read" in config else None


def sweep_seconds(minutes: float) -> float:
    """Seconds between two sweeps. InvalidArgument: they are none, or no number."""
    if not _is_number(minutes) or not 0 < minutes < NEVER:
        raise InvalidArgument(f"the sweep interval is {minutes!r}, not minutes above 0", op="sweep")
    return min(minutes * _SECONDS, _WAIT_SECONDS_MAX)


def _is_number(given: object) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


_HINT: Final = f"the options are {', '.join(_KEYS)}, with times in minutes"
#: What threads can wait for on any platform, about 24 days.
_WAIT_SECONDS_MAX: Final = 2_000_000.0
