"""The name server's wire: what it answers, what it cuts short, and that nothing upsets it."""

from __future__ import annotations

import pytest
from dnslib import EDNS0, QTYPE, RCODE, DNSQuestion, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from firewall.lab.names import NameTable
from firewall.lab.nameserver import NameServer


@pytest.fixture(scope="module")
def server() -> NameServer:
    return NameServer(NameTable.load())


def query(name: str, qtype: str = "A", edns: int = 0) -> bytes:
    asked = DNSRecord(q=DNSQuestion(name, getattr(QTYPE, qtype)))
    if edns:
        asked.add_ar(EDNS0(udp_len=edns))
    return bytes(asked.pack())


def answer(server: NameServer, wire: bytes, *, over_udp: bool = True) -> DNSRecord:
    reply = server.answer(wire, over_udp=over_udp)
    assert reply is not None
    assert reply[:2] == wire[:2]
    return DNSRecord.parse(reply)


def test_the_question_comes_back_as_it_was_written(server: NameServer) -> None:
    reply = answer(server, query("ExAmPlE.cOm"))
    assert str(reply.q.qname) == "ExAmPlE.cOm."
    assert [str(rr.rdata) for rr in reply.rr] == ["93.184.216.34"]
    assert reply.header.qr == 1


def test_another_id_gets_its_own_answer(server: NameServer) -> None:
    first, second = query("cached.example.org"), query("cached.example.org")
    assert first[:2] != second[:2]
    assert answer(server, first).rr == answer(server, second).rr


def test_a_chain_is_answered_whole(server: NameServer) -> None:
    reply = answer(server, query("www.bbc.com", "AAAA"))
    assert [(str(rr.rname), QTYPE[rr.rtype], str(rr.rdata)) for rr in reply.rr] == [
        ("www.bbc.com.", "CNAME", "www.bbc.com.pri.bbc.com."),
        ("www.bbc.com.pri.bbc.com.", "CNAME", "bbc.map.fastly.net."),
        ("bbc.map.fastly.net.", "AAAA", "2a04:4e42::81"),
    ]


def test_what_does_not_exist_and_what_has_no_such_record(server: NameServer) -> None:
    missing = answer(server, query("x.invalid"))
    assert missing.header.rcode == RCODE.NXDOMAIN
    assert [rr.rtype for rr in missing.auth] == [QTYPE.SOA]
    empty = answer(server, query("example.com", "TXT"))
    assert (empty.header.rcode, empty.rr, [rr.rtype for rr in empty.auth]) == (RCODE.NOERROR, [], [QTYPE.SOA])


def test_records_of_type_https(server: NameServer) -> None:
    asked = DNSRecord(q=DNSQuestion("modern.example.com", QTYPE.HTTPS))
    (own,) = answer(server, bytes(asked.pack())).rr
    assert [number for number, _ in own.rdata.params] == [1, 4, 5, 6]
    asked = DNSRecord(q=DNSQuestion("alias.example.com", QTYPE.HTTPS))
    (alias,) = answer(server, bytes(asked.pack())).rr
    assert (alias.rdata.priority, alias.rdata.target) == (0, [b"modern", b"example", b"com"])
    assert answer(server, query("example.com", "HTTPS")).rr == []


@pytest.mark.parametrize(("edns", "room"), [(0, 512), (100, 512), (1000, 1000), (4096, 1232)])
def test_a_large_answer_is_cut_to_what_fits(server: NameServer, edns: int, room: int) -> None:
    wire = query("large.example.com", "AAAA", edns)
    cut = answer(server, wire)
    assert cut.header.tc
    assert not cut.rr
    assert len(server.answer(wire, over_udp=True) or b"") <= room
    whole = answer(server, wire, over_udp=False)
    assert not whole.header.tc
    assert len(whole.rr) == 60


def test_moving_takes_effect_at_once() -> None:
    server = NameServer(NameTable.load())
    wire = query("account.xiaomi.com")
    assert str(answer(server, wire).rr[-1].rdata) == "42.62.48.181"
    server.move(moved=True)
    moved = answer(server, wire)
    assert str(moved.rr[-1].rdata) == "54.179.140.65"
    assert all(rr.ttl <= 1 for rr in moved.rr)
    server.move(moved=False)
    assert str(answer(server, wire).rr[-1].rdata) == "42.62.48.181"


def test_an_answer_is_not_answered(server: NameServer) -> None:
    reply = server.answer(query("example.com"), over_udp=True)
    assert reply is not None
    assert server.answer(reply, over_udp=True) is None


@given(tail=st.binary(max_size=80), pointers=st.binary(max_size=30), udp=st.booleans())
def test_nothing_upsets_it(*, server: NameServer, tail: bytes, pointers: bytes, udp: bool) -> None:
    for wire in (tail, query("example.com") + tail, b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + tail, b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\xc0\x0c" + pointers):
        reply = server.answer(wire, over_udp=udp)
        assert reply is None or len(reply) >= 12
