"""The edits that no reader may take, made in the files of the audit tier: `verify_chain` names the event and the record.

By somebody who holds the disk; then by somebody who has stolen the store secret too, and has no agent's key.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import aegis_store
from aegis_store import Tier
from aegis_store._engine import Engine
from aegis_store.codec.payload import seal
from aegis_store.errors import Corrupt, RolledBack
from aegis_store.schema.audit import Event, encode
from aegis_store.schema.entry import parse, signing_message
from aegis_store.trust.keys import KeyDirectory
from aegis_store.trust.signer import FileSigner
from tests import test_edits as edits
from tests.golden import reader
from tests.stores import SMALL, Span, frames, noise, segments

SUBJECTS = ("s", "t")
#: So many that the first ones stand in a full tile of the tree, whose hashes say what each entry was: whoever reads goes on
#: around one that was edited. At the edge of the tree an edited entry is one too many, and the store does not open.
EACH = 160


class Target(edits.Target):
    """An audit tier to be edited: one event of `s` in the middle of a segment."""

    def where(self, index: int) -> tuple[Path, Span]:
        return next((path, span) for path in self.files for span in frames(path) if span.index == index)

    @property
    def files(self) -> list[Path]:
        return segments(self.place, "audit")


def another_event_sealed(target: Target) -> None:
    """What the forger would rather have had happen, with a commitment that fits it."""
    entry, payload = target.contents(target.index)
    length = parse(entry).length
    details = {"number": 9999, "noise": noise(800, "forged")}
    envelope = encode(Event(subject="s", actor="planner", action="a.b", details=details)).ljust(length, b"\0")[:length]
    sealed, commitment, _ = seal(envelope, b"forger's salt 16")
    target.put(target.index, entry[:72] + commitment + entry[104:], sealed.ljust(len(payload), b"\0")[: len(payload)])


def forged_with_another_key(target: Target) -> None:
    entry, payload = target.contents(target.index)
    forger = FileSigner("planner", noise(32, "forger"))
    unsigned = entry[:108] + forger.key_id
    store_id = reader.read_header(target.files[0].read_bytes()).store_id
    target.put(target.index, unsigned + forger.sign(signing_message(store_id, Tier.AUDIT, unsigned)), payload)


#: An edit, and the first event of `s` that is no longer what it was.
IN_PLACE: list[tuple[Callable[[Target], None], Callable[[Target], int]]] = [
    (edits.changed_content, lambda target: target.ordinal),
    (edits.changed_metadata, lambda target: target.ordinal),
    (another_event_sealed, lambda target: target.ordinal),
    (forged_with_another_key, lambda target: target.ordinal),
    (edits.a_record_of_another_session, lambda target: target.ordinal),
    (edits.an_older_record_as_the_newest, lambda target: EACH - 1),
    (edits.an_older_record_in_a_newer_ones_place, lambda target: target.ordinal),
    (edits.reordered, lambda target: target.ordinal),
    (edits.deleted_middle, lambda target: target.ordinal),
]


def truncated_tail(target: Target) -> None:
    path = target.files[-1]
    with path.open("r+b") as file:
        file.truncate(frames(path)[-1].start)


def the_last_segment_gone(target: Target) -> None:
    target.files[-1].unlink()


def a_middle_segment_gone(target: Target) -> None:
    target.files[1].unlink()


def two_segments_swapped(target: Target) -> None:
    one, two = target.files[:2]
    one.rename(one.with_suffix(".x"))
    two.rename(one)
    one.with_suffix(".x").rename(two)


#: Those that take so much away that the store does not open.
WHOLE = [truncated_tail, the_last_segment_gone, a_middle_segment_gone, two_segments_swapped]


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> tuple[Path, dict[str, list[int]]]:
    place = tmp_path_factory.mktemp("original") / "state"
    indexes: dict[str, list[int]] = {name: [] for name in SUBJECTS}
    with aegis_store.open(place, agent="planner", config=SMALL) as store:
        for number in range(EACH):
            for name in SUBJECTS:
                details = {"number": 1000 + number, "noise": noise(800, (name, number))}  # all of one size
                indexes[name].append(store.audit.record("planner", "a.b", name, details).index)
    with aegis_store.open(place):
        pass
    assert len(segments(place, "audit")) >= 4
    return place, indexes


@pytest.fixture
def target(original, tmp_path, request) -> Target:
    stolen, segment = request.param
    place, indexes = original
    for source in (place, place.with_name("state.keys")):
        shutil.copytree(source, tmp_path / source.name)
    for path in segments(tmp_path / "state", "audit"):
        path.chmod(0o600)  # who holds the disk may
    secret = (tmp_path / "state.keys" / "secret").read_bytes() if stolen else None
    found = Target(tmp_path / "state", secret, {}, indexes, 0)
    path = found.files[1 if segment == "sealed" else -1]
    inside = [n for n, index in enumerate(indexes["s"]) if found.where(index)[0] == path]
    found.ordinal = inside[len(inside) // 2 - 1]
    assert 0 < found.ordinal < EACH - 2
    return found


EVERYWHERE = pytest.mark.parametrize(
    "target",
    [(False, "sealed"), (False, "active"), (True, "sealed"), (True, "active")],
    indirect=True,
    ids=["sealed", "active", "sealed, secret stolen", "active, secret stolen"],
)


#: Entries of a full tile.
TILE = 256


@pytest.mark.parametrize("catalogue", ["kept", "lost"])
@EVERYWHERE
@pytest.mark.parametrize(("edit", "first"), IN_PLACE, ids=lambda each: getattr(each, "__name__", ""))
def test_the_first_event_that_is_not_what_it_was_is_named(target, edit, first, catalogue):
    edit(target)
    event = first(target)
    if catalogue == "lost":
        shutil.rmtree(target.place / "catalog")
    for mode in ("r", "a"):
        try:
            store = aegis_store.open(target.place, mode=mode)
        except Corrupt as error:
            assert error.tier == "audit" and target.indexes["s"][event] >= TILE
            continue
        with store:
            is_whole, why = store.audit.verify_chain("s")
            assert not is_whole
            assert why.startswith(f"the chain of 's' breaks at event {event} at record {target.indexes['s'][event]}: "), why
            with pytest.raises(Corrupt):
                list(store.audit.events("s"))
            if edit is not edits.deleted_middle:
                assert store.audit.verify_chain("t") == (True, None)
            assert not store.verify(deep=True).ok


@EVERYWHERE
@pytest.mark.parametrize("edit", WHOLE, ids=lambda edit: edit.__name__)
def test_a_tier_that_lost_more_is_not_opened(target, edit):
    edit(target)
    for mode in ("r", "a"):
        with pytest.raises(Corrupt) as caught, aegis_store.open(target.place, mode=mode):
            pass
        assert caught.value.tier == "audit"


@pytest.mark.parametrize("target", [(False, "active")], indirect=True)
def test_the_whole_store_rolled_back_is_refused(target, original):
    with aegis_store.open(target.place) as store:
        store.audit.record("planner", "a.b", "s")
    shutil.rmtree(target.place)
    shutil.copytree(original[0], target.place)
    for mode in ("r", "a"):
        with pytest.raises(RolledBack):
            aegis_store.open(target.place, mode=mode)


@pytest.mark.parametrize("target", [(True, "active")], indirect=True)
def test_a_tier_that_was_made_again_under_the_same_secret_is_refused(target):
    """With the secret the whole log can be made anew, one event left out and another one twice; not the head that is known."""
    keys = KeyDirectory.load(target.place.with_name("state.keys"))
    with Engine.open(target.place, mode="r", secret=keys.secret) as engine:
        records, meta = list(engine.scan(Tier.AUDIT)), engine.describe().meta
    shutil.rmtree(target.place)
    with Engine.open(target.place, mode="x", secret=keys.secret, store_id=keys.store_id, meta=meta) as engine:
        for record in records[:-3] + records[-2:] + records[-2:-1]:  # as many as there were
            engine.append(Tier.AUDIT, record.kind, record.entry, record.payload)
    for mode in ("r", "a"):
        with pytest.raises(RolledBack, match="not those"):
            aegis_store.open(target.place, mode=mode)


@pytest.mark.parametrize("target", [(True, "sealed"), (True, "active")], indirect=True, ids=["sealed", "active"])
def test_without_an_edit_nothing_is_broken(target):
    target.put(target.index, *target.contents(target.index))
    for mode in ("r", "a"):
        with aegis_store.open(target.place, mode=mode) as store:
            assert [(each.events, each.broken) for each in store.audit.verify_chains()] == [(EACH, None)] * 2
