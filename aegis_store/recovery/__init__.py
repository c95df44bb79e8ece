"""The decision after a failure: resume, restart or discard, done in steps that survive a crash.

kinds     failures, statuses, decisions, results
status    how a session's newest checkpoint stands, check by check
decide    status and failure -> decision and reason; pure
hooks     what the caller is asked for: token, notice, memory
steps     the steps, each durable before the next
recover   one session, or all
"""

from __future__ import annotations

from aegis_store.recovery.hooks import Hooks, MemoryReader, Notifier, StoredMemory, TokenIssuer
from aegis_store.recovery.kinds import (
    Decision,
    Discard,
    Failure,
    Looked,
    Notice,
    Recovered,
    Recovery,
    Restart,
    Resume,
    Status,
    Step,
)
from aegis_store.recovery.recover import Outcome, recover, recover_all, recovery_of
from aegis_store.recovery.status import look

__all__ = [
    "Decision",
    "Discard",
    "Failure",
    "Hooks",
    "Looked",
    "MemoryReader",
    "Notice",
    "Notifier",
    "Outcome",
    "Recovered",
    "Recovery",
    "Restart",
    "Resume",
    "Status",
    "Step",
    "StoredMemory",
    "TokenIssuer",
    "look",
    "recover",
    "recover_all",
    "recovery_of",
]
