"""[pure] The messages we write to phones. dnslib builds them; what comes in is read by firewall/dissect/dns.py alone.

Whole messages are kept with id 0 and the question in lower case. `finish` makes one the answer to a phone's question.
"""

# mypy: allow-untyped-calls
# (dnslib has no annotations)
from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from struct import Struct
from typing import TYPE_CHECKING

from dnslib import AAAA, CNAME, RR, SOA, A, DNSHeader, DNSQuestion, DNSRecord
from dnslib.label import DNSLabel

from firewall.dissect import dns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from firewall.dissect.dns import Question, Unsupported

LARGEST_UDP = 1_232  # bytes, either way: what every path carries in one piece (DNS flag day 2020)
SMALLEST_UDP = 512  # RFC 1035, 4.2.1
LONGEST_TEXT = 160  # bytes of a reason

BLOCKED, FILTERED = 15, 17  # extended errors (RFC 8914): by who runs the resolver; as its client wished

_HEADER = Struct("!HHHHHH")
_LONG = Struct("!I")
_OPT = Struct("!BHHIH")
_EDE = 15  # the option's code


def _label(wire: bytes) -> DNSLabel:
    labels = []
    at = 0
    while size := wire[at]:
        labels.append(wire[at + 1 : at + 1 + size])
        at += 1 + size
    return DNSLabel(labels)


def _message(section: bytes, rcode: int, answers: Iterable[RR], authority: Iterable[RR]) -> bytes:
    name, qtype = section[:-4], int.from_bytes(section[-4:-2])
    record = DNSRecord(DNSHeader(id=0, qr=1, rd=0, ra=1, rcode=rcode), q=DNSQuestion(_label(name), qtype))
    record.add_answer(*answers)
    record.add_auth(*authority)
    return bytes(record.pack())


@lru_cache(maxsize=4_096)
def negative(section: bytes, rcode: int, ttl: int) -> bytes:
    """NXDOMAIN or NODATA, to be believed for `ttl` seconds (RFC 2308, 3); with another rcode the bare refusal of it."""
    authority: tuple[RR, ...] = ()
    if rcode in (dns.NXDOMAIN, dns.NOERROR):
        # serial, refresh, retry, expire: nobody transfers this zone; only the last number is read
        times = (1, ttl, ttl, ttl, ttl)
        authority = (RR(_label(section[:-4]), dns.SOA, ttl=ttl, rdata=SOA("gateway.invalid", "owner.invalid", times)),)
    return _message(section, rcode, (), authority)


def positive(section: bytes, chain: Sequence[bytes], addresses: Iterable[bytes]) -> bytes:
    """The way to addresses; every TTL is 0 until it is sent."""
    names = [_label(section[:-4]), *map(_label, chain[1:])]
    records = [RR(owner, dns.CNAME, rdata=CNAME(target)) for owner, target in pairwise(names)]
    for addr in addresses:
        kind, data = (dns.A, A(tuple(addr))) if len(addr) == 4 else (dns.AAAA, AAAA(tuple(addr)))
        records.append(RR(names[-1], kind, rdata=data))
    return _message(section, dns.NOERROR, records, ())


def relayed(reply: bytes, section: bytes, answer: dns.Answer) -> bytes:
    """An upstream's own answer section, for types whose data we need not understand."""
    count = len(answer.ttls)
    header = _HEADER.pack(0, dns.RESPONSE | dns.RECURSION_AVAILABLE, 1, count, 0, 0)
    return header + section + reply[dns.HEADER + len(section) : answer.end]


def finish(message: bytes, question: Question, ttls: Iterable[int] = (), ttl: int = 0, option: bytes = b"") -> bytes:
    """`message` as the answer to `question`: its id, its case, EDNS if it has it, and `ttl` wherever `ttls` say."""
    reply = bytearray(message)
    _, flags, questions, answers, authorities, _ = _HEADER.unpack_from(message)
    flags |= question.flags & dns.RECURSION_DESIRED
    _HEADER.pack_into(reply, 0, question.id, flags, questions, answers, authorities, 1 if question.payload else 0)
    reply[dns.HEADER : dns.HEADER + len(question.wire)] = question.wire
    for at in ttls:
        _LONG.pack_into(reply, at, ttl)
    if question.payload:
        reply += _OPT.pack(0, dns.OPT, LARGEST_UDP, 0, len(option)) + option
    return bytes(reply)


def fitted(message: bytes, question: Question) -> bytes:
    """What of an answer can go over UDP: all, or the word that it is to be had over TCP (RFC 1035, 4.2.1)."""
    if len(message) <= max(SMALLEST_UDP, min(question.payload, LARGEST_UDP)):
        return message
    _, flags, *_ = _HEADER.unpack_from(message)
    return _HEADER.pack(question.id, flags | dns.TRUNCATED, 1, 0, 0, 0) + question.section


def reason(code: int, text: str) -> bytes:
    """An extended DNS error for `finish`; phones may show the text (RFC 8914, 2)."""
    data = code.to_bytes(2) + text.encode()[:LONGEST_TEXT].decode(errors="ignore").encode()
    return _EDE.to_bytes(2) + len(data).to_bytes(2) + data


def not_implemented(query: Unsupported) -> bytes:
    """The answer to UPDATE, NOTIFY and whatever else is not a question."""
    flags = dns.RESPONSE | (query.flags & (dns.OPCODE | dns.RECURSION_DESIRED)) | dns.NOTIMP
    return _HEADER.pack(query.id, flags, 0, 0, 0, 0)
