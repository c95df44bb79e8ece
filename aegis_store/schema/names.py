"""What the chains of the memory tier are called: a namespace and a key as one text, which sorts and begins as they do.

    name   =  (component 0x01)*  0x00 key              one component for each part of the namespace

In components and keys U+0000, U+0001 and U+0002 are written as 0x02 and one of 0x03, 0x04, 0x05; every other character stands
for itself. So names sort as (namespace, key) do, by code points; all of a namespace and below it begin with its components,
each ended; all keys of one namespace begin with that and 0x00; and a key's beginning is the beginning of its name.
Source: FORMAT.md, Memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from aegis_store.errors import Corrupt
from aegis_store.types import Tier

Namespace: TypeAlias = tuple[str, ...]

_KEY: Final = "\x00"
_PART: Final = "\x01"
_ESCAPE: Final = "\x02"
_escapes: Final = {0: "\x02\x03", 1: "\x02\x04", 2: "\x02\x05"}
_meant: Final = {written[1]: chr(code) for code, written in _escapes.items()}


def name_of(namespace: Sequence[str], key: str) -> str:
    """The name of a key's chain."""
    return prefix_of(namespace, key)


def prefix_of(namespace: Sequence[str], key_prefix: str = "") -> str:
    """What the names of all keys of that very namespace begin with whose keys begin with `key_prefix`."""
    return within(namespace) + _KEY + key_prefix.translate(_escapes)


def within(namespace: Sequence[str]) -> str:
    """What the names of all keys begin with whose namespaces begin with `namespace`."""
    return "".join([part.translate(_escapes) + _PART for part in namespace])


def split(name: str) -> tuple[Namespace, str]:
    """The namespace and the key. Corrupt: no key has that name."""
    parts, mark, key = name.partition(_KEY)
    if mark and _KEY not in key and _PART not in key and (not parts or parts[-1] == _PART):
        try:
            return tuple([_read(part) for part in parts.split(_PART)[:-1]]), _read(key)
        except KeyError:
            pass
    raise Corrupt("a chain of the memory tier has a name that is no key's", op="read")


def _read(written: str) -> str:
    """Text without its escapes. KeyError: it has one that there is not."""
    first, *rest = written.split(_ESCAPE)
    return "".join([first, *(_meant[each[:1]] + each[1:] for each in rest)])


def shown(namespace: Sequence[str], key: str | None = None) -> str:
    """A key, or a namespace, as messages call it."""
    place = "the namespace " + "/".join(map(repr, namespace)) if namespace else "the empty namespace"
    return place if key is None else f"key {key!r} of {place}"


def called(tier: Tier, name: str) -> str:
    """What a chain of any tier is called in messages."""
    if tier is not Tier.MEMORY:
        return f"{'subject' if tier is Tier.AUDIT else 'session'} {name!r}"
    try:
        return shown(*split(name))
    except Corrupt:
        return f"the chain {name!r}"
