"""From a code of the engine to an exception that says what, where, and what to do next."""

from __future__ import annotations

import shlex
from typing import Final

from aegis_store import errors
from aegis_store._engine.facts import as_text
from aegis_store._native import ffi, lib
from aegis_store.types import Tier

EXCEPTIONS: Final[dict[int, type[errors.AegisError]]] = {
    lib.AEGIS_E_ARGUMENT: errors.InvalidArgument,
    lib.AEGIS_E_NOMEM: errors.OutOfResources,
    lib.AEGIS_E_IO: errors.StorageError,
    lib.AEGIS_E_NOSPACE: errors.NoSpace,
    lib.AEGIS_E_DESCRIPTORS: errors.OutOfResources,
    lib.AEGIS_E_NOTFOUND: errors.NotFound,
    lib.AEGIS_E_EXISTS: errors.StoreExists,
    lib.AEGIS_E_NOTSTORE: errors.NotAStore,
    lib.AEGIS_E_VERSION: errors.NewerFormat,
    lib.AEGIS_E_FOREIGN: errors.Foreign,
    lib.AEGIS_E_SECRET: errors.KeysWrong,
    lib.AEGIS_E_LOCKED: errors.Locked,
    lib.AEGIS_E_READONLY: errors.ReadOnly,
    lib.AEGIS_E_NETWORK: errors.NetworkFileSystem,
    lib.AEGIS_E_CORRUPT: errors.Corrupt,
    # A tear is recovery's word for itself, and a buffer that is too small was ours: neither may come out.
    lib.AEGIS_E_TORN: errors.EngineBug,
    lib.AEGIS_E_SPACE: errors.EngineBug,
    lib.AEGIS_E_ROLLBACK: errors.RolledBack,
    lib.AEGIS_E_POISONED: errors.Poisoned,
    lib.AEGIS_E_UNKNOWN: errors.OutcomeUnknown,
    lib.AEGIS_E_RANGE: errors.NotFound,
    lib.AEGIS_E_LIMIT: errors.StateTooLarge,
    lib.AEGIS_E_PROOF: errors.BadProof,
    lib.AEGIS_E_FORKED: errors.UsedAfterFork,
    lib.AEGIS_E_UNAUTHENTICATED: errors.Unauthenticated,
    lib.AEGIS_E_WRITEONCE: errors.WriteOnce,
    lib.AEGIS_E_BUG: errors.EngineBug,
}

#: The same code where it means another thing.
_IN_CALL: Final[dict[tuple[str, int], type[errors.AegisError]]] = {
    ("open", lib.AEGIS_E_NOTFOUND): errors.NotAStore,
    # A key signs the same footer the same way: another signature is another key's.
    ("sign", lib.AEGIS_E_EXISTS): errors.KeysWrong,
}

#: The next step, for people. {path} comes quoted for a shell.
HINTS: Final[dict[type[errors.AegisError], str]] = {
    errors.BadProof: "do not trust what it was given for; ask for a proof of the same head again",
    errors.Corrupt: "nothing was changed; what is hit: aegis verify {path}",
    errors.EngineBug: "please report it with this message; whether the store is whole: aegis verify {path}",
    errors.Foreign: "nothing was changed; what is hit: aegis verify {path}",
    errors.KeysMissing: "give the store's key directory, usually beside it: {path}.keys",
    errors.KeysWrong: "nothing was changed; give the key directory of this store, usually beside it: {path}.keys",
    errors.Locked: 'wait for it or stop it; beside it, mode="r" reads: aegis head {path}',
    errors.NetworkFileSystem: "move the store to a local disk, or open it with Config(allow_network=True)",
    errors.NewerFormat: "use the version of this package that wrote it, or a later one: pip install --upgrade aegis-store",
    errors.NoSpace: "what was acknowledged is safe; free some space and try again: df -h {path}",
    errors.NotAStore: 'give the directory that holds MANIFEST, or make a store there with mode="a"',
    errors.OutOfResources: "nothing was changed; what this process may use: ulimit -a",
    errors.OutcomeUnknown: "close the store and open it again; what it holds then: aegis head {path}",
    errors.Poisoned: "close the store and open it again; what it holds then: aegis head {path}",
    errors.ReadOnly: 'open it with mode="r", or see who may write there: ls -ld {path}',
    errors.RolledBack: "nothing was changed; what is there: aegis head {path}; look for a newer copy before writing to it",
    errors.StorageError: "nothing was acknowledged; the kernel's log says more: dmesg",
    errors.StoreExists: 'open it with mode="a" or mode="w"; what it holds: aegis head {path}',
    errors.WriteOnce: "see what stands there: aegis audit list {path}",
    errors.Unauthenticated: "open the store with its key directory, usually beside it: {path}.keys",
    errors.UsedAfterFork: 'open it again in this process; beside the parent, mode="r" reads: aegis head {path}',
}


def failure(
    code: int,
    op: str,
    path: str | None,
    *,
    tier: Tier | None = None,
    index: int | None = None,
    keyed: bool = True,
) -> errors.AegisError:
    """The exception for a code that the engine has just returned to this thread.

    `tier` and `index` are what was asked for: what the engine names goes before. `keyed` says that a store secret was given.
    """
    detail = ffi.new("aegis_error *")
    lib.aegis_last_error(detail)
    kind = _IN_CALL.get((op, code)) or EXCEPTIONS.get(code, errors.EngineBug)
    if code == lib.AEGIS_E_SECRET and not keyed:
        kind = errors.KeysMissing
    message = ffi.string(lib.aegis_error_message(code)).decode()
    if detail.code == code:
        message = as_text(detail.message) or message
        if detail.tier in {*Tier}:
            tier = Tier(detail.tier)
        file = as_text(detail.path)
        if issubclass(kind, errors.Corrupt | errors.StorageError) and file and file not in message:
            message = f"{message} ({file}, byte {detail.offset})"
        if issubclass(kind, errors.Corrupt) and detail.end > detail.first:
            index = detail.first
            hit = f"records {detail.first} to {detail.end - 1}"
            if detail.end > detail.first + 1 and hit not in message:
                message = f"{message}; it hits {hit}"
    return make(kind, message, op=op, path=path, tier=tier, index=index)


def make(
    kind: type[errors.AegisError],
    message: str,
    *,
    op: str,
    path: str | None,
    tier: Tier | None = None,
    index: int | None = None,
) -> errors.AegisError:
    """An exception of that kind with its hint."""
    hint = HINTS.get(kind)
    return kind(
        message,
        op=op,
        path=path,
        tier=tier.label if isinstance(tier, Tier) else None,
        index=index,
        hint=None if hint is None else hint.format(path="PATH" if path is None else shlex.quote(path)),
    )
