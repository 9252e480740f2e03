from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.backends.linux.reset import acknowledged, checksum, emptied, rst
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


@pytest.mark.parametrize("options", [b"", b"\1\1\x08\x0aminethei", b"\2\4\5\xb4\x08\x0aminethei\0\0", b"\x05\x02\x08\x0aminethei", b"\x08\x0amine", b"\xff\0\1\1"])
@pytest.mark.parametrize("dst", ["198.51.100.9", "2001:db8::9"])
def test_who_says_something_again_hears_that_it_was_heard(wire, dst: str, options: bytes) -> None:
    plain = wire.tcp(dst, 443, options + b"said", seq=1_000)
    at = ip.parse(plain).l4
    packet = plain[: at + 8] + (77).to_bytes(4) + bytes([(20 + len(options)) // 4 << 4]) + plain[at + 13 :]
    made = acknowledged(packet, 1_004)
    before, after = ip.parse(packet), ip.parse(made)
    assert (after.src, after.dst, after.sport, after.dport) == (before.dst, before.src, before.dport, before.sport)
    assert (after.seq, made[after.l4 + 8 : after.l4 + 12], after.flags) == (77, (1_004).to_bytes(4), ip.ACK)
    assert made[after.l4 + 20 :] == (b"\1\1\x08\x0atheimine" if b"minethei" in options else b"")
    pseudo = after.src + after.dst + struct.pack("!II", len(made) - after.l4, ip.TCP)
    assert checksum(pseudo + made[after.l4 :]) == 0


def test_what_is_no_tcp_gets_none(wire) -> None:
    for made in (rst, emptied, lambda packet: acknowledged(packet, 1)):
        assert made(wire.udp("198.51.100.9", 53)) is None


@given(st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    rst(data)
    emptied(data)
    acknowledged(data, 1)
