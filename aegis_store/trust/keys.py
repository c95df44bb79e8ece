"""The key directory: what makes a store's owner, in files that nobody else can read.

    store.json         which store the keys belong to
    secret             the store secret, 32 bytes
    log.key            the log key: PRIVATE+KEY+aegis/<store id>+<key id>+<base64(0x01 ‖ seed [32])>
    enrolment.key      the enrolment key, named aegis/enrolment
    agents/<hex>.key   an agent's key; <hex> = first 16 bytes of BLAKE3(name); the line, then the name in JSON
    agents/<hex>.<key id>.revoked   one that was revoked
    heads.json         the highest released head of each tier
    verified.json      when the store was last verified (`aegis_store.health`); may be missing

The directory has mode 0700 and its files 0600; anything looser is refused, not repaired. It is made as a whole: staged beside
its place, synced and renamed. A file in it is written beside its place, synced and renamed, and never read or written through a
symbolic link.

An agent may have any name. In its key line stands the name if a note could hold it, else <hex>; its key id is always that of
the name. A name that is not valid Unicode is `{"utf8": hex of its UTF-8 with lone surrogates passed through}` in JSON.

The highest released heads are the store's memory of what it has shown to others: recording one is durable before it returns,
and nothing ever lowers it. Source: FORMAT.md, Key directory.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shlex
import stat
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
from blake3 import blake3

from aegis_store.errors import (
    AegisError,
    InvalidArgument,
    KeysMissing,
    KeysWrong,
    NewerFormat,
    NoSpace,
    OutOfResources,
    ReadOnly,
    RolledBack,
    StorageError,
)
from aegis_store.trust.heads import SIZE_MAX, STORE_ID_SIZE, origin
from aegis_store.trust.notes import decode_base64, encode_base64, is_key_name
from aegis_store.trust.signer import ED25519, SEED_SIZE, FileSigner
from aegis_store.types import HASH_SIZE, Head, Randomness, Tier

SECRET_SIZE: Final = 32
ENROLMENT_NAME: Final = "aegis/enrolment"

_FORMAT: Final = 0
_STORE: Final = "store.json"
_SECRET: Final = "secret"
_LOG: Final = "log.key"
_ENROLMENT: Final = "enrolment.key"
_AGENTS: Final = "agents"
_HEADS: Final = "heads.json"

#: No file of a key directory is larger, in bytes: an agent's name of a million characters still fits.
_FILE_BYTES_MAX: Final = 1 << 23
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_KEY_LINE: Final = re.compile(r"PRIVATE\+KEY\+([^+\n]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})")
_AGENT_FILE: Final = re.compile(r"[0-9a-f]{32}\.key")
_ROOT: Final = re.compile(rf"[0-9a-f]{{{2 * HASH_SIZE}}}")

#: What text that is not the JSON in question raises. msgspec's errors are ValueErrors from 0.19 on.
_UNREADABLE: Final = (ValueError, RecursionError, msgspec.MsgspecError)

#: What to do next about what the operating system refused. {path} comes quoted for a shell.
_NEXT: Final[dict[type[AegisError], str]] = {
    NoSpace: "free some space and try again: df -h {path}",
    ReadOnly: "see who may write there: ls -ld {path}",
    OutOfResources: "what this process may use: ulimit -a",
    StorageError: "the kernel's log says more: dmesg",
}

_RESTORE: Final = "put the key directory back from its backup, or say with keys= where it lies"


class SystemRandomness:
    """The operating system's random bytes."""

    __slots__ = ()

    def draw(self, count: int) -> bytes:
        try:
            return os.urandom(count)
        except OSError as error:
            raise StorageError(
                f"the system gives no random bytes: {error.strerror}", op="draw", hint="the kernel's log says more: dmesg"
            ) from error


class KeyDirectory:
    """The keys of one store. Made by `create` or `load`; may be used by any number of threads and processes."""

    def __init__(
        self,
        path: Path,
        *,
        store_id: bytes,
        name: str,
        secret: bytes,
        log: FileSigner,
        enrolment: FileSigner,
        randomness: Randomness,
    ) -> None:
        self.path = path
        self.store_id = store_id
        self.name = name
        #: The store secret [32], under which the engine authenticates its files.
        self.secret = secret
        self.log = log
        self.enrolment = enrolment
        self._randomness = randomness
        self._agents: dict[str, FileSigner] = {}
        self._lock = threading.Lock()

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, store_id: bytes, name: str, randomness: Randomness) -> KeyDirectory:
        """Draw all keys of a new store. The directory must not exist, or be empty: KeysWrong otherwise."""
        place = Path(path).absolute()
        log_name = _log_name(store_id)
        try:
            encoded = msgspec.json.encode(_StoreFile(format=_FORMAT, store_id=store_id.hex(), name=name))
        except UnicodeEncodeError:
            raise InvalidArgument("a store's name must be valid Unicode", op="create") from None
        files = {
            _SECRET: randomness.draw(SECRET_SIZE),
            _LOG: _format_key(FileSigner(log_name, randomness.draw(SEED_SIZE)), log_name),
            _ENROLMENT: _format_key(FileSigner(ENROLMENT_NAME, randomness.draw(SEED_SIZE)), ENROLMENT_NAME),
            _HEADS: _format_heads({}),
            _STORE: encoded + b"\n",
        }
        with _storage_errors(place, "create"):
            _publish(place, files, place.with_name(f"{place.name}.{randomness.draw(8).hex()}.new"))
        return cls.load(place, store_id=store_id, randomness=randomness)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, store_id: bytes | None = None, randomness: Randomness | None = None
    ) -> KeyDirectory:
        """The keys that are there, all but the agents' read and checked; `store_id` [16] demands those of one store.

        KeysMissing: the directory or a file is not there or cannot be read. KeysWrong: of another store, garbled, or open to
        others. NewerFormat: made by a later version.
        """
        place = Path(path).absolute()
        with _storage_errors(place, "load"), _directory(place) as directory:
            found_id, name = _parse_store(_read(directory, place / _STORE), place / _STORE)
            if store_id is not None and found_id != store_id:
                raise _wrong(place, f"the keys of store {found_id.hex()}, not of {store_id.hex()}", _RESTORE)
            secret = _read(directory, place / _SECRET)
            if len(secret) != SECRET_SIZE:
                raise _garbled(place / _SECRET)
            keys = cls(
                place,
                store_id=found_id,
                name=name,
                secret=secret,
                log=_parse_key(_read(directory, place / _LOG), place / _LOG, expected=_log_name(found_id)),
                enrolment=_parse_key(_read(directory, place / _ENROLMENT), place / _ENROLMENT, expected=ENROLMENT_NAME),
                randomness=SystemRandomness() if randomness is None else randomness,
            )
            _parse_heads(_read(directory, place / _HEADS), place / _HEADS)
            with _directory(place / _AGENTS, within=directory):
                return keys

    def demand(self, *, store_id: bytes, log_key: bytes, enrolment_key: bytes) -> None:
        """Return if these are the keys of a store with that id [16] and those public keys [32]; else raise KeysWrong."""
        if (self.store_id, self.log.public_key, self.enrolment.public_key) != (store_id, log_key, enrolment_key):
            raise _wrong(self.path, f"not the keys of store {store_id.hex()}", _RESTORE)

    def head_signer(self, tier: Tier) -> FileSigner:
        """The log key under the name by which a tier's heads are signed."""
        return self.log.named(origin(self.store_id, tier))

    def agent(self, name: str, *, taken: Collection[bytes] = ()) -> FileSigner:
        """The key of an agent, drawn and stored the first time. A new key has none of the key ids in `taken`."""
        with self._lock:
            known = self._agents.get(name)
            if known is not None:
                return known
            place = self.path / _AGENTS / _agent_file(name)
            with _storage_errors(place, "agent"), self._directories() as (top, agents):
                signer = self._read_agent(agents, name)
                if signer is None:
                    with _locked(top):
                        signer = self._read_agent(agents, name)  # another process may have been first
                        if signer is None:
                            signer = FileSigner(name, self._randomness.draw(SEED_SIZE))
                            while signer.key_id in taken:
                                signer = FileSigner(name, self._randomness.draw(SEED_SIZE))
                            self._write(agents, place.name, _format_agent(signer))
            self._agents[name] = signer
            return signer

    def retire(self, name: str) -> bool:
        """Put an agent's key away, so that the next call of `agent` draws another; durable when this returns. False: there is
        none."""
        with self._lock:
            place = self.path / _AGENTS / _agent_file(name)
            with _storage_errors(place, "retire"), self._directories() as (top, agents), _locked(top):
                self._agents.pop(name, None)
                signer = self._read_agent(agents, name)
                if signer is None:
                    return False
                away = f"{place.stem}.{signer.key_id.hex()}.revoked"
                os.rename(place.name, away, src_dir_fd=agents, dst_dir_fd=agents)
                os.fsync(agents)
            return True

    def find_agent(self, name: str) -> FileSigner | None:
        """The key of an agent, or None if it has none here."""
        with self._lock:
            if name not in self._agents:
                place = self.path / _AGENTS / _agent_file(name)
                with _storage_errors(place, "agent"), self._directories() as (_, agents):
                    signer = self._read_agent(agents, name)
                if signer is None:
                    return None
                self._agents[name] = signer
            return self._agents[name]

    def agents(self) -> list[FileSigner]:
        """The keys of all agents, in no particular order."""
        place = self.path / _AGENTS
        with _storage_errors(place, "agents"), self._directories() as (_, agents):
            names = [each for each in os.listdir(agents) if _AGENT_FILE.fullmatch(each)]
            return [_parse_agent(_read(agents, place / each), place / each) for each in names]

    def released(self) -> dict[Tier, Head]:
        """The highest head of each tier that was ever recorded as released."""
        with _storage_errors(self.path, "released"), _directory(self.path) as directory:
            return _parse_heads(_read(directory, self.path / _HEADS), self.path / _HEADS)

    def record_released(self, head: Head) -> None:
        """Remember that a head is about to be shown to others; durable when this returns. A lower size changes nothing.

        RolledBack: another root of the same size was released before. Then this head must not leave.
        """
        if not 0 <= head.size <= SIZE_MAX or len(head.root) != HASH_SIZE:
            raise InvalidArgument(f"a tree head has a size of 64 bits and a root of {HASH_SIZE} bytes", op="release")
        place = self.path / _HEADS
        with _storage_errors(place, "release"), _directory(self.path) as directory, _locked(directory):
            heads = _parse_heads(_read(directory, place), place)
            known = heads.get(head.tier)
            if known is not None and known.size == head.size and known.root != head.root:
                raise RolledBack(
                    f"the head of {head.size} records was released with root {known.root.hex()}, now it is {head.root.hex()}",
                    op="release",
                    path=str(place),
                    tier=head.tier.label,
                    hint="the log was changed or put back from an old copy: do not release it; compare it with a replica",
                )
            if known is None or known.size < head.size:
                self._write(directory, _HEADS, _format_heads({**heads, head.tier: head}))
            else:
                os.fsync(directory)  # what is read may have been renamed into place by a process that died before its sync

    def note(self, name: str) -> bytes | None:
        """What lies under a name that no key has; None if there is nothing."""
        with _storage_errors(self.path, "note"), _directory(self.path) as directory:
            try:
                os.stat(name, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                return None
            return _read(directory, self.path / name)

    def keep_note(self, name: str, data: bytes) -> None:
        """Put something under such a name, whole and durable, in the place of what was there."""
        with _storage_errors(self.path / name, "note"), _directory(self.path) as directory, _locked(directory):
            self._write(directory, name, data)

    @contextmanager
    def _directories(self) -> Iterator[tuple[int, int]]:
        with _directory(self.path) as directory, _directory(self.path / _AGENTS, within=directory) as agents:
            yield directory, agents

    def _read_agent(self, directory: int, name: str) -> FileSigner | None:
        place = self.path / _AGENTS / _agent_file(name)
        try:
            os.stat(place.name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return _parse_agent(_read(directory, place), place)

    def _write(self, directory: int, name: str, data: bytes) -> None:
        """Put a file into its place, whole and durable; called under the lock."""
        staged = f"{name}.{self._randomness.draw(8).hex()}.new"
        try:
            _write_synced(directory, staged, data)
            os.rename(staged, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with suppress(OSError):
                os.unlink(staged, dir_fd=directory)
            raise
        os.fsync(directory)


class _StoreFile(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    store_id: str
    name: str


class _FormatOnly(msgspec.Struct, frozen=True):
    format: int


class _HeadLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    size: int
    root: str


class _RawName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    utf8: str


def _log_name(store_id: bytes) -> str:
    if len(store_id) != STORE_ID_SIZE:
        raise InvalidArgument(f"a store id has {STORE_ID_SIZE} bytes, not {len(store_id)}", op="keys")
    return f"aegis/{store_id.hex()}"


def _parse_store(data: bytes, path: Path) -> tuple[bytes, str]:
    try:
        found = msgspec.json.decode(data, type=_FormatOnly).format
        if found > _FORMAT:
            raise NewerFormat(
                f"a key directory of format {found}, and this package reads up to {_FORMAT}",
                op="load",
                path=str(path),
                hint="open it with a later aegis-store: pip install --upgrade aegis-store",
            )
        stored = msgspec.json.decode(data, type=_StoreFile)
        store_id = bytes.fromhex(stored.store_id)
    except _UNREADABLE:
        raise _garbled(path) from None
    if found < _FORMAT or store_id.hex() != stored.store_id or len(store_id) != STORE_ID_SIZE:
        raise _garbled(path)
    return store_id, stored.name


def _format_key(signer: FileSigner, line_name: str) -> bytes:
    material = encode_base64(bytes((ED25519,)) + signer.seed)
    return f"PRIVATE+KEY+{line_name}+{signer.key_id.hex()}+{material}\n".encode()


def _parse_key(data: bytes, path: Path, *, expected: str) -> FileSigner:
    line_name, key_id, seed = _parse_key_line(data, path)
    signer = FileSigner(line_name, seed)
    if line_name != expected:
        raise _wrong(path, f"the key of {line_name}, not of {expected}", _RESTORE)
    if signer.key_id.hex() != key_id:
        raise _garbled(path)
    return signer


def _parse_key_line(data: bytes, path: Path) -> tuple[str, str, bytes]:
    """(name, key id in hexadecimal, seed) of a key line with its newline."""
    try:
        match = _KEY_LINE.fullmatch(data.decode().removesuffix("\n")) if data.endswith(b"\n") else None
    except UnicodeDecodeError:
        match = None
    material = None if match is None else decode_base64(match[3])
    if match is None or material is None or material[0] != ED25519:
        raise _garbled(path)
    return match[1], match[2], material[1:]


def _agent_hex(name: str) -> str:
    return blake3(name.encode("utf-8", "surrogatepass")).hexdigest(length=16)


def _agent_file(name: str) -> str:
    return f"{_agent_hex(name)}.key"


def _agent_line_name(name: str) -> str:
    return name if is_key_name(name) else _agent_hex(name)


def _format_agent(signer: FileSigner) -> bytes:
    try:
        named = msgspec.json.encode(signer.name)
    except UnicodeEncodeError:
        named = msgspec.json.encode(_RawName(signer.name.encode("utf-8", "surrogatepass").hex()))
    return _format_key(signer, _agent_line_name(signer.name)) + named + b"\n"


def _parse_agent(data: bytes, path: Path) -> FileSigner:
    line, newline, named = data.partition(b"\n")
    line_name, key_id, seed = _parse_key_line(line + newline, path)
    try:
        stored = msgspec.json.decode(named, type=str | _RawName)
        name = stored if isinstance(stored, str) else bytes.fromhex(stored.utf8).decode("utf-8", "surrogatepass")
    except _UNREADABLE:
        raise _garbled(path) from None
    signer = FileSigner(name, seed)
    if line_name != _agent_line_name(name) or key_id != signer.key_id.hex() or path.name != _agent_file(name):
        raise _wrong(path, f"not the key of agent {name!r}", _RESTORE)
    return signer


def _format_heads(heads: dict[Tier, Head]) -> bytes:
    lines = {tier.label: _HeadLine(size=head.size, root=head.root.hex()) for tier, head in sorted(heads.items())}
    return msgspec.json.encode(lines) + b"\n"


def _parse_heads(data: bytes, path: Path) -> dict[Tier, Head]:
    try:
        lines = msgspec.json.decode(data, type=dict[str, _HeadLine])
        heads = {}
        for label, line in lines.items():
            tier = Tier.labelled(label)
            if not 0 <= line.size <= SIZE_MAX or not _ROOT.fullmatch(line.root):
                raise _garbled(path)
            heads[tier] = Head(tier=tier, size=line.size, root=bytes.fromhex(line.root))
    except (*_UNREADABLE, KeyError):
        raise _garbled(path) from None
    return heads


def _publish(place: Path, files: dict[str, bytes], staged: Path) -> None:
    """Make the directory with its files under the name `staged`, all durable, then give it its place."""
    os.mkdir(staged, 0o700)
    try:
        os.chmod(staged, 0o700)  # the umask may have taken more than it should
        with _directory(staged) as directory:
            os.mkdir(_AGENTS, 0o700, dir_fd=directory)
            os.chmod(_AGENTS, 0o700, dir_fd=directory)
            for name, data in files.items():
                _write_synced(directory, name, data)
            with _directory(staged / _AGENTS, within=directory) as agents:
                os.fsync(agents)
            os.fsync(directory)
        try:
            os.rename(staged, place)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise _wrong(place, "is there already, and new keys replace nothing", "choose another place") from None
            raise
    except BaseException:
        _discard(staged, files)
        raise
    parent = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _discard(staged: Path, files: Collection[str]) -> None:
    """Remove what `_publish` had made so far. What cannot be removed stays: keys that belong to nothing."""
    for name in files:
        with suppress(OSError):
            os.unlink(staged / name)
    for directory in (staged / _AGENTS, staged):
        with suppress(OSError):
            os.rmdir(directory)


def _write_synced(directory: int, name: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(name, flags, 0o600, dir_fd=directory), "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read(directory: int, path: Path) -> bytes:
    """A file of the open directory, if it is a plain one that others cannot touch. `path` is what messages call it."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        opened = os.open(path.name, flags, dir_fd=directory)
    except (FileNotFoundError, PermissionError):
        raise _missing(path) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _wrong(path, "a symbolic link where a file belongs", _RESTORE) from None
        raise
    with open(opened, "rb") as file:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            raise _wrong(path, "not a plain file", _RESTORE)
        _check_private(status, path, "600")
        data = file.read(_FILE_BYTES_MAX + 1)
    if len(data) > _FILE_BYTES_MAX:
        raise _garbled(path)
    return data


@contextmanager
def _directory(path: Path, *, within: int | None = None) -> Iterator[int]:
    """A descriptor of a directory that others cannot touch; all else goes through it, so that nothing is swapped meanwhile."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        opened = os.open(path, flags) if within is None else os.open(path.name, flags | os.O_NOFOLLOW, dir_fd=within)
    except (FileNotFoundError, PermissionError):
        raise _missing(path) from None
    except NotADirectoryError:
        raise _wrong(path, "not a directory", _RESTORE) from None
    try:
        _check_private(os.fstat(opened), path, "700")
        yield opened
    finally:
        os.close(opened)


@contextmanager
def _locked(directory: int) -> Iterator[None]:
    """Keep other processes and threads from writing into the directory. The lock is on store.json, which is never replaced."""
    opened = os.open(_STORE, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _check_private(status: os.stat_result, path: Path, mode: str) -> None:
    place = shlex.quote(str(path))
    if status.st_mode & _OTHERS:
        raise _wrong(path, f"open to others (mode {stat.S_IMODE(status.st_mode):04o})", f"chmod {mode} {place}")
    if status.st_uid != os.geteuid() != 0:
        raise _wrong(path, f"owned by user {status.st_uid}, not {os.geteuid()}", f"chown {os.geteuid()} {place}")


@contextmanager
def _storage_errors(path: Path, op: str) -> Iterator[None]:
    """What the operating system refuses, as errors of this package."""
    try:
        yield
    except OSError as error:
        kind: type[AegisError] = StorageError
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            kind = NoSpace
        elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            kind = ReadOnly
        elif error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            kind = OutOfResources
        hint = _NEXT[kind].format(path=shlex.quote(str(path)))
        raise kind(f"the key directory cannot be used: {error.strerror}", op=op, path=str(path), hint=hint) from error


def _missing(path: Path) -> KeysMissing:
    return KeysMissing(
        "this part of the key directory is not there or cannot be read", op="load", path=str(path), hint=_RESTORE
    )


def _garbled(path: Path) -> KeysWrong:
    return _wrong(path, "is garbled", _RESTORE)


def _wrong(path: Path, what: str, hint: str) -> KeysWrong:
    return KeysWrong(what, op="load", path=str(path), hint=hint)
