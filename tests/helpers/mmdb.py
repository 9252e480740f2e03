"""Databases of a few networks, in the format of MaxMind (its specification 2.0), for tests."""

from __future__ import annotations

import struct
from ipaddress import ip_network


def made(networks: dict[str, object], built: int = 1_780_000_000, kind: str = "test") -> bytes:
    """IPv6, with IPv4 below ::/96 as all readers expect it."""
    nodes: list[list[int | None]] = [[None, None]]
    data = b""
    leaves: list[tuple[int, int, int]] = []
    for text, record in networks.items():
        network = ip_network(text)
        bits = int(network.network_address)
        length = network.prefixlen + (96 if network.version == 4 else 0)
        node = 0
        for depth in range(length - 1):
            side = bits >> (127 - depth) & 1
            if nodes[node][side] is None:
                nodes.append([None, None])
                nodes[node][side] = len(nodes) - 1
            node = nodes[node][side]
        leaves.append((node, bits >> (128 - length) & 1, len(data)))
        data += encoded(record)
    table = [[len(nodes) if value is None else value for value in node] for node in nodes]
    for node, side, offset in leaves:
        table[node][side] = len(nodes) + 16 + offset
    tree = b"".join(left.to_bytes(3) + right.to_bytes(3) for left, right in table)
    meta = {
        "node_count": len(nodes), "record_size": Short(24), "ip_version": Short(6), "database_type": kind, "languages": ["en"],
        "binary_format_major_version": Short(2), "binary_format_minor_version": Short(0), "build_epoch": Long(built),
        "description": {"en": "for tests"},
    }
    return tree + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + encoded(meta)


class Short(int):
    """Of 16 bits; other numbers have 32."""


class Long(int):
    """Of 64 bits."""


def encoded(value: object) -> bytes:
    match value:
        case str():
            text = value.encode()
            return control(2, len(text)) + text
        case int():
            packed = value.to_bytes((value.bit_length() + 7) // 8)
            kind = 5 if isinstance(value, Short) else 9 if isinstance(value, Long) else 6
            return control(kind, len(packed)) + packed
        case dict():
            return control(7, len(value)) + b"".join(encoded(key) + encoded(one) for key, one in value.items())
        case list():
            return control(11, len(value)) + b"".join(map(encoded, value))
    raise TypeError(value)


def control(kind: int, size: int) -> bytes:
    extra = b""
    if size >= 29:
        assert size < 29 + 256
        size, extra = 29, struct.pack("!B", size - 29)
    return (struct.pack("!B", kind << 5 | size) if kind <= 7 else struct.pack("!BB", size, kind - 7)) + extra
