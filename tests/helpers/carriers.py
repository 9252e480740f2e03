"""Packets within packets, as tunnels, networks over networks and switches that mirror a port send them."""

from __future__ import annotations

import struct
from collections.abc import Callable

import captures

_MACS = captures.THEIR_MAC + captures.OUR_MAC


def kind(packet: bytes) -> bytes:
    return b"\x08\0" if packet[0] >> 4 == 4 else b"\x86\xdd"


def ethernet(packet: bytes) -> bytes:
    return (_MACS + kind(packet) + packet).ljust(60, b"\0")


def gre(flags: int, type_: bytes, more: bytes, data: bytes) -> bytes:
    return struct.pack("!H", flags) + type_ + more + data


TEREDO, _NATIVE = "2001:0:102:304:8000:1:3f57:fef6", "2001:db8:51::7"


def teredo(packet: bytes, before: bytes = b"") -> bytes:
    """Its addresses are of IPv6, whatever was to be carried."""
    del packet
    inner = captures.tcp(TEREDO, 40000, _NATIVE, 443, 1001, 24, captures.records(captures.hello("www.example.com")))
    return before + inner


def nsh(kind: int) -> bytes:
    """RFC 8300 with metadata of type 1."""
    return b"\x0f\xc6\1" + bytes((kind,)) + bytes(20)


def wifi(packet: bytes) -> bytes:
    """A station's frame with quality of service, to its access point."""
    return b"\x88\1\0\0" + bytes(6) + captures.OUR_MAC + captures.THEIR_MAC + bytes(4) + b"\xaa\xaa\x03\0\0\0" + kind(packet) + packet


# name -> IP's protocol, and what it carries of a packet
STREAMS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "gre": (47, lambda p: gre(0, kind(p), b"", p)),
    "gre-all-fields": (47, lambda p: gre(0xB000, kind(p), bytes(12), p)),
    "gre-bridged": (47, lambda p: gre(0x2000, b"\x65\x58", bytes(4), ethernet(p))),
    "gre-mpls": (47, lambda p: gre(0, b"\x88\x47", b"\0\1\1\x40", p)),
    "pptp": (47, lambda p: gre(0x3081, b"\x88\x0b", bytes(12), (b"\xff\x03\0\x21" if p[0] >> 4 == 4 else b"\xff\x03\0\x57") + p)),
    "erspan-1": (47, lambda p: gre(0, b"\x88\xbe", b"", ethernet(p))),
    "erspan-2": (47, lambda p: gre(0x1000, b"\x88\xbe", bytes(12), ethernet(p))),
    "erspan-3": (47, lambda p: gre(0x1000, b"\x22\xeb", bytes(16), ethernet(p))),
    "erspan-3-more": (47, lambda p: gre(0x1000, b"\x22\xeb", bytes(15) + b"\1" + bytes(8), ethernet(p))),
}
STREAMS |= {
    "ether-ip": (97, lambda p: b"\x30\0" + ethernet(p)),
    "pim-register": (103, lambda p: b"\x21\0" + bytes(6) + p),
    "mpls-in-ip": (137, lambda p: b"\0\1\1\x40" + p),
    "gre-nsh": (47, lambda p: gre(0, b"\x89\x4f", b"", nsh(1 if p[0] >> 4 == 4 else 2) + p)),
}
DATAGRAMS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {  # name -> port, payload
    "vxlan": (4789, lambda p: b"\x08\0\0\0\0\0\x07\0" + ethernet(p)),
    "geneve": (6081, lambda p: b"\2\0\x65\x58\0\0\x07\0" + bytes(8) + ethernet(p)),
    "geneve-ip": (6081, lambda p: b"\0\0" + kind(p) + b"\0\0\x07\0" + p),
    "gtp": (2152, lambda p: b"\x30\xff" + struct.pack("!HI", len(p), 7) + p),
    "gtp-extensions": (2152, lambda p: b"\x34\xff" + struct.pack("!HI", len(p) + 8, 7) + b"\0\0\0\x85" + b"\1\0\x09\0" + p),
    "teredo": (3544, teredo),
    "teredo-behind-more": (3544, lambda p: teredo(p, b"\0\1\2\1" + bytes(3 + 9) + bytes(8))),
    "vxlan-gpe": (4790, lambda p: b"\x0c\0\0" + bytes((1 if p[0] >> 4 == 4 else 2,)) + bytes(4) + p),
    "vxlan-gpe-bridged": (4790, lambda p: b"\x0c\0\0\x03" + bytes(4) + ethernet(p)),
    "vxlan-gpe-nsh": (4790, lambda p: b"\x0c\0\0\x04" + bytes(4) + nsh(3) + ethernet(p)),
    "mpls-in-udp": (6635, lambda p: b"\0\2\0\x40\0\1\1\x40" + p),
    "l2tp": (1701, lambda p: b"\x02\x02\0\1\0\2\0\0\xff\x03" + (b"\0\x21" if p[0] >> 4 == 4 else b"\0\x57") + p),
    "l2tp-all-fields": (1701, lambda p: b"\x4a\x02" + bytes(6) + bytes(4) + b"\0\4" + bytes(4) + (b"\0\x21" if p[0] >> 4 == 4 else b"\0\x57") + p),
    "fou": (5555, lambda p: p),
    "gue": (6080, lambda p: (b"\0\x04" if p[0] >> 4 == 4 else b"\0\x29") + b"\0\0" + p),
    "gre-in-udp": (4754, lambda p: gre(0, kind(p), b"", p)),
    "tzsp": (37008, lambda p: b"\1\0\0\1\x0a\1\x30\0\1" + ethernet(p)),
    "capwap": (5247, lambda p: b"\0\x10\2\0" + bytes(4) + ethernet(p)),
    "capwap-wifi": (5247, lambda p: b"\0\x10\3\0" + bytes(4) + wifi(p)),
    "capwap-cisco": (5247, lambda p: b"\0\x10\3\0" + bytes(4) + wifi(p)[1::-1] + wifi(p)[2:]),
}
