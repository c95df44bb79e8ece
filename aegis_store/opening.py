"""What has to be settled before a store is open: which directory, whose keys, what must be found there.

Nothing is written where any of this fails, but for a key directory that was made for a store that then could not be: the next
attempt uses it.
"""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from aegis_store._engine import Engine
from aegis_store.config import Config
from aegis_store.errors import (
    AegisError,
    Corrupt,
    InvalidArgument,
    KeysWrong,
    NotAStore,
    OutOfResources,
    RolledBack,
    StorageError,
)
from aegis_store.schema.entry import STORE_ID_SIZE
from aegis_store.trust.heads import SignedHead, open_head, parse_head, verifier_key
from aegis_store.trust.keys import KeyDirectory
from aegis_store.trust.notes import Note
from aegis_store.types import Clock, Head, Randomness, Tier

KEYS_SUFFIX: Final = ".keys"
#: Of a session id, and of an agent's name.
NAME_CHARACTERS_MAX: Final = 1_000_000

Mode: TypeAlias = Literal["a", "r", "x"]
#: A tree head that the caller kept: as `Store.head` gave it, or the text of its note.
Anchor: TypeAlias = Head | SignedHead | str | bytes


class _Meta(msgspec.Struct, frozen=True, kw_only=True):
    log_key: bytes
    enrolment_key: bytes
    created: int


def demand_mode(mode: str, place: Path) -> None:
    """InvalidArgument for what is no mode."""
    if mode not in ("a", "r", "x"):
        raise InvalidArgument(f"mode is {mode!r}, not 'a', 'r' or 'x'", op="open", path=str(place))


def config_of(config: Config | str | os.PathLike[str] | None) -> Config:
    """The options that are meant: given, read from a file, or the defaults."""
    if config is None:
        return Config()
    return config if isinstance(config, Config) else Config.load(config)


def anchor_heads(anchor: Anchor | Iterable[Anchor] | None, keys: KeyDirectory) -> list[Head]:
    """The heads that the caller wants to find. InvalidArgument for another store's; BadProof, BadSignature for a note that is
    none.
    """
    if anchor is None:
        return []
    given = [anchor] if isinstance(anchor, Head | SignedHead | str | bytes) else list(anchor)
    return [_head_of(each, keys) for each in given]


def _head_of(anchor: Anchor, keys: KeyDirectory) -> Head:
    if isinstance(anchor, Head):
        return anchor
    if isinstance(anchor, str | bytes):
        note = anchor.encode() if isinstance(anchor, str) else anchor
        store_id, head = parse_head(Note.parse(note).text)
        _demand_store(store_id, keys)
        return open_head(note, log_key=verifier_key(store_id, head.tier, keys.log.public_key)).head
    if not isinstance(anchor, SignedHead):
        raise InvalidArgument(f"an anchor is a tree head, as Store.head gives it, and not {type(anchor).__name__}", op="open")
    _demand_store(anchor.store_id, keys)
    return anchor.head


def _demand_store(store_id: bytes, keys: KeyDirectory) -> None:
    if store_id != keys.store_id:
        raise InvalidArgument(f"an anchor is a head of store {store_id.hex()}, and this is {keys.store_id.hex()}", op="open")


def store_meta(keys: KeyDirectory, clock: Clock) -> bytes:
    """What a new store keeps in its manifest about its keys."""
    meta = _Meta(log_key=keys.log.public_key, enrolment_key=keys.enrolment.public_key, created=clock.now_ms())
    return msgspec.msgpack.encode(meta)


def demand_name(name: str, what: str, *, op: str) -> None:
    """InvalidArgument for what is no name: a str that a record of its session, or a key file, has room for."""
    if type(name) is not str:
        raise InvalidArgument(f"a name is a str, and this {what} is of type {type(name).__name__}", op=op)
    if len(name) > NAME_CHARACTERS_MAX:
        raise InvalidArgument(f"this {what} has {len(name):,} characters, and the limit is {NAME_CHARACTERS_MAX:,}", op=op)


def demand_keys(engine: Engine, keys: KeyDirectory) -> None:
    """KeysWrong where the store was made with another log key or enrolment key than the directory holds."""
    about = engine.describe()
    try:
        meta = msgspec.msgpack.decode(about.meta, type=_Meta)
    except msgspec.DecodeError:
        raise Corrupt("the manifest does not say which keys the store has", op="open", path=engine.path) from None
    keys.demand(store_id=about.store_id, log_key=meta.log_key, enrolment_key=meta.enrolment_key)


def keys_for(place: Path, key_place: Path, *, mode: Mode, name: str | None, randomness: Randomness) -> KeyDirectory:
    """The key directory of a store: that which is there, or a new one for a store that is new."""
    there = _store_at(place)
    if there or mode == "r" or _exists(key_place):
        if not there and mode == "r":
            raise NotAStore(
                "there is no store here",
                op="open",
                path=str(place),
                hint='give the directory that holds MANIFEST, or make a store there with mode="a"',
            )
        keys = KeyDirectory.load(key_place, randomness=randomness)
        lost = [head for head in keys.released().values() if head.size > 0]
        if not there and lost:
            raise RolledBack(
                f"the store is gone: its key directory remembers {lost[0].size} records of tier {lost[0].tier.label}",
                op="open",
                path=str(place),
                hint=f"put the store back from a copy; to begin a new one, move {key_place} away first",
            )
        return keys
    try:
        return KeyDirectory.create(
            key_place,
            store_id=randomness.draw(STORE_ID_SIZE),
            name=place.name if name is None else name,
            randomness=randomness,
        )
    except KeysWrong:
        # Somebody else made them since we looked: the store is one, and who of the two writes it the engine's lock decides.
        return KeyDirectory.load(key_place, randomness=randomness)


def place_of(path: str | os.PathLike[str]) -> Path:
    """A path as an absolute one with a name. InvalidArgument for what can be no store's."""
    text = os.fspath(path)
    if not text or "\0" in text:
        raise InvalidArgument(f"{text!r} is no path: it is empty or holds a zero character", op="open")
    place = Path(os.path.abspath(text))
    if not place.name:
        raise InvalidArgument(f"{place} is no place for a store: it has no name", op="open", path=str(place))
    return place


def _unreadable(place: Path, error: OSError) -> AegisError:
    """What the operating system said when it was asked for a directory."""
    message = f"the directory cannot be read: {error.strerror}"
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return OutOfResources(message, op="open", path=str(place), hint="what this process may use: ulimit -a")
    return StorageError(message, op="open", path=str(place), hint=f"see who may: ls -ld {shlex.quote(str(place))}")


def _exists(place: Path) -> bool:
    try:
        return place.exists()
    except OSError as error:
        raise _unreadable(place, error) from error


def _store_at(place: Path) -> bool:
    """Whether there is anything at `place` that is, or was, a store. NotAStore: there is something else."""
    try:
        names = {entry.name for entry in os.scandir(place)}
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        raise NotAStore("a store is a directory, and this is a file", op="open", path=str(place)) from None
    except OSError as error:
        raise _unreadable(place, error) from error
    if "MANIFEST" in names or names & {tier.label for tier in Tier}:
        return True
    strangers = sorted(names - {"LOCK", "MANIFEST.new", "lost+found"})
    if strangers:
        raise NotAStore(
            f"the directory holds something else: {strangers[0]}",
            op="open",
            path=str(place),
            hint="give a directory that is empty, or does not exist yet",
        )
    return False
