"""What phones say, built byte by byte for tests: TLS hellos, HTTP/2 frames, Xiaomi's first frame."""

from __future__ import annotations

import struct

END_HEADERS = 4
MAGIC = b"\xc2\xfe\x00\x05"


def extension(kind, data):
    return struct.pack("!HH", kind, len(data)) + data


def server_name(*names, kind=0):
    entries = b"".join(struct.pack("!BH", kind, len(name)) + name for name in names)
    return extension(0, struct.pack("!H", len(entries)) + entries)


def alpn(*protocols):
    entries = b"".join(bytes((len(protocol),)) + protocol for protocol in protocols)
    return extension(16, struct.pack("!H", len(entries)) + entries)


def message(extensions):
    """A ClientHello with its handshake header (RFC 8446, 4.1.2)."""
    block = b"" if extensions is None else struct.pack("!H", len(extensions)) + extensions
    body = b"\x03\x03" + bytes(32) + b"\x20" + bytes(32) + b"\0\x04\x13\x01\x13\x02" + b"\x01\0" + block
    return b"\x01" + len(body).to_bytes(3) + body


def record(fragment, kind=22):
    return bytes((kind, 3, 1)) + struct.pack("!H", len(fragment)) + fragment


def hello(*extensions):
    return record(message(b"".join(extensions)))


def ech(size, kind=0):
    return extension(0xFE0D, bytes((kind, 0, 1, 0, 1, 7, 0, 32)) + bytes(32) + struct.pack("!H", size) + bytes(size))


def frame(kind, payload=b"", flags=0, stream=1):
    return len(payload).to_bytes(3) + bytes((kind, flags)) + struct.pack("!I", stream) + payload


def fields(host, *more, path="/a", method="GET"):
    return [(":method", method), (":scheme", "http"), (":authority", host), (":path", path), *more]


def headers(encoder, host, *more, flags=END_HEADERS, **how):
    return frame(1, encoder.encode(fields(host, *more, **how)), flags)


def varint(value):
    octets = []
    while value > 127:
        octets.append(value & 127 | 128)
        value >>= 7
    return bytes((*octets, value))


def field(number, value):
    """A protobuf field: a number, or text."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


HEADER = field(1, 0) + field(3, b"xiaomi.com") + field(5, b"CONN") + field(9, 0)


def conn(host, header=HEADER, more=b""):
    """The first frame, as endpoints of 2020 to 2022 got it."""
    body = field(1, 106) + field(2, b"Redmi Note 8T") + field(3, b"V12.0.6") + field(4, b"a-" + b"0" * 40) + field(5, 2)
    body += field(6, b"wifi") + field(7, host) + field(8, b"it_IT") + field(10, 30) + more
    inside = struct.pack("!HHI", 2, len(header), len(body)) + header + body
    return MAGIC + struct.pack("!I", len(inside)) + inside + b"\x12\x34\x56\x78"


def dtls(message, cookie=b"", number=0, cut=0, version=0xFEFD):
    """Records of DTLS with a ClientHello (RFC 6347, 4.2), each a datagram; `message` is TLS's, with its handshake header."""
    at = 35 + message[38]
    body = message[4 : 4 + at] + bytes((len(cookie),)) + cookie + message[4 + at :]
    pieces = [(n, body[n : n + cut]) for n in range(0, len(body), cut)] if cut else [(0, body)]
    made = []
    for n, (offset, piece) in enumerate(pieces):
        head = b"\x01" + len(body).to_bytes(3) + struct.pack("!H", number) + offset.to_bytes(3) + len(piece).to_bytes(3)
        made.append(struct.pack("!BHHHIH", 22, version, 0, 0, n, len(head + piece)) + head + piece)
    return made
