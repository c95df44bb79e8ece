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


def test_nothing_to_ask_is_not_asked():
    assert open_all(0, [], []) == []


@pytest.mark.parametrize(
    ("lengths", "keys"), [((70, 71), [PUBLIC] * 2), ((70, 70), [PUBLIC]), ((70,), [PUBLIC[:31]]), ((70, 70), [PUBLIC] * 3)]
)
def test_lengths_that_do_not_fit_are_refused(lengths, keys):
    with pytest.raises(InvalidArgument):
        open_all(OPEN, [bytes(each) for each in lengths], keys)


def test_no_function_is_refused():
    with pytest.raises(InvalidArgument, match="no function"):
        open_all(0, [bytes(70)], [PUBLIC])
