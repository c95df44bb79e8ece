"""What was released is remembered: durable first, never lowered, never two roots for one size."""

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from aegis_store.errors import (
    AegisError,
    InvalidArgument,
    KeysMissing,
    KeysWrong,
    NoSpace,
    OutOfResources,
    ReadOnly,
    RolledBack,
    StorageError,
)
from aegis_store.trust.keys import KeyDirectory
from aegis_store.types import Head, Tier

STORE = bytes(range(16))


def again(keys):
    return KeyDirectory.load(keys.path)


def head(size, root=None, tier=Tier.SESSION):
    return Head(tier=tier, size=size, root=root if root is not None else bytes([size % 256]) * 32)


def listing(place):
    return sorted(str(each.relative_to(place)) for each in place.rglob("*"))


def test_nothing_is_released_at_first(keys):
    assert keys.released() == {}


def test_the_highest_released_head_of_each_tier_is_kept(keys):
    for each in (head(5), head(9), head(7, tier=Tier.AUDIT), head(9)):
        keys.record_released(each)
    assert again(keys).released() == {Tier.SESSION: head(9), Tier.AUDIT: head(7, tier=Tier.AUDIT)}
    assert json.loads((keys.path / "heads.json").read_text()) == {
        "audit": {"size": 7, "root": "07" * 32},
        "session": {"size": 9, "root": "09" * 32},
    }


def test_a_released_head_is_never_lowered(keys):
    keys.record_released(head(9))
    keys.record_released(head(8))
    keys.record_released(head(0))
    assert keys.released() == {Tier.SESSION: head(9)}


def test_two_roots_for_one_size_are_refused(keys):
    keys.record_released(head(9))
    with pytest.raises(RolledBack, match="0909") as caught:
        again(keys).record_released(head(9, b"x" * 32))
    assert (caught.value.tier, caught.value.path) == ("session", str(keys.path / "heads.json"))
    assert keys.released() == {Tier.SESSION: head(9)}
    keys.record_released(head(9, b"x" * 32, tier=Tier.AUDIT))


@pytest.mark.parametrize("wrong", [head(-1, bytes(32)), head(2**64), head(1, bytes(31)), head(1, bytes(33))])
def test_a_head_out_of_bounds_is_not_recorded(keys, wrong):
    with pytest.raises(InvalidArgument):
        keys.record_released(wrong)
    assert keys.released() == {}


def test_the_largest_head_is_recorded(keys):
    keys.record_released(head(2**64 - 1))
    assert again(keys).released() == {Tier.SESSION: head(2**64 - 1)}


def test_a_recorded_head_is_durable_before_the_call_returns(keys, traced):
    events = traced(keys.path)
    keys.record_released(head(9))
    assert events == ["sync file", "rename to heads.json", "sync directory"]


def test_a_head_that_is_there_already_is_made_durable_too(keys, traced):
    keys.record_released(head(9))
    events = traced(keys.path)
    keys.record_released(head(9))
    assert events == ["sync directory"]


@pytest.mark.parametrize("call", ["open", "fsync", "rename"])
def test_a_failure_while_recording_leaves_the_old_heads(keys, monkeypatch, call):
    keys.record_released(head(5))
    real = getattr(os, call)
    for fail_at in range(1, 8):
        calls = 0

        def failing(*args, fail_at=fail_at, **kwargs):
            nonlocal calls
            calls += 1
            if calls == fail_at:
                raise OSError(errno.EIO, "Input/output error")
            return real(*args, **kwargs)

        before = keys.released()[Tier.SESSION].size
        monkeypatch.setattr(os, call, failing)
        try:
            keys.record_released(head(before + 1))
        except StorageError:
            pass
        else:
            assert calls < fail_at
        finally:
            monkeypatch.setattr(os, call, real)
        assert keys.released()[Tier.SESSION].size in (before, before + 1)
        assert not [each for each in listing(keys.path) if ".new" in each]


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, NoSpace),
        (errno.EDQUOT, NoSpace),
        (errno.EROFS, ReadOnly),
        (errno.EACCES, ReadOnly),
        (errno.EMFILE, OutOfResources),
        (errno.EIO, StorageError),
    ],
)
def test_what_the_system_refuses_is_told_apart(keys, monkeypatch, number, kind):
    def refusing(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refusing)
    with pytest.raises(AegisError, match=os.strerror(number)) as caught:
        keys.record_released(head(1))
    assert type(caught.value) is kind
    assert (caught.value.op, caught.value.path) == ("release", str(keys.path / "heads.json"))
    assert caught.value.hint


def test_heads_recorded_at_once_never_fall(keys):
    def record(start):
        mine = again(keys)
        for size in range(start, 120, 4):
            mine.record_released(head(size))
            assert mine.released()[Tier.SESSION].size >= size

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(record, range(1, 5)))
    assert keys.released() == {Tier.SESSION: head(119)}


@pytest.mark.parametrize(
    "content",
    [
        '{"session": {"size": 1}}',
        '{"session": {"size": -1, "root": "%s"}}',
        '{"session": {"size": 18446744073709551616, "root": "%s"}}',
        '{"session": {"size": 1.5, "root": "%s"}}',
        '{"session": {"size": 1, "root": "%s0"}}',
        '{"session": {"size": 1, "root": "%s00"}}',
        '{"session": {"size": 1, "root": "AA"}}',
        '{"session": {"size": 1, "root": "%s", "more": 1}}',
        '{"sessions": {"size": 1, "root": "%s"}}',
        '{"": {"size": 1, "root": "%s"}}',
        "null",
        "",
    ],
)
def test_garbled_heads_are_refused_and_not_overwritten(keys, content):
    written = content.replace("%s", "ab" * 32)
    (keys.path / "heads.json").write_text(written)
    for use in (lambda: again(keys), keys.released, lambda: keys.record_released(head(5))):
        with pytest.raises(KeysWrong, match="garbled"):
            use()
    assert (keys.path / "heads.json").read_text() == written


def test_heads_that_were_removed_are_missed_and_not_made_up(keys):
    (keys.path / "heads.json").unlink()
    with pytest.raises(KeysMissing):
        keys.record_released(head(5))
    assert not (keys.path / "heads.json").exists()


def test_each_tier_has_its_head(keys):
    for tier in Tier:
        keys.record_released(head(tier.value, tier=tier))
    assert again(keys).released() == {tier: head(tier.value, tier=tier) for tier in Tier}


def test_heads_are_signed_by_the_log_key_under_each_tiers_name(keys):
    for tier in Tier:
        signer = keys.head_signer(tier)
        assert (signer.name, signer.public_key) == (f"aegis/{STORE.hex()}/{tier.label}", keys.log.public_key)
