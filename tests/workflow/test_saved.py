"""What a checkpoint says of its workflow."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from aegis_store import Checkpoint, Ref, Tier
from aegis_store.errors import Corrupt, NewerFormat
from aegis_store.workflow.links import CREATED, TRANSITION, Entry, follow
from aegis_store.workflow.saved import Saved, id_of, name_of, saved_in, to_metadata

FIRST = follow("o", None, action=CREATED, to_state="new", actor="a", now_ms=9)
SECOND = follow("o", FIRST, action=TRANSITION, to_state="paid", actor="b", now_ms=9)
REF = Ref(tier=Tier.SESSION, index=7, leaf=b"l" * 32, ordinal=0, session="workflow/o")


def checkpoint(metadata: object) -> Checkpoint:
    return Checkpoint(ref=REF, agent="a", created_at=datetime.now(UTC), state={}, metadata=metadata)


def saved(**changes: object) -> Saved:
    fields = {
        "entry": Entry(link=SECOND),
        "state": "paid",
        "is_transition": True,
        "unaudited": (Entry(link=FIRST),),
        "audited_below": 3,
    }
    return Saved(**(fields | changes))


def test_it_comes_back_with_the_record_that_it_is_in():
    found = saved_in(checkpoint(to_metadata(saved())))
    assert found == saved(entry=Entry(link=SECOND, record=7, leaf=b"l" * 32))
    assert [each.link.number for each in found.due] == [0, 1]
    plain = saved(is_transition=False)
    assert saved_in(checkpoint(to_metadata(plain))) == plain
    assert plain.due == plain.unaudited
    assert saved(state="").is_completed


@pytest.mark.parametrize("metadata", [None, {}, {"workflow": None}, {"workflow": {"version": 0}}, "x"])
def test_what_no_workflow_wrote_is_corrupt(metadata):
    with pytest.raises(Corrupt, match="record 7 is no workflow's"):
        saved_in(checkpoint(metadata))


def test_a_later_version_is_said():
    later = to_metadata(saved())
    later["workflow"]["version"] = 1
    with pytest.raises(NewerFormat):
        saved_in(checkpoint(later))


@pytest.mark.parametrize("name", ["", "a", "workflow/a", "a/b"])
def test_names_lead_back(name):
    assert id_of(name_of(name)) == name
