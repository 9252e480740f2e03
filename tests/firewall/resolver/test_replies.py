from __future__ import annotations

import struct

import pytest
from dnslib import QTYPE, DNSRecord

from firewall.dissect import NOT_MINE, dns
from firewall.resolver import replies

WIRE = b"\3api\4miui\3com\0"
CASED = b"\3Api\4MIUI\3com\0"
LONGEST = (b"\x3f" + b"x" * 63) * 3 + b"\x3d" + b"y" * 61 + b"\0"


def section(wire=WIRE, qtype=1):
    return wire.lower() + struct.pack("!HH", qtype, 1)


def question(wire=CASED, qtype=1, flags=0x0100, payload=0):
    return dns.Question(0xBEEF, flags, wire, dns.text(wire), qtype, payload)


def test_nxdomain_says_for_how_long():
    read = DNSRecord.parse(replies.finish(replies.negative(section(), dns.NXDOMAIN, 2), question()))
    assert (read.header.id, read.header.rcode, read.header.rd, read.header.ra, read.header.qr) == (0xBEEF, 3, 1, 1, 1)
    assert str(read.q.qname) == "Api.MIUI.com."
    assert [(QTYPE[rr.rtype], rr.ttl, rr.rdata.times[4]) for rr in read.auth] == [("SOA", 2, 2)]
    assert read.ar == []


def test_an_extended_error_goes_to_who_speaks_edns():
    option = replies.reason(replies.BLOCKED, "blocked by xiaomi/1")
    read = DNSRecord.parse(replies.finish(replies.negative(section(), dns.NXDOMAIN, 2), question(payload=1232), option=option))
    assert [(opt.code, opt.data) for opt in read.ar[0].rdata] == [(15, b"\0\x0fblocked by xiaomi/1")]
    read = DNSRecord.parse(replies.finish(replies.negative(section(), dns.NXDOMAIN, 2), question(), option=option))
    assert read.ar == []


def test_a_long_reason_is_cut_between_characters():
    option = replies.reason(15, "ü" * 500)
    assert len(option) == 4 + 2 + replies.LONGEST_TEXT
    assert option[6:].decode() == "ü" * (replies.LONGEST_TEXT // 2)
    assert len(replies.reason(15, "x" + "ü" * 500)) == len(option) - 1


def test_addresses():
    chain = (CASED, b"\4edge\3cdn\3net\0")
    message = replies.positive(section(), chain, [bytes((1, 2, 3, 4)), bytes((1, 2, 3, 5))])
    ttls = dns.answer(message, message).ttls
    read = DNSRecord.parse(replies.finish(message, question(), ttls, 77))
    assert [(str(rr.rname), QTYPE[rr.rtype], str(rr.rdata), rr.ttl) for rr in read.rr] == [
        ("Api.MIUI.com.", "CNAME", "edge.cdn.net.", 77),
        ("edge.cdn.net.", "A", "1.2.3.4", 77),
        ("edge.cdn.net.", "A", "1.2.3.5", 77),
    ]


@pytest.mark.parametrize("wire", [b"\0", LONGEST, b"\3a.b\2\0\xff\3com\0"])
def test_strange_names_are_written_as_they_came(wire):
    message = replies.positive(section(wire, 28), (wire, LONGEST), [bytes(16)])
    seen = dns.answer(message, message)
    assert seen is not NOT_MINE
    assert seen.chain == (wire.lower(), LONGEST)
    assert replies.finish(message, question(wire))[12 : 12 + len(wire)] == wire


def test_the_most_that_can_come_can_be_written():
    chain = [b"\x3f%063d" % n + LONGEST[64:] for n in range(dns.LONGEST_CHAIN)]
    addresses = [n.to_bytes(16) for n in range(dns.MOST_RECORDS - dns.LONGEST_CHAIN + 1)]
    message = replies.positive(section(chain[0], 28), chain, addresses)
    assert dns.answer(message, message).addresses == tuple(addresses)
    assert len(dns.answer(message, message).ttls) == dns.MOST_RECORDS


@pytest.mark.parametrize(("payload", "size", "fits"), [(0, 512, True), (0, 513, False), (512, 513, False), (4096, 1232, True), (4096, 1233, False)])
def test_what_fits_into_udp(payload, size, fits):
    asked = question(payload=payload)
    message = replies.finish(replies.negative(section(), dns.NOERROR, 5), asked).ljust(size, b"\0")
    sent = replies.fitted(message, asked)
    assert (sent == message) is fits
    read = DNSRecord.parse(sent)
    assert (bool(read.header.tc), read.header.id, str(read.q.qname)) == (not fits, 0xBEEF, "Api.MIUI.com.")


def test_not_implemented():
    read = DNSRecord.parse(replies.not_implemented(dns.Unsupported(7, 5 << 11 | 0x0100)))
    assert (read.header.id, read.header.opcode, read.header.rcode, read.header.qr) == (7, 5, 4, 1)
