"""What every part of the second reader needs: how it refuses, checksums, codes, hashes and the tree of RFC 6962."""

from __future__ import annotations

import hashlib
import hmac


class Invalid(Exception):
    """Bytes that are not as the format says."""


def demand(condition: object, what: str) -> None:
    if not condition:
        raise Invalid(what)


# ---- checksums, codes, hashes -----------------------------------------------------------------------------------------------


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC = _crc_table()


def crc32c(data: bytes) -> int:
    """Castagnoli's polynomial, reflected, all ones before and after."""
    value = 0xFFFF_FFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value ^ 0xFFFF_FFFF


def mac(secret: bytes, message: bytes) -> bytes:
    return hmac.digest(secret, message, "sha256")[:16]


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(root_of(leaves[:half]), root_of(leaves[half:]))
