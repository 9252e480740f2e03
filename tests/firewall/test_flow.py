from __future__ import annotations

import socket

import captures
import pytest
import quicwriter

from firewall import flow as flows
from firewall.dissect import ip
from firewall.flow import FlowTable, Hearing
from firewall.inputs import FlowKey
from firewall.speech import NO_NAME_YET, UNFINISHED, Heard

DST = "198.51.100.9"


@pytest.fixture
def table() -> FlowTable:
    return FlowTable()


def key(sport: int = 40000, proto: int = 6) -> FlowKey:
    return FlowKey(proto, socket.inet_aton("10.77.0.10"), sport, socket.inet_aton(DST), 443)


def say(table: FlowTable, flow, wire, data: bytes, seq: int, number: int = 1, boot: float = 0.0):
    raw = wire.tcp(DST, 443, data, seq=seq)
    return table.hear(flow, number, ip.parse(raw), raw, boot)


def test_segments_in_order_make_a_name(table, wire) -> None:
    hello, flow = wire.hello("example.com"), table.open(key(), b"m", "phone1")
    assert say(table, flow, wire, hello[:50], 100, 1) is Hearing.WAIT
    heard = say(table, flow, wire, hello[50:], 150, 2)
    assert isinstance(heard, Heard)
    assert table.release(flow) == [1]


@pytest.mark.parametrize("start", [100, 2**32 - 30])
def test_repeats_and_what_comes_too_early_is_dropped_while_held(table, wire, start) -> None:
    hello, flow = wire.hello("example.com"), table.open(key(), b"m", "phone1")
    say(table, flow, wire, hello[:50], start, 1)
    assert say(table, flow, wire, hello[:50], start, 2) is Hearing.AGAIN
    assert say(table, flow, wire, hello[60:], (start + 60) % 2**32, 3) is Hearing.AGAIN
    assert isinstance(say(table, flow, wire, hello[50:], (start + 50) % 2**32, 4), Heard)


def test_a_repeat_of_what_was_judged_is_the_same_and_overlaps_are_trimmed(table, wire) -> None:
    request, flow = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", table.open(key(), b"m", "phone1")
    assert isinstance(say(table, flow, wire, request, 100), Heard)
    assert say(table, flow, wire, request, 100) is Hearing.SAME
    heard = say(table, flow, wire, request[-10:] + request.replace(b"a.ex", b"b.ex"), 100 + len(request) - 10)
    assert heard.said[0].name == "b.example"


def test_holding_is_bounded_in_segments_and_flows(table, wire) -> None:
    flow = table.open(key(), b"m", "phone1")
    hello = wire.hello("example.com", pad=2000)
    answers = [say(table, flow, wire, hello[n : n + 1], 100 + n, n) for n in range(flows.HELD_SEGMENTS)]
    assert answers[-1] is UNFINISHED
    assert answers[:-1] == [Hearing.WAIT] * (flows.HELD_SEGMENTS - 1)
    table.release(flow)
    for n in range(flows.HELD_FLOWS):
        assert say(table, table.open(key(n), b"m", "phone1"), wire, b"\x16", 5) is Hearing.WAIT
    assert say(table, table.open(key(900), b"m", "phone1"), wire, b"\x16", 5) is UNFINISHED
    assert say(table, table.open(key(901), b"m", "other"), wire, b"\x16", 5) is Hearing.WAIT


@pytest.mark.parametrize("turned", [False, True])
def test_datagrams_are_held_too(table, wire, turned: bool) -> None:
    flow = table.open(key(40000, 17), b"m", "phone1")
    message = captures.hello("example.com", pad=1_500)
    datagrams = [quicwriter.initial(quicwriter.crypto(at, message[at : at + 600]), number=at // 600) for at in range(0, len(message), 600)]
    answers = []
    for number, datagram in enumerate(reversed(datagrams) if turned else datagrams):
        raw = wire.udp(DST, 443, datagram)
        answers.append(table.hear(flow, number, ip.parse(raw), raw, 0.0))
    assert answers[:-1] == [Hearing.WAIT] * (len(datagrams) - 1)
    assert [name.name for name in answers[-1].said] == ["example.com"]
    assert table.release(flow) == list(range(len(datagrams) - 1))


def test_time_runs_from_the_first_held_packet(table, wire) -> None:
    flow = table.open(key(), b"m", "phone1")
    say(table, flow, wire, b"\x16\x03", 5, boot=10.0)
    assert table.next_due() == 10.0 + flows.HELD_SECONDS
    assert table.overdue(10.0 + flows.HELD_SECONDS - 0.1) == []
    assert table.overdue(10.0 + flows.HELD_SECONDS) == [flow]
    table.release(flow)
    assert table.next_due() is None


def test_udp_that_is_not_quic_says_nothing_yet(table, wire) -> None:
    flow = table.open(key(proto=17), b"m", "phone1")
    raw = wire.udp(DST, 443, b"\x16\x03\x01")
    assert table.hear(flow, 1, ip.parse(raw), raw, 0.0) == NO_NAME_YET


def test_continuing_wants_time_and_place(table, wire) -> None:
    flow = table.open(key(), b"m", "phone1")
    say(table, flow, wire, wire.hello("example.com"), 100)
    flow.settled(10.0)
    behind = 100 + len(wire.hello("example.com"))

    def continues(data: bytes, seq: int, boot: float = 10.1) -> bool:
        raw = wire.tcp(DST, 443, data, seq=seq)
        return table.continues(flow, ip.parse(raw), raw, boot)

    assert not continues(b"\x17data", behind, 12.0)
    assert not continues(b"\x17data", behind + flows.BURST_BYTES)
    assert not continues(b"\x17data", (behind - flows.BURST_BYTES) % flows.SEQUENCE)
    assert not continues(wire.hello("other.example"), behind)
    assert not continues(b"\r\nGET / HTTP/1.1\r\n", behind)
    assert continues(b"\x17data", behind)
    assert continues(b"\x17data", behind + 5_000)


def test_the_oldest_flow_makes_room(table, monkeypatch) -> None:
    monkeypatch.setattr(flows, "MOST", 3)
    for n in range(5):
        table.open(key(n), b"m", "phone1")
    assert [flow.key.sport for flow in table] == [2, 3, 4]
    assert len(table) == 3
