"""Rows and records."""

from __future__ import annotations

import pytest

from aegis_store.catalog import Other, SessionBegan, rows
from aegis_store.types import Tier


def test_a_row_cannot_be_changed_once_noted() -> None:
    row = Other(tier=Tier.AUDIT, index=3)
    with pytest.raises(AttributeError):
        row.index = 4


def test_a_session_that_was_not_forked_has_no_parent() -> None:
    row = SessionBegan(tier=Tier.SESSION, index=0, time_ms=0, leaf=bytes(32), tag=bytes(16), id="", agent="")
    assert row.parent is None


def test_every_row_says_where_it_is_in_the_log() -> None:
    kinds = [each for each in vars(rows).values() if isinstance(each, type) and issubclass(each, rows.Row)]
    assert len(kinds) == 13
    assert all(each.__struct_fields__[:2] == ("tier", "index") for each in kinds)
