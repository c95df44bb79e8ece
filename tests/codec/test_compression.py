"""One frame, its size declared, nothing believed."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_store.codec import compression
from aegis_store.codec.compression import CONTEXTS_MAX, SMALL_MAX, TRIED_MIN, Dictionary, compress, decompress
from aegis_store.errors import Corrupt

TEXT = b"a checkpoint is an agent's saved state; " * 15
SKIPPABLE = bytes.fromhex("502a4d18") + (4).to_bytes(4, "little") + b"abcd"


def declared(frame, size):
    """The frame with another content size in its header (256 to 65 791 bytes: two bytes, less 256)."""
    assert frame[4] & 0xC0 == 0x40
    return frame[:5] + (size - 256).to_bytes(2, "little") + frame[7:]


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=300), st.integers(1, 50))
def test_what_shrinks_comes_back_and_what_does_not_is_left(part, times):
    envelope = part * times
    frame = compress(envelope)
    if frame is not None:
        assert len(frame) < len(envelope)
        assert zstandard.frame_content_size(frame) == len(envelope)
        assert decompress(frame, length=len(envelope)) == envelope


def test_text_shrinks():
    frame = compress(TEXT)
    assert len(frame) < len(TEXT) / 5
    assert zstandard.get_frame_parameters(frame).has_checksum is False


def test_small_envelopes_take_level_1_and_larger_ones_level_3():
    numbers = b" ".join(b"%d" % (each * each) for each in range(40_000))
    assert len(numbers) > SMALL_MAX
    for envelope, level in ((numbers[:SMALL_MAX], 1), (numbers[: SMALL_MAX + 1], 3)):
        assert compress(envelope) == zstandard.ZstdCompressor(level=level).compress(envelope)
        assert compress(envelope) != zstandard.ZstdCompressor(level=4).compress(envelope)


def test_a_frame_as_long_as_the_envelope_gains_nothing(monkeypatch):
    contexts = compression._Contexts()
    contexts.compress_small = lambda envelope: envelope
    monkeypatch.setattr(compression, "_spare", [contexts])
    assert compress(TEXT) is None


def test_noise_and_short_envelopes_do_not_shrink():
    assert compress(zstandard.ZstdCompressor(level=19).compress(TEXT)) is None
    assert compress(b"\0" * (TRIED_MIN - 1)) is None
    assert compress(b"\0" * TRIED_MIN) is not None
    assert compress(b"") is None


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x28\xb5\x2f",
        b"not a frame at all",
        SKIPPABLE,
        SKIPPABLE + compress(TEXT),
        compress(TEXT) + b"\0",
        compress(TEXT) + SKIPPABLE,
        compress(TEXT) * 2,
        compress(TEXT)[:-1],
        zstandard.ZstdCompressor(write_content_size=False).compress(TEXT),
        declared(compress(TEXT + b"one more"), len(TEXT)),
        declared(compress(TEXT[:-1]), len(TEXT)),
        zstandard.ZstdCompressor(dict_data=zstandard.ZstdCompressionDict(TEXT * 20)).compress(TEXT),
    ],
    ids=[
        "empty", "header cut", "other bytes", "skippable", "skippable first", "byte after", "skippable after", "two",
        "cut", "no size", "holds more", "holds less", "dictionary",
    ],
)  # fmt: skip
def test_anything_but_one_frame_of_that_size_is_corrupt(frame):
    with pytest.raises(Corrupt):
        decompress(frame, length=len(TEXT))


@pytest.mark.parametrize("length", [0, 1, len(TEXT) - 1, len(TEXT) + 1, 2**32 - 1])
def test_a_frame_of_another_size_is_corrupt(length):
    with pytest.raises(Corrupt, match="declares"):
        decompress(compress(TEXT), length=length)


def test_an_empty_frame_is_corrupt():
    with pytest.raises(Corrupt):
        decompress(zstandard.ZstdCompressor().compress(b"") + b"garbage", length=0)


def test_a_frame_that_declares_the_world_allocates_nothing(monkeypatch):
    def never(*_, **__):
        raise AssertionError("decoded before it was compared")

    contexts = compression._Contexts()
    contexts.decompress = never
    monkeypatch.setattr(compression, "_spare", [contexts])
    huge = b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little") + compress(TEXT)[7:]
    with pytest.raises(Corrupt, match="declares 1099511627776"):
        decompress(huge, length=len(TEXT))


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=100), st.integers(0, 600))
def test_any_bytes_are_corrupt_or_a_frame_of_that_size(data, length):
    for frame in (data, b"\x28\xb5\x2f\xfd" + data, b"\x28\xb5\x2f\xfd\x20" + bytes([length & 255]) + data):
        try:
            envelope = decompress(frame, length=length)
        except Corrupt:
            continue
        assert len(envelope) == length


@settings(deadline=None, max_examples=200)
@given(st.integers(0, len(compress(TEXT)) - 1), st.integers(1, 255))
def test_a_changed_byte_never_gives_another_length(at, flip):
    frame = bytearray(compress(TEXT))
    frame[at] ^= flip
    with suppress(Corrupt):
        assert len(decompress(bytes(frame), length=len(TEXT))) == len(TEXT)


def test_no_two_threads_have_the_same_contexts_at_a_time():
    first, second = compression._taken(), compression._taken()
    assert first is not second
    compression._give_back(first)
    assert compression._taken() is first


def test_few_sets_of_contexts_are_kept(monkeypatch):
    monkeypatch.setattr(compression, "_spare", [])
    for contexts in [compression._taken() for _ in range(compression.SPARE_MAX + 3)]:
        compression._give_back(contexts)
    assert len(compression._spare) == compression.SPARE_MAX


def test_a_frame_that_is_refused_leaves_contexts_that_work(monkeypatch):
    monkeypatch.setattr(compression, "_spare", [compression._Contexts()])
    frame = compress(TEXT)
    with pytest.raises(Corrupt):
        decompress(frame[:-1], length=len(TEXT))
    assert decompress(frame, length=len(TEXT)) == TEXT


def test_threads_that_compress_at_once_are_not_in_each_others_way():
    barrier = Barrier(4)

    def use(part):
        barrier.wait()
        for size in range(1, 200):
            envelope = part * size * 10
            frame = compress(envelope)
            assert frame is None or decompress(frame, length=len(envelope)) == envelope
        return part

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(use, [b"a", b"bc", b"def", b"ghij"])) == [b"a", b"bc", b"def", b"ghij"]


# ---- with a dictionary ----------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=300), st.integers(1, 50), st.binary(min_size=1, max_size=500))
def test_what_shrinks_with_a_dictionary_comes_back_with_it(part, times, content):
    data, dictionary = part * times, Dictionary(1, content)
    frame = compress(data, dictionary)
    if frame is not None:
        assert zstandard.frame_content_size(frame) == len(data)
        assert zstandard.get_frame_parameters(frame).dict_id == 0
        assert decompress(frame, length=len(data), dictionary=dictionary) == data
        assert decompress(frame, length=len(data), dictionary=Dictionary(2, content)) == data


def test_content_that_looks_like_a_trained_dictionary_is_raw_content_all_the_same():
    dictionary = Dictionary(1, bytes.fromhex("37a430ec") + TEXT[:80])
    frame = compress(dictionary.content, dictionary)
    assert frame is not None and len(frame) < 30
    assert decompress(frame, length=84, dictionary=dictionary) == dictionary.content


def test_few_contexts_are_kept():
    contexts = compression._Contexts()
    every = [Dictionary(index, TEXT + b"%d" % index) for index in range(3 * CONTEXTS_MAX)]
    for each in every:
        contexts.decompress_with(each)
        compress_with = contexts.compress_with(each)
        assert contexts.compress_with(each) is compress_with
    assert list(contexts._decompress_with) == every[-CONTEXTS_MAX:]


def test_threads_share_a_dictionary():
    dictionary, gate = Dictionary(1, TEXT), Barrier(8)

    def work(number):
        gate.wait()
        for each in range(200):
            data = TEXT[number:] + b"%d" % each
            assert decompress(compress(data, dictionary), length=len(data), dictionary=dictionary) == data
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
