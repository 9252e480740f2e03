from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from dnslib import DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from firewall.dissect import NOT_MINE, dns, svcb
from firewall.dissect.svcb import ALPN, ECH, IPV4HINT, IPV6HINT, MANDATORY, Service

QUERY = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\0" + struct.pack("!HH", dns.HTTPS, 1)
GOOD4, BAD4 = ip_address("192.0.2.1").packed, ip_address("42.62.48.9").packed
GOOD6, BAD6 = ip_address("2001:db8::1").packed, ip_address("2001:db8:bad::9").packed
ALLOWED = frozenset((GOOD4, GOOD6)).__contains__


def data(parameters, priority=1, target=b"\0"):
    return struct.pack("!H", priority) + target + b"".join(struct.pack("!HH", number, len(value)) + value for number, value in parameters)


def reply(*records, more=b"", additional=0):
    """An answer to QUERY; the record behind them points at a name inside the first one's neighbourhood."""
    head = QUERY[:2] + struct.pack("!HHHHH", 0x8180, 1, len(records), 0, additional)
    return head + QUERY[12:] + b"".join(b"\xc0\x0c" + struct.pack("!HHIH", dns.HTTPS, 1, 300, len(record)) + record for record in records) + more


COMMON = [(ALPN, b"\x02h3\x02h2"), (IPV4HINT, GOOD4 + BAD4), (ECH, b"\0\x47" + bytes(71)), (IPV6HINT, BAD6)]


def left(answer):
    """Parameters of each record that a client knows, by another parser."""
    return [{number: value for number, value in record.rdata.params if number < svcb.PRIVATE} for record in DNSRecord.parse(answer).rr]


def test_what_a_record_says():
    assert svcb.services(reply(data(COMMON))) == (Service(1, ".", (GOOD4, BAD4, BAD6), ech=True),)
    assert svcb.services(reply(data([], priority=0, target=b"\x03cdn\x07Example\0"))) == (Service(0, "cdn.example", (), ech=False),)


def test_hints_that_are_not_allowed_and_ech_are_taken_out():
    answer = reply(data(COMMON))
    cleaned = svcb.without(answer, ALLOWED)
    assert svcb.services(cleaned) == (Service(1, ".", (GOOD4,), ech=False),)
    assert left(cleaned) == [{ALPN: b"\x02h3\x02h2", IPV4HINT: GOOD4}]
    assert svcb.services(svcb.without(answer, ALLOWED, ech=True))[0].ech


def test_where_it_leads():
    """Each name and address once. A target that is compressed is none, and takes its record with it."""
    twice = [data(COMMON, target=b"\x03cdn\x07example\0"), data([(IPV4HINT, GOOD4)]), data([], 0, b"\x01b\0")]
    assert svcb.told(reply(*twice)) == (("cdn.example", "b"), (GOOD4, BAD4, BAD6))
    for target in (b"\xc0\x0c", b"\x03cdn\xc0\x10", b"\x40" + bytes(80), b"\x3fabc" * 70):
        answer = reply(data(COMMON, target=target))
        assert svcb.told(answer) == ((), ())
        (parameters,) = left(cleaned := svcb.without(answer, ALLOWED, ech=True))
        assert (parameters, len(cleaned)) == ({}, len(answer))


def test_nothing_else_moves():
    """A record behind may point into what is in front of it, and the cache knows where TTLs stand."""
    pointing = b"\xc0\x10" + struct.pack("!HHIH", dns.A, 1, 60, 4) + GOOD4
    answer = reply(data(COMMON), more=pointing, additional=1)
    cleaned = svcb.without(answer, ALLOWED)
    assert len(cleaned) == len(answer)
    assert cleaned.endswith(pointing)
    assert dns.answer(cleaned, QUERY).ttls == dns.answer(answer, QUERY).ttls
    assert DNSRecord.parse(cleaned).ar[0].rname == "example."


def test_an_answer_without_anything_to_take_out_is_the_same():
    answer = reply(data([(ALPN, b"\x02h2"), (IPV4HINT, GOOD4)]), data([], 2))
    assert svcb.without(answer, ALLOWED) == answer


@pytest.mark.parametrize(("mandatory", "kept"), [([ALPN, ECH], [ALPN]), ([ECH], None), ([IPV4HINT, ECH], [IPV4HINT])])
def test_what_is_gone_is_not_mandatory(mandatory, kept):
    record = data([(MANDATORY, b"".join(struct.pack("!H", number) for number in mandatory)), *COMMON])
    (parameters,) = left(svcb.without(reply(record), ALLOWED))
    assert parameters.get(MANDATORY) == (None if kept is None else b"".join(struct.pack("!H", number) for number in kept))


@pytest.mark.parametrize("record", [
    data([(IPV6HINT, BAD6), (IPV4HINT, BAD4)]), data(COMMON) + b"\xff", data([(IPV4HINT, BAD4), (IPV4HINT, BAD4)]), data(COMMON)[:-3],
    data([(number, b"") for number in range(40)]), b"\0\x01\0" + b"\0\x04\0\xff" + BAD4,
])
def test_what_cannot_be_read_loses_everything(record):
    cleaned = svcb.without(reply(record), ALLOWED)
    assert BAD4 not in cleaned
    assert BAD6 not in cleaned
    assert len(cleaned) == len(reply(record))


PARAMETERS = st.lists(
    st.tuples(st.integers(0, 8) | st.integers(0xFEFF, 0xFFFF), st.binary(max_size=20) | st.sampled_from([GOOD4 + BAD4, BAD6, GOOD6 + BAD6])), max_size=6,
)


@given(st.lists(PARAMETERS, max_size=3), st.booleans(), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=2))
def test_whatever_comes_nothing_forbidden_is_left(records, in_order, changes):
    answer = bytearray(reply(*[data(sorted(dict(one).items()) if in_order else one) for one in records]))
    for at, octet in changes:
        answer[at % len(answer)] = octet
    answer = bytes(answer)
    cleaned = svcb.without(answer, ALLOWED)
    assert len(cleaned) == len(answer)
    for service in svcb.services(cleaned):
        assert not service.ech
        assert all(ALLOWED(hint) for hint in service.hints)
    assert svcb.without(cleaned, ALLOWED) == cleaned
    before, after = dns.answer(answer, QUERY), dns.answer(cleaned, QUERY)
    assert changes or after is not NOT_MINE  # a change may let a name lead into what is taken out
    if before is not NOT_MINE and after is not NOT_MINE:
        assert [service[:2] for service in svcb.services(cleaned)] == [service[:2] for service in svcb.services(answer)]


@given(st.binary(max_size=120))
def test_bytes_of_any_kind(some):
    assert len(svcb.without(some, ALLOWED)) == len(some)
    svcb.services(some)
