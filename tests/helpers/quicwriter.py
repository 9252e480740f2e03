"""A QUIC client's first flight, written for tests: keys by another way than the reader's, frames cut as one likes."""

from __future__ import annotations

import struct
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

V1, V2, DRAFT_29, DRAFT_34, Q050 = 1, 0x6B3343CF, 0xFF00001D, 0xFF000022, 0x51303530
SALTS = {
    V1: "38762cf7f55934b34d179ae6a4c80cadccbb7f0a", DRAFT_34: "38762cf7f55934b34d179ae6a4c80cadccbb7f0a",
    V2: "0dede3def700a6db819381be6e269dcbf9bd2ed9", DRAFT_29: "afbfec289993d24c9e9786f19c6111e04390a899",
    Q050: "504574efd066fe2f9d945cfcdbd3a7f0d3b56b45",
}
DCID = bytes.fromhex("8394c8f03e515708")  # RFC 9001, A


def varint(value: int) -> bytes:
    for size, mark in ((1, 0), (2, 1), (4, 2), (8, 3)):
        if value < 1 << (8 * size - 2):
            return (value | mark << (8 * size - 2)).to_bytes(size, "big")
    raise ValueError(value)


def label(secret: bytes, word: str, size: int) -> bytes:
    name = b"tls13 " + word.encode()
    return HKDFExpand(SHA256(), size, struct.pack("!HB", size, len(name)) + name + b"\0").derive(secret)


def keys(dcid: bytes, version: int = V1) -> tuple[bytes, bytes, bytes]:
    extract = HMAC(bytes.fromhex(SALTS.get(version, SALTS[V1])), SHA256())
    extract.update(dcid)
    secret = label(extract.finalize(), "client in", 32)
    prefix = "quicv2 " if version == V2 else "quic "
    return label(secret, prefix + "key", 16), label(secret, prefix + "iv", 12), label(secret, prefix + "hp", 16)


def crypto(offset: int, data: bytes) -> bytes:
    return b"\x06" + varint(offset) + varint(len(data)) + data


def initial(
    frames: bytes, *, dcid: bytes = DCID, key_id: bytes | None = None, version: int = V1, number: int = 0, token: bytes = b"",
    scid: bytes = b"", fill: int = 1200, number_size: int = 1,
) -> bytes:
    """One Initial packet with `frames` in it, padded to `fill` bytes, protected with the keys of `key_id` (else `dcid`)."""
    key, iv, mask_key = keys(dcid if key_id is None else key_id, version)
    kind = 1 if version == V2 else 0
    head = bytes((0xC0 | kind << 4 | number_size - 1,)) + struct.pack("!I", version)
    head += bytes((len(dcid),)) + dcid + bytes((len(scid),)) + scid + varint(len(token)) + token
    frames += bytes(max(fill - len(head) - 2 - number_size - 16 - len(frames), 4))
    head += (0x4000 | number_size + len(frames) + 16).to_bytes(2, "big") + number.to_bytes(number_size, "big")
    nonce = (int.from_bytes(iv, "big") ^ number).to_bytes(12, "big")
    sealed = AESGCM(key).encrypt(nonce, frames, head)
    sample = sealed[4 - number_size : 20 - number_size]
    mask = Cipher(AES(mask_key), ECB()).encryptor().update(sample)
    first = bytes((head[0] ^ mask[0] & 0x0F,))
    hidden = bytes(a ^ b for a, b in zip(head[-number_size:], mask[1:], strict=False))
    return first + head[1:-number_size] + hidden + sealed


def long_header(kind: int, body: bytes, *, dcid: bytes = DCID, version: int = V1) -> bytes:
    """A packet of another type: 1 is 0-RTT, 2 Handshake, 3 Retry (whose body is a token, without a length)."""
    shift = 1 if version == V2 else 0
    head = bytes((0xC0 | (kind + shift & 3) << 4,)) + struct.pack("!I", version) + bytes((len(dcid),)) + dcid + b"\0"
    return head + (b"" if kind == 3 else varint(len(body))) + body


def google_hello(name: str, fill: int = 1_000) -> bytes:
    """A hello of Google's own QUIC: tags and where their values end, then the values."""
    values = {b"PAD\0": b"-" * fill, b"SNI\0": name.encode(), b"VER\0": b"Q043"}
    ends, end = b"", 0
    for tag, value in values.items():
        end += len(value)
        ends += tag + struct.pack("<I", end)
    return b"CHLO" + struct.pack("<HH", len(values), 0) + ends + b"".join(values.values())


def google(name: str, version: bytes = b"Q043", **how: Any) -> bytes:
    """Its first datagram, as that version has it."""
    hello = google_hello(name, **how)
    if version == b"Q050":
        return initial(b"\x08" + varint(0) + varint(len(hello)) + hello, version=Q050, fill=1_350)
    stream = b"\xa0\x01" + struct.pack(">H", len(hello)) + hello  # frame of stream 1 with a length
    number_and_hash = b"\x01" + bytes(12)
    if version == b"Q046":
        return b"\xc3" + version + b"\x50" + DCID + bytes(3) + number_and_hash + stream
    return b"\x0d" + DCID + version + number_and_hash + stream
