"""Signatures by somebody else's function: checked in a loop that the engine lends, made on the way into the log."""

from __future__ import annotations

import pytest
from nacl._sodium import ffi, lib
from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from aegis_store._engine import leaf_hash, open_all, sign_function
from aegis_store.errors import Closed, InvalidArgument
from aegis_store.types import Tier

PUBLIC, SECRET = crypto_sign_seed_keypair(bytes(32))
OPEN = int(ffi.cast("uintptr_t", ffi.addressof(lib, "crypto_sign_open")))
SIGN = sign_function(int(ffi.cast("uintptr_t", ffi.addressof(lib, "crypto_sign"))))


def test_each_message_is_asked_about_under_its_own_key():
    signed = [crypto_sign(bytes((number,)) * 9, SECRET) for number in range(5)]
    assert open_all(OPEN, signed, [PUBLIC] * 5) == [True] * 5
    assert open_all(OPEN, signed, [PUBLIC, bytes(32), PUBLIC, bytes(32), PUBLIC]) == [True, False, True, False, True]


def test_messages_may_have_any_length():
    signed = [crypto_sign(bytes(number), SECRET) for number in range(20)]
    signed[7] = signed[7][:-1]
    signed[11] = b""
    assert open_all(OPEN, signed, [PUBLIC] * 20) == [number not in (7, 11) for number in range(20)]


def test_nothing_to_ask_is_not_asked():
    assert open_all(OPEN, [], []) == []


@pytest.mark.parametrize("keys", [[PUBLIC], [PUBLIC] * 3, [PUBLIC, PUBLIC[:31]], [PUBLIC, PUBLIC + b"x"]])
def test_keys_that_do_not_fit_are_refused(keys):
    with pytest.raises(InvalidArgument, match="as many keys"):
        open_all(OPEN, [bytes(70)] * 2, keys)


def test_no_function_is_refused():
    with pytest.raises(InvalidArgument, match="no function"):
        open_all(0, [bytes(70)], [PUBLIC])


@pytest.fixture
def engine(opened):
    return opened()


@pytest.mark.parametrize("payload", [b"", b"payload"])
def test_an_entry_is_signed_on_its_way_into_the_log(engine, payload):
    index, leaf = engine.append_signed(Tier.SESSION, 3, b"prefix" + b"entry", 6, SIGN, SECRET, payload)
    engine.commit(Tier.SESSION, index)
    record = engine.read(Tier.SESSION, index)
    assert record.entry == b"entry" + crypto_sign(b"prefixentry", SECRET)[:64]
    assert (record.kind, record.payload, record.leaf) == (3, payload, leaf)
    assert leaf == leaf_hash(record.entry)


@pytest.mark.parametrize(
    ("message", "at", "key", "payload"),
    [
        (b"m" * 20, 20, SECRET, b""),
        (b"m" * 961, 0, SECRET, b""),
        (b"m" * 20, 0, SECRET[:63], b""),
        (bytearray(20), 0, SECRET, b""),
        (b"m" * 20, 0, SECRET, "text"),
        (b"m" * 20, -1, SECRET, b""),
    ],
    ids=["no entry", "too long", "short key", "no bytes", "text", "negative"],
)
def test_what_cannot_be_signed_is_refused_and_nothing_is_queued(engine, message, at, key, payload):
    with pytest.raises(InvalidArgument):
        engine.append_signed(Tier.SESSION, 3, message, at, SIGN, key, payload)
    assert engine.append(Tier.SESSION, 1, b"the first") == 0


def test_a_closed_engine_signs_nothing(engine):
    engine.close()
    with pytest.raises(Closed):
        engine.append_signed(Tier.SESSION, 3, b"m" * 20, 0, SIGN, SECRET, b"")
