"""The resolver in a house of its own: a scripted upstream behind it, a scripted gateway beside it, the loopback device."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

from dnslib import AAAA, EDNS0, MX, QTYPE, RR, TXT, A, DNSQuestion, DNSRecord

from firewall.commands import ForwardQuery, RefuseQuery, SendAnswer
from firewall.inputs import AnswerSeen, QuerySeen
from firewall.resolver import Resolver
from rules.verdict import Decision

MAC = bytes.fromhex("020000000101")
OTHER_MAC = bytes.fromhex("020000000202")
OTHER = "127.0.0.9"  # where the second phone asks from
PUBLIC = "93.184.216.34"
KILLER = struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\3abc\xc0\x11" + b"x" * 17 + b"\xc0\x0c\0\1\0\1"


def free_port():
    """A port that is free for UDP and TCP just now."""
    while True:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as tcp, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
            tcp.bind(("::", 0))
            with contextlib.suppress(OSError):
                udp.bind(("::", tcp.getsockname()[1]))
                return tcp.getsockname()[1]


def address(question):
    """The answer of an honest upstream to any question."""
    data = {1: A(PUBLIC), 28: AAAA("2606:2800:220:1::1"), 15: MX("mail.example"), 16: TXT(b"x" * 200)}.get(question.qtype)
    return [RR(question.qname, question.qtype, rdata=data, ttl=300)] if data else []


class Upstream:
    """Answers as `script(query, over_tcp)` says: messages to send, in order. None: the honest answer."""

    def __init__(self):
        self.script = None
        self.asked = []  # (peer's port, bytes, over TCP)
        self.seen = asyncio.Event()

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self.port = free_port()
        self._udp, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", self.port))
        self._tcp = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_):
        self._udp.close()
        self._tcp.close()

    def honest(self, data, records=None, **header):
        query = DNSRecord.parse(data)
        reply = query.reply()
        for name, value in header.items():
            setattr(reply.header, name, value)
        reply.add_answer(*(address(query.q) if records is None else records))
        return bytes(reply.pack())

    def _answers(self, data, peer, over_tcp):
        self.asked.append((peer[1], data, over_tcp))
        self.seen.set()
        return self.script(data, over_tcp) if self.script else [self.honest(data)]

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, error):
        pass

    def datagram_received(self, data, peer):
        for answer in self._answers(data, peer, False):
            self.transport.sendto(answer, peer)

    async def _connected(self, reader, writer):
        size = int.from_bytes(await reader.readexactly(2))
        for answer in self._answers(await reader.readexactly(size), writer.get_extra_info("peername"), True):
            writer.write(len(answer).to_bytes(2) + answer)
        writer.close()


class Gate:
    """A gateway that lets everything through but what stands in `refused`; silent if it is `locked`."""

    def __init__(self, resolver):
        self.resolver = resolver
        self.refused = {}
        self.locked = False
        self.later = False
        self.left_out, self.ech = frozenset(), False  # of answers with hints
        self.seen = []
        self.told = asyncio.Event()

    def deliver(self, batch):
        self.seen.extend(batch)
        self.told.set()
        commands = [] if self.locked else [self._command(seen) for seen in batch]
        if self.later:
            asyncio.get_running_loop().call_soon(self.resolver.carry_out, commands)
        else:
            self.resolver.carry_out(commands)

    def _command(self, seen):
        if isinstance(seen, AnswerSeen):
            return SendAnswer(seen.token, self.left_out, self.ech)
        verdict = self.refused.get(seen.qname)
        return RefuseQuery(seen.token, Decision(verdict, "x/1", "stopped by x/1", "", 1)) if verdict else ForwardQuery(seen.token)

    @property
    def queries(self):
        return [seen for seen in self.seen if isinstance(seen, QuerySeen)]

    @property
    def answers(self):
        return [seen for seen in self.seen if isinstance(seen, AnswerSeen)]


class House:
    """Everything together, and the phones' side of it."""

    def __init__(self, up):
        self.up = up
        self.now = 1000.0
        self.port = free_port()
        macs = {socket.inet_aton(OTHER): OTHER_MAC}
        self.resolver = Resolver("lo", [("127.0.0.1", up.port)], lambda src: macs.get(src, MAC), self.port, lambda: self.now)
        self.gate = Gate(self.resolver)

    async def ask(self, name, qtype="A", *, at="127.0.0.1", src=None, size=0, wait=2.0):
        query = DNSRecord(q=DNSQuestion(name, qtype if isinstance(qtype, int) else QTYPE.reverse[qtype]))
        if size:
            query.add_ar(EDNS0(udp_len=size))
        return self.same(query, await self.send(bytes(query.pack()), at=at, src=src, wait=wait))

    def same(self, query, data):
        reply = DNSRecord.parse(data)
        assert reply.header.id == query.header.id
        assert str(reply.q.qname) == str(query.q.qname)
        assert reply.q.qtype == query.q.qtype
        return reply

    async def send(self, data, *, at="127.0.0.1", src=None, wait=2.0):
        """One datagram; the reply, or TimeoutError. Connected: a reply from another address does not arrive."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET6 if ":" in at else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            if src:
                sock.bind((src, 0))
            sock.connect((at, self.port))
            sock.send(data)
            async with asyncio.timeout(wait):
                return await loop.sock_recv(sock, 65_535)

    @contextlib.asynccontextmanager
    async def connection(self, at="127.0.0.1", src=None):
        reader, writer = await asyncio.open_connection(at, self.port, local_addr=(src, 0) if src else None)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def ask_tcp(self, name, qtype="A", *, at="127.0.0.1"):
        query = DNSRecord.question(name, qtype)
        async with asyncio.timeout(2), self.connection(at) as (reader, writer):
            writer.write(framed(query))
            return self.same(query, await read(reader))


def framed(query):
    data = bytes(query.pack())
    return len(data).to_bytes(2) + data


async def read(reader):
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2)))


def addresses(reply):
    return [str(rr.rdata) for rr in reply.rr if rr.rtype in (QTYPE.A, QTYPE.AAAA)]


@contextlib.asynccontextmanager
async def standing(up: Upstream) -> AsyncIterator[House]:
    built = House(up)
    await built.resolver.start(built.gate.deliver)
    try:
        yield built
    finally:
        await built.resolver.close()
