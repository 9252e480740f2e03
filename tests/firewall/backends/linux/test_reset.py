from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.backends.linux.reset import checksum, emptied, rst
from firewall.dissect import ip


@pytest.mark.parametrize("dst", ["198.51.100.9", "2001:db8::9"])
def test_a_rst_says_what_the_packet_would_have_said(wire, dst: str) -> None:
    packet = wire.tcp(dst, 443, b"secret", seq=0xFFFFFFF0)
    made = rst(packet)
    before, after = ip.parse(packet), ip.parse(made)
    assert (after.src, after.dst, after.sport, after.dport, after.seq, after.flags) == (*before[1:5], 0xFFFFFFF0, ip.RST)
    assert after.payload == after.end == len(made)
    assert b"secret" not in made
    pseudo = after.src + after.dst + struct.pack("!II", len(made) - after.l4, ip.TCP)
    assert checksum(pseudo + made[after.l4 :]) == 0
    if len(after.src) == 4:
        assert checksum(made[:20]) == 0


@pytest.mark.parametrize("dst", ["198.51.100.9", "2001:db8::9"])
def test_who_is_asked_for_a_sign_of_life_sees_all_but_the_byte(wire, dst: str) -> None:
    packet = wire.tcp(dst, 443, b"!", seq=1_000, flags=ip.FIN | ip.PSH | ip.ACK)
    made = emptied(packet)
    before, after = ip.parse(packet), ip.parse(made)
    assert after == before._replace(end=before.payload, flags=ip.ACK)
    assert made[after.l4 : after.l4 + 13] == packet[before.l4 : before.l4 + 13]
    pseudo = after.src + after.dst + struct.pack("!II", len(made) - after.l4, ip.TCP)
    assert checksum(pseudo + made[after.l4 :]) == 0


def test_what_is_no_tcp_gets_none(wire) -> None:
    for made in (rst, emptied):
        assert made(wire.udp("198.51.100.9", 53)) is None


@given(st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    rst(data)
    emptied(data)
