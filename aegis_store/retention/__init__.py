"""Which checkpoints stay: `policy` decides, and touches nothing."""

from __future__ import annotations

from aegis_store.retention.policy import (
    BudgetUse,
    Decisions,
    Hold,
    Point,
    Policy,
    SessionDecision,
    SessionView,
    decide,
)
from aegis_store.rules import Rule

__all__ = ["BudgetUse", "Decisions", "Hold", "Point", "Policy", "Rule", "SessionDecision", "SessionView", "decide"]
