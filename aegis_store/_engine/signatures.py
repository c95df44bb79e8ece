"""Many signatures in one call, by somebody else's function: the engine has no signature code, and no interpreter in the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aegis_store._engine.failures import failure, make
from aegis_store._native import ffi, lib
from aegis_store.errors import InvalidArgument

_PUBLIC_KEY_SIZE: Final = 32


def open_all(address: int, signed: Sequence[bytes], public_keys: Sequence[bytes]) -> list[bool]:
    """Which signed messages hold, by the function at `address`, called like libsodium's crypto_sign_open.

    All messages have one length, signature included, and a public key [32] each. The interpreter's lock is not held meanwhile.
    """
    if not signed:
        return []
    length, count = len(signed[0]), len(signed)
    messages, keys = b"".join(signed), b"".join(public_keys)
    # The engine reads so many bytes, whatever is there.
    if any(len(each) != length for each in signed) or any(len(each) != _PUBLIC_KEY_SIZE for each in public_keys):
        raise make(InvalidArgument, "signed messages of one length and keys of 32 bytes", op="check", path=None)
    if len(public_keys) != count:
        raise make(InvalidArgument, f"{count} signed messages and {len(public_keys)} keys", op="check", path=None)
    held = ffi.new("uint8_t[]", count)
    code = lib.aegis_open_all(ffi.cast("aegis_open_fn *", address), messages, length, keys, count, held)
    if code:
        raise failure(code, "check", None)
    return [each == 1 for each in ffi.buffer(held)[:]]
