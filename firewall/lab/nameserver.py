"""The lab's name server: UDP and TCP, EDNS, truncation; answers come from names.py."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

from dnslib import AAAA, CNAME, EDNS0, HTTPS, QTYPE, RCODE, RR, SOA, A, DNSError, DNSHeader, DNSRecord

if TYPE_CHECKING:
    from firewall.lab.names import NameTable

TTL: Final = 60
MOVING_TTL: Final = 1  # of names that can move in the middle of a test
PLAIN_UDP: Final = 512  # without EDNS (RFC 1035, 2.3.4)
OUR_UDP: Final = 1232  # what fits any path (DNS flag day 2020)
MAX_CACHED: Final = 4096
SOA_RECORD: Final = RR("", QTYPE.SOA, ttl=TTL, rdata=SOA("ns.lab", "nobody.lab", (1, 3600, 600, 86400, 2)))


class NameServer:
    """Turns a query's bytes into an answer's bytes. Never raises for what it is sent."""

    def __init__(self, table: NameTable) -> None:
        self.table = table
        self._cache: dict[tuple[bytes, bool], bytes] = {}  # everything after the id -> the same of the answer

    def move(self, *, moved: bool) -> None:
        self.table.moved = moved
        self._cache.clear()

    def answer(self, query: bytes, *, over_udp: bool) -> bytes | None:
        """None: not a query, so nobody is answered."""
        if len(query) < 12 or query[2] & 0x80:
            return None
        key = (query[2:], over_udp)
        if (kept := self._cache.get(key)) is not None:
            return query[:2] + kept
        wire = self._answer(query, over_udp=over_udp)
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        self._cache[key] = wire[2:]
        return wire

    def _answer(self, query: bytes, *, over_udp: bool) -> bytes:
        try:
            asked = DNSRecord.parse(query)
            if len(asked.questions) != 1:
                return self._refusal(query)
            return self._pack(self._reply(asked), asked, over_udp=over_udp)
        except (DNSError, ValueError, RecursionError):  # dnslib raises all three for odd bytes
            return self._refusal(query)

    def _reply(self, asked: DNSRecord) -> DNSRecord:
        reply = asked.reply(aa=0)
        qname, qtype = asked.q.qname, asked.q.qtype
        name = str(qname).rstrip(".")
        found = self.table.find(name, 6 if qtype == QTYPE.AAAA else 4)
        if found is None:
            reply.header.rcode = RCODE.NXDOMAIN
            reply.add_auth(SOA_RECORD)
            return reply
        ttl = MOVING_TTL if self.table.can_move(found.aliases[-1] if found.aliases else name) else TTL
        owner = qname
        for alias in found.aliases:
            reply.add_answer(RR(owner, QTYPE.CNAME, ttl=ttl, rdata=CNAME(alias)))
            owner = alias
        if qtype == QTYPE.HTTPS and (leads := self.table.https(str(owner).rstrip("."))):
            reply.add_answer(RR(owner, qtype, ttl=ttl, rdata=self._https(str(owner).rstrip("."), leads)))
        elif qtype not in (QTYPE.A, QTYPE.AAAA):
            reply.add_auth(SOA_RECORD)
        else:
            data = AAAA if qtype == QTYPE.AAAA else A
            for address in found.addresses:
                reply.add_answer(RR(owner, qtype, ttl=ttl, rdata=data(str(address))))
        return reply

    def _https(self, name: str, leads: str) -> HTTPS:
        """RFC 9460, 2: an alias, or hints of either family and a key for ECH that is none."""
        if leads != ".":
            return HTTPS(0, [label.encode() for label in leads.split(".")], [])
        four, six = (self.table.find(name, version) for version in (4, 6))
        hints = [b"".join(addr.packed for addr in found.addresses) if found else b"" for found in (four, six)]
        return HTTPS(1, [], [(1, b"\x02h2"), (4, hints[0]), (5, b"\0\x04\xfe\x0d\0\0"), (6, hints[1])])

    def _pack(self, reply: DNSRecord, asked: DNSRecord, *, over_udp: bool) -> bytes:
        edns = next((rr for rr in asked.ar if rr.rtype == QTYPE.OPT), None)
        if edns is not None:
            reply.add_ar(EDNS0(udp_len=OUR_UDP))
        wire: bytes = reply.pack()
        room = min(max(edns.edns_len, PLAIN_UDP), OUR_UDP) if edns is not None else PLAIN_UDP
        if not over_udp or len(wire) <= room:
            return wire
        reply.rr, reply.auth = [], []
        reply.header.tc = 1
        truncated: bytes = reply.pack()
        return truncated

    @staticmethod
    def _refusal(query: bytes) -> bytes:
        header = DNSHeader(id=int.from_bytes(query[:2]), qr=1, rcode=RCODE.FORMERR)
        wire: bytes = DNSRecord(header).pack()
        return wire


class UdpNames(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # not a subclass of it before Python 3.12

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        if answer := self._server.answer(data, over_udp=True):
            self._transport.sendto(answer, addr)


async def tcp_names(server: NameServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One client's queries, each behind its length in two bytes (RFC 7766)."""
    with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
        while True:
            async with asyncio.timeout(30):
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                query = await reader.readexactly(length)
            if (answer := server.answer(query, over_udp=False)) is None:
                break
            writer.write(struct.pack("!H", len(answer)) + answer)
            await writer.drain()
    writer.close()
