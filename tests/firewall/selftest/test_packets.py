from __future__ import annotations

import socket

import pytest

from firewall.dissect import NOT_MINE, ip
from firewall.selftest import packets

V4 = socket.inet_aton("10.77.0.250"), socket.inet_aton("192.0.2.60")
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8:77::250"), socket.inet_pton(socket.AF_INET6, "2001:db8:5e1f::60")


def total(data: bytes) -> int:
    """The sum that a receiver makes: 0xffff if nothing was damaged (RFC 1071)."""
    data += bytes(len(data) % 2)
    value = sum(int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2))
    while value >> 16:
        value = (value & 0xFFFF) + (value >> 16)
    return value


@pytest.mark.parametrize(("src", "dst"), [V4, V6])
def test_a_receiver_takes_them(src: bytes, dst: bytes) -> None:
    for packet, proto in (
        (packets.udp(src, dst, 40_000, 443, b"odd"), ip.UDP),
        (packets.tcp(src, dst, 40_001, 443, packets.SYN, b"early"), ip.TCP),
        (packets.ping(src, dst, b"token"), ip.ICMPV6 if len(src) == 16 else ip.ICMP),
    ):
        seen = ip.parse(packet)
        assert seen is not NOT_MINE
        assert (seen.proto, seen.src, seen.dst, seen.end) == (proto, src, dst, len(packet))
        body = packet[seen.l4 :]
        if len(src) == 4:
            assert total(packet[: seen.l4]) == 0xFFFF
            pseudo = b"" if proto == ip.ICMP else src + dst + bytes((0, proto)) + len(body).to_bytes(2)
        else:
            pseudo = src + dst + len(body).to_bytes(4) + bytes((0, 0, 0, proto))
        assert total(pseudo + body) == 0xFFFF


@pytest.mark.parametrize(("src", "dst"), [V4, V6])
def test_two_fragments_are_one_datagram(src: bytes, dst: bytes) -> None:
    body = packets.datagram(src, dst, 40_000, 9_999, b"token" * 20)
    first, second = packets.in_two(src, dst, packets.UDP, body, 24, 7)
    head = 20 if len(src) == 4 else 48
    assert first[head:] + second[head:] == body
    assert len(first) == head + 24
    seen = ip.parse(first)
    assert seen is not NOT_MINE
    assert (seen.sport, seen.dport) == (40_000, 9_999)
    assert ip.parse(second) is NOT_MINE  # its ports are in the other


def test_what_stands_behind_an_extension_header_is_found() -> None:
    body = packets.datagram(*V6, 40_000, 9_999, b"token")
    seen = ip.parse(packets.behind_options(*V6, packets.UDP, body))
    assert seen is not NOT_MINE
    assert (seen.proto, seen.dport, seen.l4) == (ip.UDP, 9_999, 48)


def test_a_frame_says_what_is_in_it() -> None:
    to, sender = bytes.fromhex("020000000001"), bytes.fromhex("025e1f000001")
    for pair, kind in ((V4, "0800"), (V6, "86dd")):
        frame = packets.frame(to, sender, packets.udp(*pair, 1, 2, b""))
        assert frame[:14] == to + sender + bytes.fromhex(kind)
