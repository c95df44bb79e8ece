"""Ed25519 signatures, and who makes them.

Whatever signs stands behind the `Signer` protocol: a key from a file, an agent's process, a PKCS#11 token. Verification is
libsodium's, which is strict: no small-order keys, no non-canonical numbers. A signature proves who signed; it is no identifier,
since a signer can make many for one message.

    key id = first 4 bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key [32])

The name is in UTF-8, with lone surrogates passed through. Source: FORMAT.md, Entry; C2SP signed-note; RFC 8032.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NoReturn, Protocol

from nacl._sodium import ffi, lib  # type: ignore[import-not-found]
from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from aegis_store._engine import open_all, sign_function
from aegis_store.errors import InvalidArgument

SEED_SIZE: Final = 32
PUBLIC_KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64

#: The type bytes of C2SP signed-note.
ED25519: Final = 1
COSIGNATURE: Final = 4

#: Where libsodium's functions are in memory.
_OPEN: Final = int(ffi.cast("uintptr_t", ffi.addressof(lib, "crypto_sign_open")))
#: What signs with a FileSigner's `secret_key`, for the engine to call.
SIGN: Final = sign_function(int(ffi.cast("uintptr_t", ffi.addressof(lib, "crypto_sign"))))


class Signer(Protocol):
    """An Ed25519 key that can be asked for signatures; where the secret lies is its own affair."""

    @property
    def name(self) -> str:
        """Whose key it is: an agent, or what notes call the signer."""
        ...

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        ...

    @property
    def key_id(self) -> bytes:
        """4 bytes, see `key_id`."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature [64] over the whole message."""
        ...


class FileSigner:
    """An Ed25519 key whose seed [32] is in this process's memory, as read from a file. May be used by any number of threads."""

    __slots__ = ("key_id", "name", "public_key", "secret_key")

    def __init__(self, name: str, seed: bytes) -> None:
        if len(seed) != SEED_SIZE:
            raise InvalidArgument(f"an Ed25519 seed has {SEED_SIZE} bytes, not {len(seed)}", op="sign")
        #: The secret as `SIGN` takes it [64].
        self.public_key, self.secret_key = crypto_sign_seed_keypair(seed)
        self.name = name
        self.key_id = key_id(name, self.public_key)

    def __repr__(self) -> str:
        return f"FileSigner({self.name!r}, key id {self.key_id.hex()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret key is not copied or pickled")

    @property
    def seed(self) -> bytes:
        """The secret [32], to be written to a key file and nowhere else."""
        return self.secret_key[:SEED_SIZE]

    def named(self, name: str) -> FileSigner:
        """The same key under another name, hence with another key id."""
        return FileSigner(name, self.seed)

    def sign(self, message: bytes) -> bytes:
        """The signature [64] over the whole message. Always the same for the same message."""
        return crypto_sign(message, self.secret_key)[:SIGNATURE_SIZE]


def key_id(name: str, public_key: bytes, *, algorithm: int = ED25519) -> bytes:
    """The first 4 bytes of SHA-256(name ‖ 0x0A ‖ algorithm ‖ public key)."""
    return sha256(name.encode("utf-8", "surrogatepass") + bytes((0x0A, algorithm)) + public_key).digest()[:4]


def verify_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is one that the holder of `public_key` made over `message`. Wrong lengths are a plain no."""
    if len(public_key) != PUBLIC_KEY_SIZE or len(signature) != SIGNATURE_SIZE:
        return False  # libsodium would read past the end
    signed = signature + message
    # What nacl.bindings does, but for the copy of the message that nobody wants. Without a lock of the interpreter's.
    held: int = lib.crypto_sign_open(ffi.NULL, ffi.NULL, signed, len(signed), public_key)
    return held == 0


def verify_signatures(signed: Sequence[bytes], public_keys: Sequence[bytes]) -> list[bool]:
    """`verify_signature` for many: messages, each behind its signature, and the key [32] of each.

    One call for all, in which the interpreter's lock is not held: threads that check do not wait for each other.
    """
    return open_all(_OPEN, signed, public_keys)
