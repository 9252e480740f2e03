from __future__ import annotations

import struct
import time
from itertools import pairwise

import pytest
from dnslib import AAAA, CNAME, EDNS0, MX, QTYPE, RR, SOA, A, DNSRecord, EDNSOption
from hypothesis import given
from hypothesis import strategies as st

from firewall.dissect import NOT_MINE, dns

NAME = b"\3Api\4miui\3com\0"


def query(wire=NAME, qtype=1, *, flags=0x0100, counts=(1, 0, 0, 0), qclass=1, tail=b""):
    return struct.pack("!HHHHHH", 0x1234, flags, *counts) + wire + struct.pack("!HH", qtype, qclass) + tail


def opt(size=1232, data=b""):
    return b"\0" + struct.pack("!HHIH", 41, size, 0, len(data)) + data


ASKED = query()


def reply(*records, rcode=0, authority=(), asked=ASKED):
    """What dnslib makes of an answer: an independent writer."""
    record = DNSRecord.parse(asked).reply()
    record.header.rcode = rcode
    record.add_answer(*records)
    record.add_auth(*authority)
    return bytes(record.pack())


def wire(name):
    return b"".join(bytes((len(label),)) + label for label in name.encode().split(b".")) + b"\0"


# -- questions -------------------------------------------------------------------------------------------------------


def test_a_question():
    seen = dns.question(ASKED)
    assert seen == dns.Question(0x1234, 0x0100, NAME, "api.miui.com", 1, 0)
    assert seen.section == ASKED[12:]


def test_dnslib_asks_the_same():
    record = DNSRecord.question("Ab.example.org", "AAAA")
    record.add_ar(EDNS0(udp_len=1400, opts=[EDNSOption(10, b"cookie!!")] * 200))
    seen = dns.question(bytes(record.pack()))
    assert (seen.id, seen.name, seen.qtype, seen.payload) == (record.header.id, "ab.example.org", 28, 1400)


@pytest.mark.parametrize(("tail", "count", "payload"), [
    (b"", 0, 0), (opt(4096), 1, 4096), (opt(0), 1, 512), (opt(1232, bytes(12)), 1, 1232), (opt() + b"\3sig\0", 2, 1232),
])
def test_edns(tail, count, payload):
    assert dns.question(query(tail=tail, counts=(1, 0, 0, count))).payload == payload


@pytest.mark.parametrize(("name", "shown"), [
    (b"\0", "."),
    (b"\1a\0", "a"),
    (b"\7a.b.com\0", r"a\046b\046com"),
    (b"\3a\0b\3com\0", r"a\000b.com"),
    (b"\4\x1b[2J\0", r"\027\0912j"),
    (b"\2\\.\0", r"\092\046"),
    (b"\1\xff\0", r"\255"),
    (b"\4_dns\0", "_dns"),
])
def test_names_are_shown_so_that_none_looks_like_another(name, shown):
    assert dns.question(query(name)).name == shown
    assert shown.isprintable()


def test_the_longest_name():
    longest = (b"\x3f" + b"x" * 63) * 3 + b"\x3d" + b"y" * 61 + b"\0"
    assert len(longest) == 255
    assert dns.question(query(longest)).wire == longest
    assert dns.question(query((b"\x3f" + b"x" * 63) * 3 + b"\x3e" + b"y" * 62 + b"\0")) is NOT_MINE
    assert dns.question(query(b"\1x" * 127 + b"\0")).name.count(".") == 126


@pytest.mark.parametrize("opcode", [1, 2, 4, 5, 15])
def test_other_opcodes_are_told_apart(opcode):
    assert dns.question(query(flags=opcode << 11)) == dns.Unsupported(0x1234, opcode << 11)


@pytest.mark.parametrize("data", [
    b"", bytes(11), bytes(12), query(flags=0x8180), query(counts=(0, 0, 0, 0)), query(counts=(2, 0, 0, 0)),
    query(counts=(65535, 0, 0, 0)), query(counts=(1, 1, 0, 0)), query(counts=(1, 0, 1, 0)), query(counts=(1, 0, 0, 3)),
    query(qclass=3), query(qclass=255), query(b"\x40abc\0"), query(b"\x80abc\0"), query(b"\xc0\x0c"), query(b"\3abc\xc0\x0c"),
    query()[:-1], query(tail=opt() + opt(), counts=(1, 0, 0, 2)), query(tail=opt(data=b"cut")[:-1], counts=(1, 0, 0, 1)),
])
def test_no_question(data):
    assert dns.question(data) is NOT_MINE


@given(st.binary(max_size=120) | st.binary(max_size=80).map(lambda b: ASKED[:12] + b))
def test_question_never_raises(data):
    seen = dns.question(data)
    assert not isinstance(seen, dns.Question) or (seen.name.isprintable() and seen.name.isascii())


@given(st.integers(0, len(ASKED) - 1))
def test_a_cut_question_is_none(end):
    assert dns.question(ASKED[:end]) is NOT_MINE


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=6), st.lists(st.binary(min_size=1, max_size=20), max_size=6))
def test_texts_are_equal_exactly_if_names_are(one, other):
    wires = [b"".join(bytes((len(label),)) + label for label in labels) + b"\0" for labels in (one, other)]
    assert (dns.text(wires[0]) == dns.text(wires[1])) is (wires[0].lower() == wires[1].lower())


# -- the permanent corpus: messages that hurt dnslib 0.9.26 -----------------------------------------------------------

POINTER_CYCLE = query(b"\3abc\xc0\x11" + b"x" * 17 + b"\xc0\x0c")
QUESTIONS_43 = query(b"\1a" * 120 + b"\0", counts=(43, 0, 0, 0), tail=b"\xc0\x0c\0\1\0\1" * 42)
CNAMES_4000 = ASKED[:2] + b"\x81\x80" + struct.pack("!HHHH", 1, 4000, 0, 0) + ASKED[12:] + b"\xc0\x0c\0\5\0\1\0\0\0\1\0\2\xc0\x0c" * 4000


@pytest.mark.parametrize(("read", "data", "size"), [
    (dns.question, POINTER_CYCLE, 41), (dns.question, QUESTIONS_43, 509), (lambda data: dns.answer(data, ASKED), CNAMES_4000, 56032),
], ids=["41-byte pointer cycle", "43 questions", "4,000 CNAMEs"])
def test_killers_are_refused_at_once(read, data, size):
    assert abs(len(data) - size) < 32
    began = time.thread_time()
    for _ in range(100):
        assert read(data) is NOT_MINE
    assert (time.thread_time() - began) / 100 < 0.001


# -- answers ---------------------------------------------------------------------------------------------------------


def test_addresses_through_a_chain():
    seen = dns.answer(reply(
        RR("cdn.net", QTYPE.CNAME, rdata=CNAME("Edge.cdn.net"), ttl=20),
        RR("api.miui.com", QTYPE.CNAME, rdata=CNAME("cdn.net"), ttl=300),
        RR("edge.cdn.net", QTYPE.A, rdata=A("54.179.140.65"), ttl=60),
        RR("edge.cdn.net", QTYPE.A, rdata=A("54.179.140.66"), ttl=60),
        RR("stray.net", QTYPE.A, rdata=A("1.1.1.1"), ttl=1),
    ), ASKED)
    assert [dns.text(name) for name in seen.chain] == ["api.miui.com", "cdn.net", "edge.cdn.net"]
    assert seen.addresses == (bytes((54, 179, 140, 65)), bytes((54, 179, 140, 66)))
    assert (seen.ttl, seen.found, seen.rcode, len(seen.ttls)) == (20, True, 0, 5)


def test_aaaa():
    asked = query(qtype=28)
    seen = dns.answer(reply(RR("api.miui.com", QTYPE.AAAA, rdata=AAAA("2400:3200::9"), ttl=60), asked=asked), asked)
    assert seen.addresses == (bytes.fromhex("24003200000000000000000000000009"),)


def test_another_type_is_found_and_not_understood():
    asked = query(qtype=15)
    data = reply(RR("api.miui.com", QTYPE.MX, rdata=MX("mail.miui.com"), ttl=60), asked=asked)
    seen = dns.answer(data, asked)
    assert (seen.found, seen.addresses, seen.end, seen.ttl) == (True, (), len(data), 60)
    assert all(data[at : at + 4] == b"\0\0\0\x3c" for at in seen.ttls)


@pytest.mark.parametrize(("rcode", "chain"), [(3, 1), (0, 2)])
def test_no_is_kept_as_long_as_the_zone_says(rcode, chain):
    soa = RR("miui.com", QTYPE.SOA, rdata=SOA("ns.miui.com", "x.miui.com", (1, 2, 3, 4, 30)), ttl=900)
    aliases = [RR("api.miui.com", QTYPE.CNAME, rdata=CNAME("cdn.net"), ttl=400)] * (chain - 1)
    seen = dns.answer(reply(*aliases, rcode=rcode, authority=[soa]), ASKED)
    assert (seen.rcode, seen.found, seen.ttl, len(seen.chain)) == (rcode, False, 30, chain)


def test_a_ttl_with_the_highest_bit_is_zero():
    assert dns.answer(reply(RR("api.miui.com", QTYPE.A, rdata=A("1.2.3.4"), ttl=1 << 31)), ASKED).ttl == 0


def test_truncated():
    data = bytearray(reply())
    data[2] |= 2
    assert dns.answer(bytes(data), ASKED).truncated


def test_a_loop_of_cnames_ends():
    data = reply(RR("api.miui.com", QTYPE.CNAME, rdata=CNAME("b.com")), RR("b.com", QTYPE.CNAME, rdata=CNAME("api.miui.com")))
    assert not dns.answer(data, ASKED).found


@pytest.mark.parametrize(("links", "good"), [(dns.LONGEST_CHAIN, True), (dns.LONGEST_CHAIN + 1, False)])
def test_a_long_chain(links, good):
    names = ["api.miui.com", *(f"n{i}.com" for i in range(links))]
    records = [RR(one, QTYPE.CNAME, rdata=CNAME(other)) for one, other in pairwise(names)]
    seen = dns.answer(reply(*records, RR(names[-1], QTYPE.A, rdata=A("1.2.3.4"))), ASKED)
    assert (seen is not NOT_MINE) is good


PLAIN = ASKED[:2] + b"\x81\x80" + struct.pack("!HHHH", 1, 1, 0, 0) + ASKED[12:] + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\1\2\3\4"


def change(at, value):
    data = bytearray(PLAIN)
    data[at : at + len(value)] = value
    return bytes(data)


@pytest.mark.parametrize("data", [
    b"", bytes(12), change(0, b"\x12\x35"), change(2, b"\x01"), change(2, b"\xa1"), change(4, b"\0\2"), change(4, b"\0\0"),
    change(12, b"\3aPI"), change(13, b"b"), change(27, b"\x1c"), change(29, b"\3"), change(6, b"\0\2"), change(6, b"\xff\xff"),
    change(40, b"\0\xff"), change(40, b"\0\3"), change(30, b"\xc0\x1e"), change(30, b"\xc0\xff"), change(30, b"\xc0\x04"),
    change(30, b"\x40"), change(33, b"\x10"), change(35, b"\4"), PLAIN[:-1],
])
def test_not_the_answer(data):
    assert dns.answer(PLAIN, ASKED).addresses == (bytes((1, 2, 3, 4)),)
    assert dns.answer(data, ASKED) is NOT_MINE


def test_any_case_is_for_safe_channels():
    data = reply(RR("api.miui.com", QTYPE.A, rdata=A("1.2.3.4")), asked=query(NAME.lower()))
    assert dns.answer(data, ASKED) is NOT_MINE
    assert dns.answer(data, ASKED, any_case=True).addresses == (bytes((1, 2, 3, 4)),)


def test_pointers_cost_a_bounded_time():
    """As many records as are let in; each owner is one label and a pointer to the owner before."""
    data = bytearray(ASKED[:2] + b"\x81\x80" + struct.pack("!HHHH", 1, dns.MOST_RECORDS, 0, 0) + ASKED[12:])
    before = 12
    for _ in range(dns.MOST_RECORDS):
        here = len(data)
        data += b"\1x" + struct.pack("!H", 0xC000 | before) + struct.pack("!HHIH", 1, 1, 60, 4) + bytes(4)
        before = here
    began = time.thread_time()
    assert dns.answer(bytes(data), ASKED) is NOT_MINE
    assert time.thread_time() - began < 0.02


VALID = reply(
    RR("api.miui.com", QTYPE.CNAME, rdata=CNAME("cdn.net"), ttl=300), RR("cdn.net", QTYPE.A, rdata=A("54.179.140.65"), ttl=60)
)


@given(st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), max_size=4), st.integers(0, len(VALID)))
def test_answer_never_raises(changes, end):
    data = bytearray(VALID)
    for at, value in changes:
        data[at] = value
    seen = dns.answer(bytes(data[:end]), ASKED)
    assert seen is NOT_MINE or all(len(name) <= 255 for name in seen.chain)


@given(st.binary(max_size=200), st.integers(0, 3))
def test_garbage_behind_a_true_question(tail, count):
    data = ASKED[:2] + b"\x81\x80" + struct.pack("!HHHH", 1, count, 0, 0) + ASKED[12:] + tail
    seen = dns.answer(data, ASKED)
    assert seen is NOT_MINE or seen.end <= len(data)
