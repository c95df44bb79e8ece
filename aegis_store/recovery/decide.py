"""The decision, as a pure function: the first row that fits.

    discard     the failure was a security event or of unknown kind, or an incident of the session is open
    restart     no checkpoint, or one that does not verify, or that was discarded before
    resume      a verified checkpoint, and the failure was infrastructure

Every combination stands in tests/recovery/test_decide.py.
"""

from __future__ import annotations

from typing import Final

from aegis_store.recovery.kinds import Decision, Failure, Status

_DOUBTS: Final = {
    Failure.SECURITY: "the failure was a security event",
    Failure.UNKNOWN: "nobody knows what kind of failure it was",
}
_FLAWS: Final = {
    Status.NONE: "there is no checkpoint",
    Status.NOT_INCLUDED: "the newest checkpoint is not in the log as its tree head has it",
    Status.BAD_SIGNATURE: "the signature of the newest checkpoint does not hold",
    Status.BAD_KEY: "the key that signed the newest checkpoint was not allowed to",
    Status.BAD_COMMITMENT: "the newest checkpoint is not what its entry commits to",
    Status.BROKEN_CHAIN: "the newest checkpoint does not follow from the session's begin",
    Status.GONE: "the newest checkpoint was pruned or erased",
    Status.EVIDENCE: "the newest checkpoint was discarded as evidence before",
}


def decide(status: Status, failure: Failure, *, has_incident: bool = False) -> tuple[Decision, str]:
    """What becomes of a session whose newest checkpoint stands like that, and why."""
    if failure in _DOUBTS:
        return Decision.DISCARD, _DOUBTS[failure]
    if has_incident:
        return Decision.DISCARD, "a security incident of the session is open"
    if status in _FLAWS:
        return Decision.RESTART, _FLAWS[status]
    return Decision.RESUME, "the newest checkpoint verifies, and the failure was infrastructure"
