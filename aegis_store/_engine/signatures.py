"""Signatures by somebody else's function, called from C: the engine has no signature code, and no interpreter in the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from aegis_store._engine.failures import failure, make
from aegis_store._native import ffi, lib
from aegis_store.errors import InvalidArgument

SECRET_KEY_SIZE: Final = 64
_PUBLIC_KEY_SIZE: Final = 32

#: What `Engine.append_signed` calls.
SignFunction: TypeAlias = Any


def sign_function(address: int) -> SignFunction:
    """The function at `address`, called like libsodium's crypto_sign."""
    return ffi.cast("aegis_sign_fn *", address)


def open_all(address: int, signed: Sequence[bytes], public_keys: Sequence[bytes]) -> list[bool]:
    """Which signed messages hold, by the function at `address`, called like libsodium's crypto_sign_open.

    Each has a public key [32] of its own. The interpreter's lock is not held meanwhile.
    """
    count = len(signed)
    # The engine reads so many bytes, whatever is there.
    if len(public_keys) != count or any(len(each) != _PUBLIC_KEY_SIZE for each in public_keys):
        raise make(InvalidArgument, "as many keys of 32 bytes as there are messages", op="check", path=None)
    held = ffi.new("uint8_t[]", count)
    lengths = ffi.new("uint32_t[]", [len(each) for each in signed])
    function = ffi.cast("aegis_open_fn *", address)
    code = lib.aegis_open_all(function, b"".join(signed), lengths, b"".join(public_keys), count, held)
    if code:
        raise failure(code, "check", None)
    return [each == 1 for each in ffi.buffer(held)[:]]
