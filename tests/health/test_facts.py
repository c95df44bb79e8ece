from __future__ import annotations

from aegis_store.health import Trouble
from aegis_store.types import LogIndex


def test_a_trouble_is_an_incident_or_a_session():
    def of(subject):
        return Trouble(subject=subject, action="x", index=LogIndex(0), age_seconds=0.0)

    assert of("incident/1").is_incident
    assert not of("session/incident/1").is_incident
