"""What can go wrong, as one tree.

Every error says what happened to which thing, what it means, and what to do next. The fields carry the same for machines:
`op` (what was being done), `path`, `tier`, `index` (first record hit), `hint` (the next command or step), `can_retry`.
"""

from __future__ import annotations

from typing import ClassVar

from aegis_store.types import Ref


class AegisError(Exception):
    """Root of everything that this package raises on purpose."""

    #: Whether the same call may succeed later without anybody doing anything.
    can_retry: ClassVar[bool] = False
    #: Exit code of the command line.
    exit_code: ClassVar[int] = 3

    def __init__(
        self,
        message: str,
        *,
        op: str | None = None,
        path: str | None = None,
        tier: str | None = None,
        index: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.op = op
        self.path = path
        self.tier = tier
        self.index = index
        self.hint = hint

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.path, self.tier) if part)
        head = f"{place}: {self.message}" if place else self.message
        return f"{head}\n  {self.hint}" if self.hint else head


class NotAStore(AegisError):
    """The path holds no store, or something else."""


class StoreExists(AegisError):
    """A store is there already, and it must not be."""


class NewerFormat(AegisError):
    """Written by a later version of this package."""


class KeysMissing(AegisError):
    """The key directory, or a key in it, is missing or cannot be read."""


class KeysWrong(AegisError):
    """The keys belong to another store, or were tampered with."""


class Locked(AegisError):
    """Another process has the store open for writing."""

    can_retry = True
    exit_code = 4


class ReadOnly(AegisError):
    """Opened for reading, or lying where nothing can be written."""


class NetworkFileSystem(AegisError):
    """Writing on a network file system was not asked for by name."""


class NoSpace(AegisError):
    """No space left; what was refused was not stored, and everything before it was."""

    can_retry = True


class OutOfResources(AegisError):
    """Out of memory or file descriptors; nothing was changed."""

    can_retry = True


class StorageError(AegisError):
    """The operating system refused a read or a write."""


class OutcomeUnknown(AegisError):
    """A write failed: whether it is stored, only the next open can tell. Close the store and open it again."""


class Poisoned(AegisError):
    """An earlier write failed, so nothing more is accepted. Close the store and open it again."""


class Corrupt(AegisError):
    """Bytes that are not what was stored. Nothing is guessed, nothing is cut off."""

    exit_code = 1


class Foreign(Corrupt):
    """A file or record of another store, tier, session or place."""


class RolledBack(Corrupt):
    """The store is older than, or different from, a head that was kept outside of it."""


class BadSignature(Corrupt):
    """A signature that does not hold, or a key that was not allowed to make it."""


class BadProof(AegisError):
    """A proof that does not show what it claims."""

    exit_code = 1


class Unauthenticated(AegisError):
    """A record that cannot be shown to be genuine without the store secret."""


class NotFound(AegisError):
    """No such record, session or checkpoint."""

    exit_code = 1


class Gone(AegisError):
    """What the record held is no longer there, and a signed record says why."""

    exit_code = 1


class Pruned(Gone):
    """Retention let the checkpoint go. Its entry is still there, and proves that there was one."""


class Erased(Gone):
    """Somebody had it erased. The erase record says who and why."""


class Held(AegisError):
    """A hold keeps what was to go. Nothing overrides it but its release."""


class Conflict(AegisError):
    """The session has moved on since the caller looked. `newest` is where to; None: it has no checkpoint."""

    newest: Ref | None = None


class Ended(AegisError):
    """The session was ended and takes no more checkpoints. What it holds can be read, and forked."""


class IncidentOpen(AegisError):
    """A security incident of the session is open, and until it is closed nothing of the session starts or goes on.
    `incident` is its number; None: whose incident it is cannot be read."""

    exit_code = 1
    incident: int | None = None


class RecoveryIncomplete(AegisError):
    """A step of a recovery failed. The decision stands, and the next `recover` goes on from that step."""

    can_retry = True
    exit_code = 1


class CallUnknown(AegisError):
    """A tool call was begun and nobody recorded how it ended: it may have happened. It is not made again unasked."""

    exit_code = 1


class CallFailed(AegisError):
    """A tool call was made before, and its recorded outcome is an error."""

    exit_code = 1


class StateTypeError(AegisError, TypeError):
    """A value inside a state that cannot be stored; the message names its path."""

    exit_code = 2


class UnknownType(AegisError, TypeError):
    """A stored value of a type or time zone that is not known here, or of a named type that no longer fits."""

    exit_code = 2


class StateTooLarge(AegisError, ValueError):
    """A state above the store's limit; nothing was allocated for it."""

    exit_code = 2


class InvalidArgument(AegisError, ValueError):
    """A call that cannot be meant."""

    exit_code = 2


class WriteOnce(InvalidArgument):
    """Something of the audit tier was to be taken away, held or rewritten. What stands there stays, for ever and as it is."""


class NotInstalled(AegisError, ImportError):
    """Something that was asked for needs a package that is not here."""

    exit_code = 2


class SourceUnreadable(AegisError):
    """What is to be imported cannot be read, or is not what it was taken for."""


class SourceBusy(SourceUnreadable):
    """Another process has it locked, or changed it meanwhile."""

    can_retry = True
    exit_code = 4


class Closed(AegisError):
    """The store was closed."""


class UsedAfterFork(AegisError):
    """A store that was opened before fork() is used in the child. Open it again there, for reading."""


class EngineBug(AegisError):
    """An invariant of the engine broke. Please report it with the message."""
