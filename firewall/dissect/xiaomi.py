"""[pure] Xiaomi's push channel, tcp/5222: neither HTTP nor TLS, and its first frame says in the clear whom it wants.

Frame: magic, length, then (where the length is not 0) kind, sizes of a protobuf header and body, both of them, and a
checksum. Only the first frame (CONN) can be read; later ones are encrypted. Found by looking at captures.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from firewall.dissect import NEED_MORE, NOT_MINE, NeedMore, NotMine
from firewall.dissect.host import address, host_name

MAGIC: Final = b"\xc2\xfe\x00\x05"
LARGEST = 4_096  # bytes of a frame; those seen have some 250
MOST_FIELDS = 64  # of one protobuf message; those seen have 10
DOMAIN, COMMAND = 3, 5  # fields of the header
MODEL, BUILD, HOST = 2, 3, 7  # fields of CONN's body

_SIZES = Struct("!HHI")


class Frame(NamedTuple):
    """A frame, as far as it can be read. The model is the phone's own text: nothing to print as it is."""

    hosts: tuple[str, ...]  # lower case: the server that CONN wants, then the service's domain
    addresses: tuple[str, ...]  # that stood in place of the server's name
    model: str  # of the phone; "" where it is not told


def frame(data: bytes) -> Frame | NeedMore | NotMine:
    """The frame at the beginning of what a phone sent."""
    if not data.startswith(MAGIC):
        return NEED_MORE if MAGIC.startswith(data) else NOT_MINE
    if len(data) < 8:
        return NEED_MORE
    length = int.from_bytes(data[4:8])
    if length > LARGEST:
        return NOT_MINE
    if len(data) < 8 + length:
        return NEED_MORE
    if length < _SIZES.size:
        return Frame((), (), "")  # it is still there, and says no more
    _, head, body = _SIZES.unpack_from(data, 8)
    begin = 8 + _SIZES.size
    if begin + head + body > 8 + length:
        return NOT_MINE
    header = _fields(data[begin : begin + head])
    said = _fields(data[begin + head : begin + head + body]) if header.get(COMMAND) == b"CONN" else {}
    server = said.get(HOST, b"")
    names = (host_name(server), host_name(header.get(DOMAIN, b"")))
    where = address(server)
    hosts = tuple(dict.fromkeys(name for name in names if name))
    return Frame(hosts, (where,) if where else (), said.get(MODEL, b"").decode("utf-8", "replace")[:64])


def _fields(message: bytes) -> dict[int, bytes]:
    """The fields of a protobuf message that have a length, the last of each number, up to where it makes no sense."""
    found: dict[int, bytes] = {}
    at, size = 0, len(message)
    for _ in range(MOST_FIELDS):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            _, at = _varint(message, at)
        elif kind == 1:
            at += 8
        elif kind == 2:
            length, at = _varint(message, at)
            if at + length <= size:
                found[key >> 3] = message[at : at + length]
            at += length
        elif kind == 5:
            at += 4
        else:
            break
        if at >= size:
            break
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends: behind everything, if it is not all there."""
    value = 0
    for shift, octet in enumerate(message[at : at + 5]):
        value |= (octet & 127) << 7 * shift
        if octet < 128:
            return value, at + shift + 1
    return 0, len(message)
