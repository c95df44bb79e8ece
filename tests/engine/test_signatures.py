"""The loop that the engine lends: it asks the function about each message, and reads nothing that is not there."""

from __future__ import annotations

import pytest
from nacl._sodium import ffi, lib
from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from aegis_store._engine import open_all
from aegis_store.errors import InvalidArgument

PUBLIC, SECRET = crypto_sign_seed_keypair(bytes(32))
OPEN = int(ffi.cast("uintptr_t", ffi.addressof(lib, "crypto_sign_open")))


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
