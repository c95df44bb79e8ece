"""A payload is gone by right only if the store itself said so: any other gap is damage."""

from __future__ import annotations

import shutil

import pytest

import aegis_store
from aegis_store import Tier
from aegis_store._engine import Gap, compact_segment
from aegis_store.codec.runs import Runs
from aegis_store.errors import Corrupt
from aegis_store.rules import Rule
from aegis_store.schema import gaps as schema
from aegis_store.types import Kind
from tests.stores import SMALL, forging, states
from tests.test_delta_chains import growing, save


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def test_a_gap_that_no_record_covers_is_damage(place):
    """Who holds the store secret, but no log key, can take a payload away; nobody takes that for retention."""
    with aegis_store.open(place, config=SMALL) as store:
        refs = save(store, "s", growing(60))
        (cause,) = store.retain([Rule(keep_last=58)]).records
        begin = store.catalog.session("s").number
    with forging(place) as forger:
        engine = forger.engine
        engine.rotate(Tier.SESSION)
        engine.seal(Tier.SESSION)
        changes = [Gap(begin, cause), Gap(refs[30].index, cause)]
        compact_segment(engine, Tier.SESSION, 0, [each for each in changes if each.index < engine_end(engine)])
    with aegis_store.open(place, config=SMALL) as store:
        found = store.verify()
        assert {finding.index for finding in found.findings} >= {begin}
        assert "does not say why" in found.findings[0].problem
        with pytest.raises(Corrupt, match="no prune or erase record says why"):
            store.records.read(begin)
        with pytest.raises(Corrupt):
            store.session("s").latest()
    shutil.rmtree(place / "catalog")
    with aegis_store.open(place, config=SMALL) as store:
        # Whose name it was nobody knows now: whoever asks may be the one.
        for call in (lambda: store.session("s").latest(), lambda: store.session("anybody's").checkpoint(1)):
            with pytest.raises(Corrupt, match="no prune or erase record says why"):
                call()


def engine_end(engine):
    """The index behind the first segment's last record."""
    footer = next(iter(engine.segments(Tier.SESSION)))
    return footer.first + footer.count


def test_a_prune_record_that_an_agent_signs_takes_nothing_away(place):
    with aegis_store.open(place, config=SMALL) as store:
        refs = save(store, "s", growing(10))
    with forging(place) as forger:
        envelope = schema.encode_prune(schema.Prune(reason="forged", runs=Runs.of([refs[3].index])))
        agent = forger.keys.find_agent("agent")
        forger.append(Kind.PRUNE, *forger.sealed(Kind.PRUNE, envelope, agent))
    with aegis_store.open(place, config=SMALL) as store:
        assert len(states(store, "s")) == 10
        assert store.records.gaps.pending() == ()
        assert any("log key did not sign it" in finding.problem for finding in store.verify(deep=True).findings)
