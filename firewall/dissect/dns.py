"""[pure] The raw gate in front of everything DNS: questions of phones and answers of upstreams, as bytes (RFC 1035).

General DNS libraries recurse on pointers and accept names that no DNS has: 41 bytes are enough to hurt one. What
passes here is bounded in every direction, and a name that is shown is the name that was meant.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from firewall.dissect import NOT_MINE, NotMine

A, CNAME, SOA, AAAA, DNAME, OPT, RRSIG = 1, 5, 6, 28, 39, 41, 46
ADDRESS_SIZE = {A: 4, AAAA: 16}
ON_THE_WAY = frozenset((CNAME, DNAME, RRSIG))  # stand in an answer beside what was asked for
SVCB, HTTPS = 64, 65
IXFR, AXFR, ANY = 251, 252, 255
IN = 1
NOERROR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 2, 3, 4, 5

RESPONSE, OPCODE, TRUNCATED, RECURSION_DESIRED, RECURSION_AVAILABLE, RCODE = 0x8000, 0x7800, 0x200, 0x100, 0x80, 15
HEADER = 12  # bytes
LONGEST_NAME = 255  # octets on the wire, with length octets and root (RFC 1035, 3.1): 127 labels at most
MOST_HOPS = 512  # compression pointers followed in one message; dnsmasq and Unbound allow some 255 for one name
MOST_RECORDS = 256  # of one answer: it costs well under a millisecond. Real ones have a dozen
LONGEST_CHAIN = 16  # CNAMEs followed; dnsmasq stops at 10, Unbound at 11
LONGEST_ADDITIONAL = 2  # records beside a question: OPT, and a signature that we do not read

_HEADER = Struct("!HHHHHH")  # id, flags, and four counts
_QUESTION = Struct("!HH")  # type, class
_OPT = Struct("!HHIH")  # type, payload size in place of the class, extended flags, data length
_RECORD = Struct("!HHIH")  # type, class, TTL, data length
_SHORT = Struct("!H")
_LONG = Struct("!I")

_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")
_SHOWN: Final = tuple(chr(byte) if byte in _PLAIN else f"\\{byte:03d}" for byte in range(256))


class Question(NamedTuple):
    """A phone's question, well formed and of class IN."""

    id: int
    flags: int  # the header's second field
    wire: bytes  # the name as it stood there, its case kept, with the root
    name: str  # for rules and people, see `text`
    qtype: int
    payload: int  # bytes of UDP the phone can take, if it speaks EDNS (RFC 6891); 0 if not

    @property
    def section(self) -> bytes:
        """The question section, to be repeated in an answer."""
        return self.wire + _QUESTION.pack(self.qtype, IN)


class Unsupported(NamedTuple):
    """Another opcode than QUERY: UPDATE, NOTIFY and the like. To be answered with NOTIMP (RFC 1035, 4.1.1)."""

    id: int
    flags: int


@lru_cache(maxsize=4_096)  # phones ask for the same names again and again; no key is longer than LONGEST_NAME
def text(wire: bytes) -> str:
    r"""An uncompressed name, lower case, without the last dot; "." is the root.

    A byte that is neither letter, digit, hyphen nor underscore is shown as \\DDD (RFC 1035, 5.1), the dot inside a
    label and the backslash too: two names are equal exactly if their texts are.
    """
    wire = wire.lower()  # length octets are below "A"
    labels = []
    at = 0
    while at < len(wire) and (size := wire[at]):
        label = wire[at + 1 : at + 1 + size]
        plain = _PLAIN.issuperset(label)
        labels.append(label.decode("ascii") if plain else "".join(_SHOWN[byte] for byte in label))
        at += 1 + size
    return ".".join(labels) or "."


def question(data: bytes) -> Question | Unsupported | NotMine:
    """Read a query as a stub resolver sends it: one question, of class IN, its name without pointers.

    NOT_MINE: anything else, an answer (never answer answers) or two OPT records too. It earns no reply.
    """
    if len(data) < HEADER:
        return NOT_MINE
    ident, flags, questions, answers, authorities, additional = _HEADER.unpack_from(data)
    if flags & RESPONSE:
        return NOT_MINE
    if flags & OPCODE:
        return Unsupported(ident, flags)
    if questions != 1 or answers or authorities or additional > LONGEST_ADDITIONAL:
        return NOT_MINE
    end = _plain_name(data, HEADER)
    if not end or end + 4 > len(data):
        return NOT_MINE
    qtype, qclass = _QUESTION.unpack_from(data, end)
    if qclass != IN:
        return NOT_MINE
    payload = _payload(data, end + 4, additional)
    if payload is None:
        return NOT_MINE
    wire = data[HEADER:end]
    return Question(ident, flags, wire, text(wire), qtype, payload)


def asked(data: bytes) -> str | NotMine:
    """The name that another resolver is asked for. Those answer also what `question` refuses: odd records behind it
    (BIND reads over them), any class, mDNS's bit in that (RFC 6762, 5.4).
    """
    if len(data) < HEADER or data[2] & (RESPONSE | OPCODE) >> 8 or data[4:6] != b"\0\1":
        return NOT_MINE
    end = _plain_name(data, HEADER)
    if not end or end + 4 > len(data) or _QUESTION.unpack_from(data, end)[1] & 0x7FFF not in (IN, ANY):
        return NOT_MINE
    return text(data[HEADER:end])


def _plain_name(data: bytes, at: int) -> int:
    """Where an uncompressed name that begins at `at` ends; 0 if it is none."""
    last = min(len(data), at + LONGEST_NAME)
    while at < last:
        size = data[at]
        if not size:
            return at + 1
        if size > 63:
            return 0
        at += 1 + size
    return 0


def _payload(data: bytes, at: int, additional: int) -> int | None:
    """The payload size of the OPT record, 0 without one, None if there are two or one that is cut."""
    payload = 0
    for _ in range(additional):
        if at + 11 > len(data) or data[at]:
            break  # a record with a name: a signature, the last one
        kind, size, _, length = _OPT.unpack_from(data, at + 1)
        if kind != OPT:
            break
        at += 11 + length
        if payload or at > len(data):
            return None
        payload = max(size, 512)  # RFC 6891, 6.2.3
    return payload


class Answer(NamedTuple):
    """A reply to what we asked, as far as it answers it."""

    rcode: int
    truncated: bool  # ask again over TCP; nothing else was read
    chain: tuple[bytes, ...]  # uncompressed names on the wire: the asked one, then the CNAMEs that lead on
    found: bool  # the last of them has records of the type asked for
    addresses: tuple[bytes, ...]  # which are these if it was A or AAAA; in their order, each once
    ttl: int  # seconds: the smallest on the way, or how long a "no" may be kept (RFC 2308, 5; 0: not told)
    end: int  # where the answer section ends
    ttls: tuple[int, ...]  # and where the TTLs stand in it


def answer(data: bytes, asked: bytes, *, any_case: bool = False) -> Answer | NotMine:
    """Read an upstream's reply to `asked`, the query we sent.

    NOT_MINE: not a reply to it (the id, and the question to the bit, its 0x20 case included), out of bounds, or
    with records that nobody asked for. `any_case` is for TCP, which cannot be forged from afar, and servers that
    do not keep the case.
    """
    if len(data) < HEADER:
        return NOT_MINE
    ident, flags, questions, answers, authorities, additional = _HEADER.unpack_from(data)
    if not flags & RESPONSE or flags & OPCODE or questions != 1 or ident != asked[0] << 8 | asked[1]:
        return NOT_MINE
    if answers + authorities + additional > MOST_RECORDS:
        return NOT_MINE
    name_end = _plain_name(asked, HEADER)
    end = name_end + 4
    if not name_end or end > len(data) or data[name_end:end] != asked[name_end:end]:
        return NOT_MINE
    wire, echo = asked[HEADER:name_end], data[HEADER:name_end]
    if echo != wire and not (any_case and echo.lower() == wire.lower()):
        return NOT_MINE
    if flags & TRUNCATED:
        return Answer(flags & RCODE, True, (wire,), False, (), 0, end, ())
    (qtype,) = _SHORT.unpack_from(asked, name_end)
    return _Reader(data, wire, qtype).read(flags & RCODE, end, answers, authorities)


class _Reader:
    """The records of one reply."""

    __slots__ = ("_aliases", "_data", "_found", "_hops", "_names", "_negative", "_qtype", "_ttls", "_wire")

    def __init__(self, data: bytes, wire: bytes, qtype: int) -> None:
        self._data = data
        self._wire = wire
        self._qtype = qtype
        self._hops = MOST_HOPS
        self._names: dict[int, bytes] = {}  # read before, by offset
        self._aliases: dict[bytes, tuple[bytes, int]] = {}  # owner in lower case -> target, TTL
        self._found: dict[bytes, dict[bytes, int]] = {}  # owner in lower case -> data -> TTL
        self._negative = 0
        self._ttls: list[int] = []

    def read(self, rcode: int, at: int, answers: int, authorities: int) -> Answer | NotMine:
        for _ in range(answers):
            at = self._record(at, in_answer=True)
            if not at:
                return NOT_MINE
        end = at
        for _ in range(authorities):
            at = self._record(at, in_answer=False)
            if not at:
                return NOT_MINE
        chain, ttls = [self._wire], []
        last = self._wire.lower()
        while last in self._aliases:
            target, ttl = self._aliases.pop(last)  # popped: a loop ends
            chain.append(target)
            ttls.append(ttl)
            last = target.lower()
        if len(chain) > 1 + LONGEST_CHAIN:
            return NOT_MINE
        found = self._found.get(last, {})
        ttls += found.values() or (self._negative,)
        addresses = tuple(found) if self._qtype in ADDRESS_SIZE else ()
        return Answer(rcode, False, tuple(chain), bool(found), addresses, min(ttls), end, tuple(self._ttls))

    def _record(self, at: int, *, in_answer: bool) -> int:
        """Take in the record at `at`. Where the next one begins, 0 if this one is not to be had."""
        data = self._data
        owner, at = self._name(at)
        start = at + _RECORD.size
        if not owner or start > len(data):
            return 0
        kind, kin, ttl, length = _RECORD.unpack_from(data, at)
        end: int = start + length
        if end > len(data) or kin != IN:
            return 0
        ttl = ttl if ttl < 1 << 31 else 0  # RFC 2181, 8
        if not in_answer:
            if kind == SOA and length >= 22:
                self._negative = min(ttl, _LONG.unpack_from(data, end - 4)[0])
            return end
        self._ttls.append(at + 4)
        owner = owner.lower()
        if kind == self._qtype:
            if length != ADDRESS_SIZE.get(kind, length):
                return 0
            self._found.setdefault(owner, {}).setdefault(data[start:end], ttl)
        elif kind == CNAME:
            target, target_end = self._name(start)
            if target_end != end:
                return 0
            self._aliases.setdefault(owner, (target, ttl))
        elif kind not in ON_THE_WAY:
            return 0
        return end

    def _name(self, at: int) -> tuple[bytes, int]:
        """The name at `at`, uncompressed, and where the next thing stands; (b"", 0) if there is none.

        A pointer leads strictly backwards, so no path is endless (RFC 9267, 2), and there are so many for the
        whole message.
        """
        data = self._data
        first = start = at
        after = 0
        parts: list[bytes] = []
        size = 0
        while at < len(data):
            octet = data[at]
            if octet >= 0xC0:
                if at + 2 > len(data):
                    break
                target = (octet & 0x3F) << 8 | data[at + 1]
                after = after or at + 2
                if target >= start or target < HEADER:
                    break
                if not parts and target in self._names:
                    return self._names[target], after
                self._hops -= 1
                if self._hops < 0:
                    break
                at = start = target
                if not parts:
                    first = target
                continue
            if octet > 63:
                break
            size += 1 + octet
            if size > LONGEST_NAME or at + 1 + octet > len(data):
                break
            parts.append(data[at : at + 1 + octet])
            at += 1 + octet
            if not octet:
                name = self._names[first] = b"".join(parts)
                return name, after or at
        return b"", 0
