"""IP found in the frames of every link that captures come with."""

import captures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.dissect import link

PACKETS = [captures.udp(captures.PHONE, 1, captures.FAR, 2, b"x"), captures.udp(captures.PHONE6, 1, captures.FAR6, 2, b"x")]
TELLS = {"ethernet", "vn-tag", "e-tag", "provider", "vlan", "qinq", "pppoe", "mpls", "llc-snap", "cooked", "cooked-2", "cooked-vlan", "wifi", "radiotap",
         "macsec", "macsec-short", "nsh", "nsh-bridged", "fabric-path", "hsr"}


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


def test_frames_in_one_are_found_each() -> None:
    whole = captures.several(*PACKETS, PACKETS[0])
    found = list(link.in_one(link.RADIOTAP, whole))
    assert [frame[14:] for frame in found] == [*PACKETS, PACKETS[0]]
    assert {frame[6:12] for frame in found} == {captures.OUR_MAC}
    assert link.ip_at(link.RADIOTAP, whole) == link.NO_IP
    assert [frame[14:] for frame in link.in_one(link.RADIOTAP, whole[:-1])] == PACKETS
    assert not list(link.in_one(link.RADIOTAP, captures.several(*PACKETS, flags=0x41)))  # encrypted
    assert not list(link.in_one(link.RADIOTAP, captures.LINKS["radiotap"][1](PACKETS[0])))
    assert not list(link.in_one(link.ETHERNET, whole))


def test_what_is_not_ip_has_none() -> None:
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    encrypted = captures.LINKS["wifi"][1](PACKETS[0])
    encrypted = encrypted[:1] + bytes((encrypted[1] | 0x40,)) + encrypted[2:]
    assert link.ip_at(link.ETHERNET, arp) == link.NO_IP
    assert link.ip_at(link.WIFI, encrypted) == link.NO_IP
    assert link.ip_at(link.ETHERNET, b"") == link.NO_IP
    assert link.ip_at(9_999, PACKETS[0]) == link.NO_IP
    assert link.ip_at(link.ETHERNET, captures.LINKS["macsec"][1](PACKETS[0]).replace(b"\x88\xe5\x20", b"\x88\xe5\x2c")) == link.NO_IP
    assert not link.known(9_999)


@given(st.sampled_from(sorted(captures.LINKS)), st.binary(max_size=40), st.integers(0, 60))
def test_no_bytes_make_it_raise(name: str, data: bytes, cut: int) -> None:
    kind, framed = captures.LINKS[name]
    for frame in (data, framed(PACKETS[0])[:cut] + data):
        at = link.ip_at(kind, frame)
        assert at == link.NO_IP or 0 <= at < len(frame)
        link.macs(kind, frame)
        assert not list(link.in_one(kind, frame)) or kind == link.RADIOTAP


@given(st.lists(st.sampled_from(PACKETS), max_size=4), st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=4), st.integers(0, 300))
def test_no_frames_in_one_make_it_raise(packets: list[bytes], changes: list[tuple[int, int]], cut: int) -> None:
    whole = bytearray(captures.several(*packets))
    for at, value in changes:
        if at < len(whole):
            whole[at] = value
    for frame in link.in_one(link.RADIOTAP, bytes(whole[:cut])):
        assert link.ip_at(link.ETHERNET, frame) > 0
