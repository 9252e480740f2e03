from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.dissect import NOT_MINE, ip
from firewall.inputs import FlowKey

SRC4, DST4 = socket.inet_aton("10.77.0.10"), socket.inet_aton("42.62.48.9")
SRC6, DST6 = socket.inet_pton(socket.AF_INET6, "2001:db8::10"), socket.inet_pton(socket.AF_INET6, "2400:3200::9")
TCP = struct.pack("!HHIIBBHHH", 40000, 443, 0xFFFFFFF0, 7, 5 << 4, ip.PSH | ip.ACK, 65535, 0, 0)
UDP = struct.pack("!HHHH", 5353, 443, 12, 0)


def v4(proto, body, *, options=b"", fragment=0, total=None):
    size = 20 + len(options)
    total = size + len(body) if total is None else total
    head = struct.pack("!BBHHHBBH", 0x40 | size // 4, 0, total, 1, fragment, 64, proto, 0)
    return head + SRC4 + DST4 + options + body


def v6(proto, body, *, length=None):
    length = len(body) if length is None else length
    return struct.pack("!IHBB", 6 << 28, length, proto, 64) + SRC6 + DST6 + body


def extension(following, units=0, third=0):
    return bytes((following, units, 0, third)) + bytes(4 + 8 * units)


@pytest.mark.parametrize(("build", "src", "dst", "l4"), [(v4, SRC4, DST4, 20), (v6, SRC6, DST6, 40)])
def test_tcp(build, src, dst, l4):
    raw = build(ip.TCP, TCP + b"data")
    assert ip.parse(raw) == ip.Packet(6, src, dst, 40000, 443, l4, l4 + 20, l4 + 24, 0xFFFFFFF0, ip.PSH | ip.ACK)
    assert ip.parse(raw).flow() == FlowKey(6, src, 40000, dst, 443)


@pytest.mark.parametrize("build", [v4, v6])
def test_tcp_options_are_not_payload(build):
    segment = TCP[:12] + bytes((8 << 4, ip.ACK)) + TCP[14:] + bytes(12) + b"data"
    raw = build(ip.TCP, segment)
    packet = ip.parse(raw)
    assert raw[packet.payload : packet.end] == b"data"


@pytest.mark.parametrize("build", [v4, v6])
def test_udp_ends_where_its_own_length_says(build):
    raw = build(ip.UDP, UDP + b"datamore than the receiver sees")
    packet = ip.parse(raw)
    assert (packet.sport, packet.dport) == (5353, 443)
    assert raw[packet.payload : packet.end] == b"data"


def test_ethernet_padding_is_not_payload():
    raw = v4(ip.TCP, TCP) + bytes(6)
    packet = ip.parse(raw)
    assert packet.payload == packet.end == 40
    raw = v6(ip.TCP, TCP, length=20) + bytes(6)
    assert ip.parse(raw).end == 60


def test_ipv4_options():
    packet = ip.parse(v4(ip.TCP, TCP, options=b"\x94\x04\0\0"))
    assert (packet.l4, packet.dport) == (24, 443)


@pytest.mark.parametrize("build", [v4, v6])
def test_big_tcp_says_length_zero(build):
    raw = build(ip.TCP, TCP + b"x" * 70000, **({"total": 0} if build is v4 else {"length": 0}))
    packet = ip.parse(raw)
    assert packet.end - packet.payload == 70000


def test_ipv6_extension_headers_are_walked():
    body = (
        extension(ip.ROUTING)
        + extension(ip.DESTINATION, units=2)
        + extension(ip.AUTHENTICATION)
        + bytes((ip.FRAGMENT, 4, 0, 0)) + bytes(20)  # authentication counts in 4 octets, minus two
        + extension(ip.TCP)
        + TCP
    )
    packet = ip.parse(v6(ip.HOP_BY_HOP, body))
    assert (packet.proto, packet.sport, packet.dport) == (6, 40000, 443)


def test_too_many_extension_headers():
    many = extension(ip.DESTINATION) * (ip.MOST_EXTENSIONS - 1) + extension(ip.TCP)
    assert ip.parse(v6(ip.DESTINATION, many + TCP)) is not NOT_MINE
    assert ip.parse(v6(ip.DESTINATION, extension(ip.DESTINATION) + many + TCP)) is NOT_MINE


def test_only_the_first_fragment_has_ports():
    assert ip.parse(v4(ip.UDP, UDP, fragment=0x2000)).dport == 443
    assert ip.parse(v4(ip.UDP, UDP, fragment=0x2001)) is NOT_MINE
    assert ip.parse(v6(ip.FRAGMENT, extension(ip.UDP, third=1) + UDP)).dport == 443
    assert ip.parse(v6(ip.FRAGMENT, extension(ip.UDP, third=8) + UDP)) is NOT_MINE


@pytest.mark.parametrize(("build", "proto", "request_type"), [(v4, ip.ICMP, 8), (v6, ip.ICMPV6, 128)])
def test_echo_has_its_identifier_as_source_port(build, proto, request_type):
    assert ip.parse(build(proto, struct.pack("!BBHHH", request_type, 0, 0, 0xBEEF, 1))).flow().sport == 0xBEEF
    assert ip.parse(build(proto, struct.pack("!BBHHH", 3, 0, 0, 0xBEEF, 1))).flow().sport == 0


@pytest.mark.parametrize("build", [v4, v6])
def test_other_protocols_have_no_ports(build):
    assert ip.parse(build(47, bytes(8))).flow()[2::2] == (0, 0)
    assert ip.parse(build(ip.SCTP, UDP)).dport == 443


@pytest.mark.parametrize(("cut", "dport"), [(20, NOT_MINE), (23, NOT_MINE), (24, 443), (33, 443), (34, 443), (40, 443)])
def test_a_cut_copy_gives_what_is_in_it(cut, dport):
    packet = ip.parse(v4(ip.TCP, TCP + bytes(500))[:cut])
    assert packet is dport or (packet.dport == dport and packet.payload <= packet.end <= cut)


@pytest.mark.parametrize("raw", [
    b"", b"\x45", b"\x50" + bytes(60), v4(6, TCP)[:19], b"\x44" + v4(6, TCP)[1:], b"\x4f" + v4(6, TCP)[1:],
    v4(6, TCP[:12] + b"\x40" + TCP[13:]), v6(6, TCP)[:39], v6(0, b"\x06\x09" + bytes(20)),
])
def test_headers_that_lie(raw):
    assert ip.parse(raw) is NOT_MINE


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda b: b"\x45" + b) | st.binary(max_size=100).map(lambda b: b"\x60" + b))
def test_never_raises(raw):
    packet = ip.parse(raw)
    assert packet is NOT_MINE or packet.l4 <= packet.end <= len(raw)


@given(st.sampled_from([v4(6, TCP + b"data"), v6(0, extension(6) + TCP), v4(17, UDP + b"data")]), st.data())
def test_mutations_stay_inside(raw, data):
    raw = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    packet = ip.parse(raw)
    assert packet is NOT_MINE or (packet.l4 <= packet.payload <= packet.end <= len(raw))


@pytest.mark.parametrize("make", [v4, v6])
@pytest.mark.parametrize(("proto", "head"), [(6, TCP), (17, UDP)])
def test_payload_of_a_copy_that_is_cut_short(make, proto, head):
    whole = make(proto, head[:4] + (8 + 600).to_bytes(2) + head[6:] + b"x" * 600 if proto == 17 else head + b"x" * 600)
    for copied in (len(whole), 128, len(whole) - 600):
        packet = ip.parse(whole[:copied])
        assert ip.payload_of(whole[:copied], packet) == 600
    assert ip.payload_of(make(proto, head), ip.parse(make(proto, head))) == 0
