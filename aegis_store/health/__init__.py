"""Is a store well, and if not, what to do.

`facts` are what is seen and said; `rules` are a pure function of what was seen; `looking` looks. `lookout` is what a writer
keeps up for those who look: the troubles that the audit tier tells of, targets that are missed, and the file (`outlook`) that
spares readers the whole log. `prometheus` is the same for machines.
"""

from __future__ import annotations

from aegis_store.health.facts import Aspect, Facts, Finding, Level, TierFacts, Trouble, Unsaved, Verified
from aegis_store.health.looking import Health, gather, health
from aegis_store.health.lookout import Lookout
from aegis_store.health.prometheus import exposition
from aegis_store.health.rules import assess, refused

__all__ = [
    "Aspect",
    "Facts",
    "Finding",
    "Health",
    "Level",
    "Lookout",
    "TierFacts",
    "Trouble",
    "Unsaved",
    "Verified",
    "assess",
    "exposition",
    "gather",
    "health",
    "refused",
]
