"""The Python layer without one of its safeguards: a scenario that passes with all of them has to fail then.

The C core has the same in tests/native/mutants.c. A row of the table says what is taken out, how, and which scenario misses it.
What is taken out is the function that checks, so that a check that nobody calls any more is found as well.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import msgspec
import pytest

import aegis_store
from aegis_store import Tier, opening, records, verification
from aegis_store._engine import Engine
from aegis_store.catalog import disk, sidecar
from aegis_store.chain import Chain
from aegis_store.codec.payload import open_payload
from aegis_store.errors import AegisError, BadSignature, Conflict, Corrupt, Foreign, KeysWrong, OutcomeUnknown, RolledBack
from aegis_store.indexing import _Rows
from aegis_store.lineage import Lineage
from aegis_store.records import Records
from aegis_store.schema import checkpoint as checkpoint_schema
from aegis_store.schema.entry import Kind
from aegis_store.trust import keys
from aegis_store.trust.keys import KeyDirectory
from aegis_store.types import Head
from tests.stores import SMALL, after, flip, forging, noise, segments, states

# ---- scenarios: what must hold, in an empty place ---------------------------------------------------------------------------


def make(place: Path, *names: str, count: int = 3):
    with aegis_store.open(place, agent="planner", config=SMALL) as store:
        refs = {name: [store.session(name).checkpoint([name, number]) for number in range(count)] for name in names}
        tags = {name: store.catalog.session(name).tag for name in names}
    return refs, tags


def another_signature_is_refused(place: Path) -> None:
    refs, tags = make(place, "s")
    with forging(place) as forger:
        envelope = checkpoint_schema.encode(checkpoint_schema.Checkpoint(state="forged"))
        of = after(refs["s"][-1], tags["s"])
        entry, payload = forger.sealed(Kind.CHECKPOINT, envelope, forger.keys.find_agent("planner"), **of)
        forger.append(Kind.CHECKPOINT, entry[:-1] + bytes([entry[-1] ^ 1]), payload)
    with aegis_store.open(place) as store, pytest.raises(BadSignature):
        store.session("s").latest()


def a_key_that_was_not_enrolled_signs_nothing(place: Path) -> None:
    refs, tags = make(place, "s")
    with forging(place) as forger:
        forger.checkpoint("forged", forger.stranger, **after(refs["s"][-1], tags["s"]))
    with aegis_store.open(place) as store, pytest.raises(BadSignature):
        store.session("s").latest()


def another_payload_is_refused(place: Path) -> None:
    refs, tags = make(place, "s")
    with forging(place) as forger:
        record = forger.read(refs["s"][-1].index)
        of = after(refs["s"][-1], tags["s"])
        entry, payload = forger.sealed(Kind.CHECKPOINT, b"one", forger.keys.find_agent("planner"), **of)
        assert forger.append(Kind.CHECKPOINT, entry, payload[:-1] + b"X") == record.index + 1
    with aegis_store.open(place) as store, pytest.raises(Corrupt, match="commits to"):
        store.records.read(refs["s"][-1].index + 1)


def an_older_checkpoint_again_is_not_the_newest(place: Path) -> None:
    refs, _ = make(place, "s")
    with forging(place) as forger:
        forger.again(refs["s"][0].index)
    with aegis_store.open(place) as store, pytest.raises(Foreign, match="does not follow"):
        store.session("s").latest()


def a_session_is_not_where_the_catalogue_says(place: Path) -> None:
    make(place, "s", "t")
    with aegis_store.open(place) as store:
        tables = store.catalog
        of = tables.session
        tables.session = lambda name, tier: msgspec.structs.replace(of("t"), id=name)
        with pytest.raises(Foreign, match="does not begin"):
            store.session("s").latest()


def a_checkpoint_is_not_where_the_catalogue_says(place: Path) -> None:
    make(place, "s", "t")
    with aegis_store.open(place) as store:
        of = store.catalog.checkpoint
        store.catalog.checkpoint = lambda number, ordinal: of(number, 1 - ordinal)
        with pytest.raises(Foreign, match="is not checkpoint 0"):
            store.session("s").get(0)


def an_older_copy_of_the_store_is_refused(place: Path) -> None:
    make(place, "s")
    shutil.copytree(place, place.with_name("older"))
    with aegis_store.open(place, agent="planner") as store:
        store.session("s").checkpoint("newer")
    shutil.rmtree(place)
    shutil.move(place.with_name("older"), place)
    with pytest.raises(RolledBack):
        aegis_store.open(place).close()


def a_head_is_never_released_under_two_roots(place: Path) -> None:
    make(place, "s")
    memory = KeyDirectory.load(place.with_name(place.name + ".keys"))
    memory.record_released(Head(tier=Tier.SESSION, size=9, root=b"one root".ljust(32)))
    with pytest.raises(RolledBack):
        memory.record_released(Head(tier=Tier.SESSION, size=9, root=b"another root".ljust(32)))


def an_anchor_that_is_not_in_the_log_is_refused(place: Path) -> None:
    make(place, "s")
    with pytest.raises(RolledBack):
        aegis_store.open(place, anchor=Head(tier=Tier.SESSION, size=2, root=b"another root's".ljust(32))).close()


def an_anchor_that_nobody_signed_is_refused(place: Path) -> None:
    make(place, "s")
    with aegis_store.open(place) as store:
        note = store.head().format().decode()
    forged = note[:-20] + ("AAAA" if note[-20:-16] != "AAAA" else "BBBB") + note[-16:]
    with pytest.raises(AegisError):
        aegis_store.open(place, anchor=forged).close()


def keys_of_another_store_are_refused(place: Path) -> None:
    make(place, "s")
    other = place.with_name("other")
    make(other, "s")
    mine, theirs = (each.with_name(each.name + ".keys") for each in (place, other))
    shutil.copy(mine / "secret", theirs / "secret")
    shutil.copy(mine / "store.json", theirs / "store.json")
    (theirs / "heads.json").unlink()
    shutil.copy(theirs / "enrolment.key", mine / "enrolment.key")
    with pytest.raises(KeysWrong):
        aegis_store.open(place).close()


def a_secret_that_others_can_read_is_refused(place: Path) -> None:
    make(place, "s")
    (place.with_name(place.name + ".keys") / "secret").chmod(0o644)
    with pytest.raises(KeysWrong):
        aegis_store.open(place).close()


def who_expects_another_checkpoint_is_told(place: Path) -> None:
    with aegis_store.open(place, agent="planner") as store:
        first = store.session("s").checkpoint(1)
        store.session("s").checkpoint(2)
        with pytest.raises(Conflict):
            store.session("s").checkpoint(3, expect=first)


def a_request_that_is_repeated_is_stored_once(place: Path) -> None:
    for _ in range(2):
        with aegis_store.open(place, agent="planner") as store:
            for _ in range(2):
                store.session("s").checkpoint(1, request_id="r")
            assert states(store, "s") == [1]


def a_request_is_not_known_by_its_tag_alone(place: Path) -> None:
    with aegis_store.open(place, agent="planner") as store:
        session = store.session("s")
        store.records.request_tag = lambda *_: b"the same"
        session.checkpoint(1, request_id="r")
        session.checkpoint(2, request_id="another")
        assert states(store, "s") == [1, 2]


def a_commit_that_failed_is_said(place: Path) -> None:
    def fail(*_: object) -> None:
        raise OutcomeUnknown("on purpose")

    store = aegis_store.open(place, agent="planner")
    try:
        store.records.engine.commit = fail
        with pytest.raises(OutcomeUnknown):
            store.session("s").checkpoint(1)
    finally:
        del store.records.engine.commit
        store.close()


def another_signature_of_a_footer_is_found(place: Path) -> None:
    with aegis_store.open(place, agent="planner", config=SMALL) as store:
        for number in range(40):
            store.session("s").checkpoint(noise(3000, number))
    with aegis_store.open(place):
        pass
    first = segments(place)[0]
    flip(first, first.stat().st_size - 256 + 150)
    with aegis_store.open(place) as store:
        assert any("footer" in each.problem for each in store.verify().findings)


def sidecar_of(folder: Path) -> tuple[sidecar.Seal, int]:
    """A sidecar of a file in LMDB's place, in an open directory."""
    folder.mkdir()
    (folder / sidecar.DATA).write_bytes(noise(700))
    seal, directory = sidecar.Seal(mac_key=b"k" * 32, store_id=b"i" * 16), os.open(folder, os.O_RDONLY)
    seal.write(directory, [Head(tier=Tier.SESSION, size=7, root=b"r" * 32)])
    return seal, directory


def a_catalogue_that_a_stranger_vouches_for_is_not_opened(place: Path) -> None:
    _, directory = sidecar_of(place)
    try:
        assert sidecar.Seal(mac_key=b"x" * 32, store_id=b"i" * 16).read(directory) is None
    finally:
        os.close(directory)


def a_catalogue_that_was_changed_is_not_opened(place: Path) -> None:
    seal, directory = sidecar_of(place)
    try:
        flip(place / sidecar.DATA, 300)
        assert seal.read(directory) is None
    finally:
        os.close(directory)


def nothing_vouches_for_a_catalogue_that_is_written_to(place: Path) -> None:
    make(place, "s")
    assert (place / "catalog" / sidecar.NAME).exists()
    with aegis_store.open(place, agent="planner") as store:
        store.session("s").checkpoint("more")
        store.catalog.flush()
        assert not (place / "catalog" / sidecar.NAME).exists()


# ---- what is taken out ------------------------------------------------------------------------------------------------------


class Anything:
    """Equal to all there is."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def uncommitted(payload: bytes, *, commitment: bytes, **rest: object) -> bytes:
    return open_payload(payload, commitment=Anything(), **rest)  # type: ignore[arg-type]


def silent(self: Records, index: int) -> None:
    with suppress(AegisError):
        self.engine.commit(self.tier, index)


def unplaced(self: Lineage, found: object, ordinal: int, index: int) -> object:
    return self._owner.records.read(index)


def nothing(*_: object, **__: object) -> None:
    return None


def first_of_tag(self: Chain, standing: object, request_id: str) -> object:
    found = self._owner.catalog.requested(standing.number, self._owner.records.request_tag(standing.tag, request_id))
    return None if found is None else self.lineage.checkpoint(self.lineage.newest(), 0).ref


def without_anchors(place: object, **options: object) -> Engine:
    return _open(place, **{**options, "anchors": ()})


_open = Engine.open


class Row(NamedTuple):
    out: str
    patches: list[tuple[object, str, Callable[..., object]]]
    missed_by: Callable[[Path], None]


ROWS = [
    Row(
        "the signature of a record",
        [(records, "verify_signature", lambda *_: True)],
        another_signature_is_refused,
    ),
    Row("the key of a record", [(Records, "_check_signer", lambda *_: "planner")], a_key_that_was_not_enrolled_signs_nothing),
    Row("the commitment to a payload", [(records, "open_payload", uncommitted)], another_payload_is_refused),
    Row("a record's place in its chain", [(_Rows, "_problem", nothing)], an_older_checkpoint_again_is_not_the_newest),
    Row("a session's beginning against the log", [(Lineage, "believe", nothing)], a_session_is_not_where_the_catalogue_says),
    Row("a checkpoint's place against the log", [(Lineage, "_read", unplaced)], a_checkpoint_is_not_where_the_catalogue_says),
    Row(
        "the memory of released heads",
        [(KeyDirectory, "released", lambda *_: {})],
        an_older_copy_of_the_store_is_refused,
    ),
    Row("that heads are remembered", [(KeyDirectory, "record_released", nothing)], a_head_is_never_released_under_two_roots),
    Row("the caller's anchor", [(Engine, "open", staticmethod(without_anchors))], an_anchor_that_is_not_in_the_log_is_refused),
    Row(
        "the signature of an anchor",
        [(opening, "open_head", lambda note, **_: SimpleNamespace(head=opening.parse_head(opening.Note.parse(note).text)[1]))],
        an_anchor_that_nobody_signed_is_refused,
    ),
    Row("whose keys they are", [(KeyDirectory, "demand", nothing)], keys_of_another_store_are_refused),
    Row("who may read the secret", [(keys, "_check_private", nothing)], a_secret_that_others_can_read_is_refused),
    Row("expect=", [(Chain, "_demand_expected", nothing)], who_expects_another_checkpoint_is_told),
    Row("request_id=", [(Chain, "_first", nothing)], a_request_that_is_repeated_is_stored_once),
    Row(
        "the request's name behind its tag",
        [(Chain, "_first", first_of_tag)],
        a_request_is_not_known_by_its_tag_alone,
    ),
    Row("the word of a failed commit", [(Records, "commit", silent)], a_commit_that_failed_is_said),
    Row(
        "the signature of a footer",
        [(verification, "verify_signature", lambda *_: True)],
        another_signature_of_a_footer_is_found,
    ),
    Row(
        "the sidecar's code",
        [(sidecar, "hmac", SimpleNamespace(compare_digest=lambda *_: True))],
        a_catalogue_that_a_stranger_vouches_for_is_not_opened,
    ),
    Row(
        "the sidecar's digest",
        [(sidecar, "_fingerprint", lambda *_, **__: (700, b"d" * 32))],
        a_catalogue_that_was_changed_is_not_opened,
    ),
    Row(
        "that the sidecar goes before the first transaction",
        [(disk.sidecar, "remove", nothing)],
        nothing_vouches_for_a_catalogue_that_is_written_to,
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.missed_by.__name__)
def test_a_safeguard_that_is_taken_out_is_missed(row, tmp_path, monkeypatch):
    for each in ("with", "without"):
        (tmp_path / each).mkdir()
    row.missed_by(tmp_path / "with" / "state")
    for where, name, instead in row.patches:
        monkeypatch.setattr(where, name, instead)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        row.missed_by(tmp_path / "without" / "state")
