"""The whole store, checked: what is whole is called whole, and each damage is found once and does not hide another."""

from __future__ import annotations

import hashlib
import shutil
import threading

import pytest

import aegis_store
from aegis_store import Finding, Tier
from aegis_store.errors import BadSignature, Closed, InvalidArgument, StorageError
from aegis_store.schema import session as session_schema
from aegis_store.schema.checkpoint import Checkpoint, encode
from aegis_store.trust.proofs import EMPTY_ROOT, leaf_hash, node_hash
from aegis_store.trust.signer import verify_signature
from aegis_store.types import Kind
from aegis_store.verification import Result, footer_message
from tests.stores import SMALL, Told, after, fill, flip, forging, frame_of, frames, noise, segments

FOOTER = 256


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def filled(place):
    """Sealed and signed segments of two sessions in turn, and an active one; the references of `s`."""
    with aegis_store.open(place, config=SMALL) as store:
        fill(store, "s", "t", each=30)
        refs = [each.ref for each in store.session("s").history()][::-1]
    with aegis_store.open(place):
        pass  # which signs what the first one had sealed as it closed
    assert len(segments(place)) >= 4
    return refs


def root_of(entries: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    if not entries:
        return EMPTY_ROOT
    if len(entries) == 1:
        return leaf_hash(entries[0])
    half = 1 << (len(entries) - 1).bit_length() - 1
    return node_hash(root_of(entries[:half]), root_of(entries[half:]))


def problems(place, *, deep: bool = True, mode: str = "a") -> Result:
    with aegis_store.open(place, mode=mode) as store:
        return store.verify(deep=deep)


# ---- what is whole ----------------------------------------------------------------------------------------------------------


def test_an_empty_store_has_nothing_to_find(place):
    with aegis_store.open(place) as store:
        assert store.verify(deep=True) == Result(tiers=(), findings=(), deep=True)
        assert store.verify().ok


@pytest.mark.parametrize("mode", ["a", "r"])
@pytest.mark.parametrize("deep", [True, False])
def test_a_whole_store_is_counted_and_nothing_is_found(place, filled, deep, mode):
    with aegis_store.open(place, mode=mode) as store:
        result = store.verify(deep=deep)
        records = list(store.records.scan(0, store.records.size()))
        root = store.records.engine.head(Tier.SESSION).root
    assert result.findings == ()
    assert (result.ok, result.deep) == (True, deep)
    [tier] = result.tiers
    assert (tier.tier, tier.records, tier.signatures) == (Tier.SESSION, 63, 63 if deep else None)
    assert tier.root == root == root_of([record.entry for record in records])
    files = segments(place)
    assert (tier.segments, tier.segments_sealed, tier.segments_signed) == (len(files), len(files) - 1, len(files) - 1)
    assert tier.bytes == sum(span.end - span.start for path in files for span in frames(path))


def test_a_reader_verifies_what_the_writer_has_added_meanwhile(place):
    with aegis_store.open(place, config=SMALL) as writer, aegis_store.open(place, mode="r") as reader:
        assert reader.verify(deep=True).tiers == ()
        fill(writer, "s", each=40)
        result = reader.verify(deep=True)
        assert result.findings == ()
        assert (result.tiers[0].records, result.tiers[0].signatures) == (42, 42)


def test_progress_is_shown_and_ends_with_everything(place):
    with aegis_store.open(place, config=SMALL) as store:
        session = store.session("s")
        for number in range(1100):
            session.checkpoint(number)
        seen = []
        store.verify(deep=True, watch=lambda *progress: seen.append(progress))
        total = store.verify().tiers[0].bytes
    assert [each for each in seen if each[1] == "records"] == [
        (Tier.SESSION, "records", 512, 1102), (Tier.SESSION, "records", 1024, 1102),
    ]  # fmt: skip
    assert [each for each in seen if each[1] == "bytes"][-1] == (Tier.SESSION, "bytes", total, total)


def test_a_watcher_that_raises_stops_the_work_and_the_store_goes_on(place, filled):
    def stop(*_):
        raise StorageError("enough")

    with aegis_store.open(place) as store:
        with pytest.raises(StorageError, match="enough"):
            store.verify(watch=stop)
        assert store.verify(deep=True).ok


def test_a_store_that_is_closed_meanwhile_says_so_and_lists_no_findings(place, filled):
    with aegis_store.open(place) as store:
        real = store.records.check

        def close_first(record):
            if record.index == 1:  # the first that the agent signed: its key is looked up
                store.close()
            return real(record)

        store.records.check = close_first
        with pytest.raises(Closed):
            store.verify(deep=True)


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_findings_come_in_order_however_many_threads_look(place, jobs, monkeypatch):
    monkeypatch.setattr("aegis_store.verification.BATCH_RECORDS", 7)
    with aegis_store.open(place, config=SMALL) as store:
        fill(store, "s", "t", each=100)
    denied = [30, 31, 77, 78, 150]
    with aegis_store.open(place) as store:
        real = store.records.entry_of

        def deny(record):
            if record.index in denied:
                raise BadSignature("denied", op="read")
            return real(record)

        store.records.entry_of = deny
        found = store.verify(deep=True, jobs=jobs)
        assert [each.index for each in found.findings] == denied
        assert all("is not to be believed: denied" in each.problem for each in found.findings)
        assert found.tiers[0].signatures == store.records.size() - len(denied)
        with pytest.raises(InvalidArgument, match="0 threads"):
            store.verify(deep=True, jobs=0)


@pytest.mark.parametrize("bound", ["BATCH_BYTES", "UNDER_WAY_BYTES"])
def test_large_states_wait_in_bounded_memory_and_are_all_checked(place, bound, monkeypatch):
    monkeypatch.setattr(f"aegis_store.verification.{bound}", 100)
    with aegis_store.open(place) as store:
        fill(store, "s", each=30)
        result = store.verify(deep=True)
    assert (result.findings, result.tiers[0].signatures) == ((), 32)


def test_an_interrupt_ends_the_threads_and_the_store_goes_on(place, monkeypatch):
    monkeypatch.setattr("aegis_store.verification.PROGRESS_RECORDS", 10)
    monkeypatch.setattr("aegis_store.verification.BATCH_RECORDS", 4)

    def interrupt(_tier, what, done, _total):
        if what == "records" and done == 20:
            raise KeyboardInterrupt

    with aegis_store.open(place) as store:
        fill(store, "s", each=60)
        with pytest.raises(KeyboardInterrupt):
            store.verify(deep=True, watch=interrupt)
        assert not [each for each in threading.enumerate() if each.name.startswith("aegis-verify")]
        assert store.verify(deep=True).ok


# ---- signatures of segments -------------------------------------------------------------------------------------------------


def test_sealed_segments_are_signed_while_the_store_is_written(place, monkeypatch):
    monkeypatch.setattr("aegis_store.store.HOUSEKEEPING_RECORDS", 25)
    with aegis_store.open(place, config=SMALL) as store:
        fill(store, "s", each=120)
        result = store.verify(deep=True)
        assert result.ok
        assert result.tiers[0].segments_signed <= result.tiers[0].segments_sealed < result.tiers[0].segments
    result = problems(place)
    assert result.tiers[0].segments_signed == result.tiers[0].segments_sealed == len(segments(place)) - 1 > 0


def test_the_log_key_signs_what_the_footer_says_of_the_frames(place, filled):
    with aegis_store.open(place) as store:
        sealed = [footer for footer in store._engine.segments(Tier.SESSION) if footer.sealed]
        for footer, path in zip(sealed, segments(place), strict=False):
            data = path.read_bytes()
            end = frames(path)[-1].end
            assert footer.frames_sha256 == hashlib.sha256(data[12288:end]).digest() == data[-FOOTER + 112 : -FOOTER + 144]
            assert footer_message(footer) == b"aegis-store/v0/footer\n" + data[-FOOTER : -FOOTER + 144]
            assert verify_signature(store.keys.log.public_key, footer_message(footer), footer.signature)


def test_a_footer_that_another_key_signed_is_found(place, filled):
    path = segments(place)[1]
    flip(path, path.stat().st_size - FOOTER + 150)
    for deep in (False, True):
        result = problems(place, deep=deep)
        first = frames(path)[0].index
        assert result.findings == (
            Finding(tier=Tier.SESSION, problem="the log key did not sign the footer of segment 1", index=first),
        )
        assert result.tiers[0].segments_signed == len(segments(place)) - 1
        assert not result.ok


def test_a_signature_that_was_wiped_is_made_again(place, filled):
    path = segments(place)[0]
    data = path.read_bytes()
    path.write_bytes(data[: -FOOTER + 144] + bytes(64) + data[-FOOTER + 208 :])
    assert problems(place, mode="r").tiers[0].segments_signed == len(segments(place)) - 2
    assert problems(place).tiers[0].segments_signed == len(segments(place)) - 1
    assert path.read_bytes() == data


# ---- damage -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("part", ["kind", "body checksum", "entry", "signature", "payload"])
def test_a_flipped_byte_is_one_finding_that_names_the_record_and_the_file(place, filled, part, deep):
    """While the store is open: what flipped before may be found by the open already."""
    index = filled[7].index
    path, span = frame_of(place, index)
    at = {"kind": 4, "body checksum": 12, "entry": 48 + 80, "signature": 48 + 130, "payload": 48 + 176 + 40}[part]
    with aegis_store.open(place) as store:
        flip(path, span.start + at)
        result = store.verify(deep=deep)
        [finding] = result.findings
        assert (finding.tier, finding.index, finding.path) == (Tier.SESSION, index, str(place))
        assert path.name in finding.problem
        assert (result.tiers[0].root, result.tiers[0].records) == (None, 63)
        assert result.tiers[0].signatures == (62 if deep else None)
        flip(path, span.start + at)
        assert store.verify(deep=deep).ok


def test_a_flipped_byte_in_the_active_segment_is_found_in_an_open_store(place):
    with aegis_store.open(place) as store:
        ref = store.session("s").checkpoint({"noise": noise(300)})
        store.session("s").checkpoint("newer")
        path, span = frame_of(place, ref.index)
        flip(path, span.payload + 50)
        for deep in (True, False):
            assert [each.index for each in store.verify(deep=deep).findings] == [ref.index]
        flip(path, span.payload + 50)


def test_every_damaged_record_is_found_and_the_rest_is_checked(place, filled):
    numbers = [filled[ordinal].index for ordinal in (2, 3, 4, 15, 29)]
    with aegis_store.open(place) as store:
        for index in numbers:
            path, span = frame_of(place, index)
            flip(path, span.payload + 1)
        result = store.verify(deep=True)
        assert [each.index for each in result.findings] == numbers
        assert result.tiers[0].signatures == 63 - len(numbers)


def test_a_damaged_enrolment_is_one_finding_and_not_one_for_each_record(place, filled):
    path, span = frame_of(place, 0)
    flip(path, span.payload + 20)
    shutil.rmtree(place / "catalog")
    result = problems(place)
    assert result.findings[0].index == 0
    assert {each.problem.split(":")[-1][:16] for each in result.findings[1:]} == {" no key with id "}


@pytest.mark.parametrize("at", [-FOOTER + 60, -FOOTER - 10])
def test_a_footer_that_was_damaged_while_the_store_is_open_is_found(place, filled, at):
    path = segments(place)[1]
    with aegis_store.open(place) as store:
        flip(path, path.stat().st_size + at)
        result = store.verify(deep=True)
        flip(path, path.stat().st_size + at)
        [finding] = result.findings
        assert path.name in finding.problem
        assert result.tiers[0].signatures == 63
        assert store.verify(deep=True).ok


def test_footers_that_were_damaged_while_the_store_is_open_keep_no_other_from_being_looked_at(place, filled):
    first, second, third = segments(place)[:3]
    with aegis_store.open(place) as store:
        flip(first, first.stat().st_size - FOOTER + 60)
        flip(second, second.stat().st_size - FOOTER + 60)
        flip(third, third.stat().st_size - FOOTER + 150)  # its signature, which only the log key's owner can tell
        result = store.verify()
        problems = [each.problem for each in result.findings]
        assert len(problems) == 3
        assert first.name in problems[0]
        assert second.name in problems[1]
        assert problems[2] == "the log key did not sign the footer of segment 2"
        store._sign_segments()
    with aegis_store.open(place) as store:  # both are made again from the frames
        assert len(store.verify().findings) == 1


# ---- chains -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(place):
    with aegis_store.open(place, agent="planner", clock=Told(start=1000)) as store:
        refs = [store.session("s").checkpoint(number) for number in range(3)]
        tag = store.catalog.session("s").tag
    return refs, tag


STATE = encode(Checkpoint(state="forged"))


def begin_again(forger, refs, tag):
    names = session_schema.encode_begin(session_schema.SessionBegin(session="s", agent="planner"))
    signer = forger.keys.find_agent("planner")
    return forger.append(Kind.SESSION_BEGIN, *forger.sealed(Kind.SESSION_BEGIN, names, signer, session_tag=tag))


def never_begun(forger, refs, tag):
    return forger.checkpoint("x", forger.keys.find_agent("planner"), **after(refs[2], b"n" * 16))


def skips_one(forger, refs, tag):
    return forger.checkpoint("x", forger.keys.find_agent("planner"), **after(refs[1], tag))


def another_parent(forger, refs, tag):
    fields = {**after(refs[2], tag), "parent_leaf": refs[1].leaf}
    return forger.checkpoint("x", forger.keys.find_agent("planner"), **fields)


def another_ordinal(forger, refs, tag):
    return forger.checkpoint("x", forger.keys.find_agent("planner"), **{**after(refs[2], tag), "ordinal": 9})


def older(forger, refs, tag):
    return forger.checkpoint("x", forger.keys.find_agent("planner"), **after(refs[2], tag))


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (begin_again, "begins a session that has begun"),
        (never_begun, "belongs to a session that never began"),
        (skips_one, "does not follow record 4"),
        (another_parent, "does not follow record 4"),
        (another_ordinal, "is checkpoint 9 where 3 comes"),
        (older, "is older than the one that it follows"),
    ],
)
def test_a_record_that_breaks_its_chain_is_found_by_a_deep_look_only(place, small, forge, said):
    with forging(place) as forger:
        index = forge(forger, *small)
        assert forger.read(index).entry[28] == 1  # its time
    assert problems(place, deep=False).ok
    result = problems(place)
    assert [(each.index, said in each.problem) for each in result.findings] == [(index, True)]
    assert result.tiers[0].signatures == 6


def test_what_was_slipped_in_between_is_found_and_what_goes_on_beside_it_is_not(place, small):
    refs, tag = small
    with forging(place) as forger:
        agent = forger.keys.find_agent("planner")
        bad = skips_one(forger, refs, tag)
        fields = after(refs[2], tag)
        entry, payload = forger.sealed(Kind.CHECKPOINT, STATE, agent, **fields)
        forger.append(Kind.CHECKPOINT, entry, payload)
    assert [each.index for each in problems(place).findings] == [bad, bad + 1]  # the second for its time alone
    assert "older" in problems(place).findings[1].problem
