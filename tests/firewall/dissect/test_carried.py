"""A packet is found within each kind of packet that carries one, and nowhere else."""

from __future__ import annotations

import random

import captures
import carriers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.dissect import carried, ip

INNER = [
    captures.tcp(captures.PHONE, 40000, captures.FAR, 443, 1001, 24, b"inner"),
    captures.tcp(captures.PHONE6, 40000, captures.FAR6, 443, 1001, 24, b"inner"),
    captures.fragments(captures.udp(captures.PHONE, 1, captures.FAR, 2, bytes(64)), 16)[1],
]
PLAIN = {"ipip": 4, "6in4": 41}


def found(outer: bytes) -> bytes:
    return carried.frame(ip.parse(outer), outer)


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("name", [*carriers.STREAMS, *carriers.DATAGRAMS, *PLAIN])
@pytest.mark.parametrize("ends", [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")])
def test_a_packet_within_a_packet_is_found(name: str, inner: bytes, ends: tuple[str, str]) -> None:
    if name in carriers.DATAGRAMS:
        port, wrap = carriers.DATAGRAMS[name]
        outer = captures.udp(ends[0], 50_000, ends[1], port, wrap(inner))
        inner = carriers.teredo(inner) if name.startswith("teredo") else inner
    elif name in carriers.STREAMS:
        proto, wrap = carriers.STREAMS[name]
        outer = captures.ip(*ends, proto, wrap(inner))
    else:
        outer = captures.ip(*ends, PLAIN[name], inner)
    frame = found(outer)
    assert frame[14:].rstrip(b"\0") == inner.rstrip(b"\0")
    assert frame[12:14] == carriers.kind(inner)


@pytest.mark.parametrize("name", carriers.DATAGRAMS)
def test_a_datagram_whose_lengths_do_not_fit_is_none(name: str) -> None:
    """Any bytes may stand in one: nothing but its form says that it is a tunnel."""
    _, wrap = carriers.DATAGRAMS[name]
    inner = captures.tcp(captures.PHONE, 40000, captures.FAR, 443, 1001, 24, bytes(range(1, 90)))
    assert carried.within(wrap(inner))
    assert not carried.within(wrap(inner) + b"more")
    assert not carried.within(b"\x01" + wrap(inner))


def test_of_random_datagrams_none_is_a_tunnel() -> None:
    """As encrypted calls and QUIC send them, thousands in a flow: one that were taken for a tunnel would be a wrong row."""
    chance = random.Random(7)
    for _ in range(20_000):
        data = chance.randbytes(chance.choice((40, 100, 1_200)))
        assert not carried.within(chance.choice((b"", b"\x60", b"\x45", b"\x02\x02", bytes(3), b"\0\0\1\1\x60")) + data)


@pytest.mark.parametrize("data", [b"", b"\x08\0\0\0", bytes(28), b"\x60" + bytes(60), b"\x45" + bytes(60), b"\x30\xff\0\x14" + bytes(24)])
def test_what_is_none(data: bytes) -> None:
    assert not carried.within(data)
    for proto in (4, 41, 47, 50):
        outer = captures.ip(captures.PHONE, captures.FAR, proto, data[:20])
        assert not found(outer)


@pytest.mark.parametrize("name", ["vxlan", "gtp", "geneve"])
def test_a_recording_may_have_cut_it_off(name: str) -> None:
    port, wrap = carriers.DATAGRAMS[name]
    inner = captures.tcp(captures.PHONE, 40000, captures.FAR, 443, 1001, 24, bytes(400))
    outer = captures.udp("192.0.2.1", 50_000, "192.0.2.2", port, wrap(inner))
    packet = ip.parse(outer[:200])
    assert isinstance(packet, ip.Packet)
    there = carried.frame(packet, outer[:200])[14:]
    assert there
    assert inner.startswith(there)


@given(st.binary(max_size=80), st.sampled_from([*carriers.STREAMS, *carriers.DATAGRAMS]), st.data())
def test_no_bytes_make_it_raise(noise: bytes, name: str, data: st.DataObject) -> None:
    proto, wrap = (carriers.STREAMS | carriers.DATAGRAMS)[name]
    made = bytearray(wrap(INNER[0]))
    for _ in range(data.draw(st.integers(0, 4))):
        made[data.draw(st.integers(0, min(len(made) - 1, 40)))] = data.draw(st.integers(0, 255))
    made = made[: data.draw(st.integers(0, len(made)))]
    for body in (bytes(made), noise):
        carried.within(body)
        carried.frame(ip.Packet(proto, b"", b"", 0, 0, 0, 0, len(body), 0, 0), body)
