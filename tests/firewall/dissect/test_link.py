"""IP found in the frames of every link that captures come with."""

import captures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.dissect import link

PACKETS = [captures.udp(captures.PHONE, 1, captures.FAR, 2, b"x"), captures.udp(captures.PHONE6, 1, captures.FAR6, 2, b"x")]
TELLS = {"ethernet", "vn-tag", "e-tag", "provider", "vlan", "qinq", "pppoe", "mpls", "llc-snap", "cooked", "cooked-2", "cooked-vlan", "wifi", "radiotap"}


@pytest.mark.parametrize("name", captures.LINKS)
@pytest.mark.parametrize("packet", PACKETS)
def test_the_packet_is_found(name: str, packet: bytes) -> None:
    kind, framed = captures.LINKS[name]
    frame = framed(packet)
    assert link.known(kind)
    assert frame[link.ip_at(kind, frame) :] == packet


@pytest.mark.parametrize("name", captures.LINKS)
def test_the_sender_is_told_where_the_link_tells(name: str) -> None:
    kind, framed = captures.LINKS[name]
    sender, _ = link.macs(kind, framed(PACKETS[0]))
    assert sender == (captures.OUR_MAC if name in TELLS else link.NOBODY)


def test_the_receiver_of_an_answer_is_the_phone() -> None:
    answer = captures.udp(captures.FAR, 2, captures.PHONE, 1, b"x")
    for name in ("ethernet", "wifi"):
        kind, framed = captures.LINKS[name]
        assert link.macs(kind, framed(answer)) == (captures.THEIR_MAC, captures.OUR_MAC)


def test_what_is_not_ip_has_none() -> None:
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    encrypted = captures.LINKS["wifi"][1](PACKETS[0])
    encrypted = encrypted[:1] + bytes((encrypted[1] | 0x40,)) + encrypted[2:]
    assert link.ip_at(link.ETHERNET, arp) == link.NO_IP
    assert link.ip_at(link.WIFI, encrypted) == link.NO_IP
    assert link.ip_at(link.ETHERNET, b"") == link.NO_IP
    assert link.ip_at(9_999, PACKETS[0]) == link.NO_IP
    assert not link.known(9_999)


@given(st.sampled_from(sorted(captures.LINKS)), st.binary(max_size=40), st.integers(0, 60))
def test_no_bytes_make_it_raise(name: str, data: bytes, cut: int) -> None:
    kind, framed = captures.LINKS[name]
    for frame in (data, framed(PACKETS[0])[:cut] + data):
        at = link.ip_at(kind, frame)
        assert at == link.NO_IP or 0 <= at < len(frame)
        link.macs(kind, frame)
