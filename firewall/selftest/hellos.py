"""[pure] What phones say first: a question for a name, a TLS hello, the same in QUIC, an HTTP request.

Each carries a token where it stays readable on the way, so that whoever watches knows it again behind any NAT.
"""

from __future__ import annotations

import hmac
import struct
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

TOKEN: Final = 16  # bytes of a token
A, AAAA = 1, 28  # kinds of questions (RFC 1035, RFC 3596)
_SALT: Final = bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")  # QUIC version 1 (RFC 9001, 5.2)
_DATAGRAM: Final = 1_200  # bytes that a client's first one has at least (RFC 9000, 14.1)
_PARTS: Final = ((b"key", 16), (b"iv", 12), (b"hp", 16))  # RFC 9001, 5.1
_NUMBER: Final = 4  # bytes of a packet number


def question(name: str, kind: int, number: int) -> bytes:
    """RFC 1035, 4.1. The name as it is spelled: upper and lower case are kept."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def answers(message: bytes, kind: int) -> list[bytes]:
    """The addresses in an answer whose names are all compressed or in the question; [] if there are none."""
    if len(message) < 12:
        return []
    found, at = [], 12
    try:
        at = _behind_name(message, at) + 4
        for _ in range(int.from_bytes(message[6:8])):
            at = _behind_name(message, at)
            seen, _, _, size = struct.unpack_from("!HHIH", message, at)
            if seen == kind:
                found.append(message[at + 10 : at + 10 + size])
            at += 10 + size
    except (IndexError, struct.error):
        return []
    return [addr for addr in found if len(addr) == (4 if kind == A else 16)]


def _behind_name(message: bytes, at: int) -> int:
    while message[at]:
        if message[at] >= 0xC0:
            return at + 2
        at += 1 + message[at]
    return at + 1


def client_hello(name: str | None, token: bytes) -> bytes:
    """A TLS record with a ClientHello (RFC 8446, 4.1.2) that carries `token` as its random."""
    return b"\x16\x03\x01" + _sized(_hello(name, token), 2)


def http(host: str, token: bytes) -> bytes:
    return b"POST /%b HTTP/1.1\r\nHost: %b\r\nContent-Length: 3\r\n\r\nabc" % (token, host.encode())


def quic(name: str, token: bytes) -> bytes:
    """A client's first datagram; `token` is the connection id (RFC 9001, 5)."""
    secret = _expand(hmac.digest(_SALT, token, "sha256"), b"client in", 32)
    key, iv, mask_key = (_expand(secret, b"quic " + word, size) for word, size in _PARTS)
    head = b"\xc3\0\0\0\1" + _sized(token, 1) + b"\0\0"
    hello = _hello(name, token, b"\x00\x39\x00\x02\x01\x00")  # quic_transport_parameters, which QUIC requires
    frames = b"\x06\0" + (0x4000 | len(hello)).to_bytes(2) + hello
    frames += bytes(_DATAGRAM - len(head) - 2 - _NUMBER - 16 - len(frames))
    head += (0x4000 | _NUMBER + len(frames) + 16).to_bytes(2) + bytes(_NUMBER)
    sealed = AESGCM(key).encrypt(iv, frames, head)
    mask = Cipher(AES(mask_key), ECB()).encryptor().update(sealed[:16])  # noqa: S305  header protection is one block
    number = bytes(a ^ b for a, b in zip(head[-_NUMBER:], mask[1:], strict=False))
    return bytes((head[0] ^ mask[0] & 0x0F,)) + head[1:-_NUMBER] + number + sealed


def _hello(name: str | None, token: bytes, more: bytes = b"") -> bytes:
    extensions = b"\x00\x2b\x00\x03\x02\x03\x04" + more  # TLS 1.3
    if name is not None:
        extensions += b"\0\0" + _sized(_sized(b"\0" + _sized(name.encode(), 2), 2), 2)
    random = (token * 2)[:32].ljust(32, b"\0")
    body = b"\x03\x03" + random + b"\0" + _sized(b"\x13\x01\x13\x02", 2) + b"\x01\0" + _sized(extensions, 2)
    return b"\x01" + _sized(body, 3)


def _sized(data: bytes, width: int) -> bytes:
    """Behind its length."""
    return len(data).to_bytes(width) + data


def _expand(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446, 7.1) for what fits into one SHA-256."""
    info = bytes((0, size, 6 + len(label))) + b"tls13 " + label + b"\0\1"
    return hmac.digest(secret, info, "sha256")[:size]
