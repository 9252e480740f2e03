"""The resolvers that true answers come from, asked so that an answer is hard to forge (RFC 5452)."""

from __future__ import annotations

import asyncio
import secrets
import socket
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from firewall.dissect import NOT_MINE, dns
from firewall.resolver.replies import LARGEST_UDP

if TYPE_CHECKING:
    from collections.abc import Sequence

TRY_SECONDS = 0.8
ALL_SECONDS = 3.0
TRIES = 3  # so one question of a phone never becomes more than three upstream

_HEADER = Struct("!HHHHHH")
_TAIL = Struct("!HHBHHIH")  # type and class; the OPT record: root, type, payload size, flags, no data


class Reply(NamedTuple):
    """A checked answer and its bytes."""

    answer: dns.Answer
    data: bytes


class Upstreams:
    """Asks one after the other; whoever answered last is asked first."""

    def __init__(self, servers: Sequence[tuple[str, int]]) -> None:
        self._servers = tuple(servers)
        self._first = 0

    def use(self, servers: Sequence[tuple[str, int]]) -> None:
        """From now on these; while there are none, those before."""
        if servers and tuple(servers) != self._servers:
            self._servers, self._first = tuple(servers), 0

    async def ask(self, wire: bytes, qtype: int) -> Reply | None:
        """The answer of the first upstream that has one; the last refusal if none has; None if none speaks.

        Each try has an id, a port and a spelling of its own. Takes 3 s at most.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ALL_SECONDS
        refusal = None
        for attempt in range(TRIES if self._servers else 0):
            number = (self._first + attempt) % len(self._servers)
            try:
                async with asyncio.timeout_at(min(deadline, loop.time() + TRY_SECONDS)):
                    reply = await self._over_udp(self._servers[number], query(wire, qtype))
            except (TimeoutError, OSError, EOFError):
                continue
            if reply.answer.rcode in (dns.NOERROR, dns.NXDOMAIN):
                self._first = number
                return reply
            refusal = reply
        return refusal

    async def _over_udp(self, server: tuple[str, int], asked: bytes) -> Reply:
        """Wait for the true answer, whatever else arrives. From a new socket: the kernel chooses its port at random."""
        loop = asyncio.get_running_loop()
        with socket.socket(_family(server), socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(server)  # the kernel drops what comes from elsewhere
            sock.send(asked)
            while True:
                data = await loop.sock_recv(sock, 65_535)
                answer = dns.answer(data, asked)
                if answer is NOT_MINE:
                    if dns.answer(data, asked, any_case=True) is NOT_MINE:
                        continue
                    # A server that does not keep the case, or a forger who knows all but the case.
                    break
                if answer.truncated:
                    break
                return Reply(answer, data)
        return await self._over_tcp(server, asked)

    async def _over_tcp(self, server: tuple[str, int], asked: bytes) -> Reply:
        reader, writer = await asyncio.open_connection(*server)
        try:
            writer.write(len(asked).to_bytes(2) + asked)
            data = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        finally:
            writer.transport.abort()
        answer = dns.answer(data, asked, any_case=True)
        if answer is NOT_MINE or answer.truncated:
            raise EOFError
        return Reply(answer, data)


def query(wire: bytes, qtype: int) -> bytes:
    """A question with an unpredictable id and spelling (0x20: draft-vixie-dnsext-dns0x20)."""
    coins = secrets.randbits(len(wire))
    spelt = bytes(
        octet ^ 0x20 if 0x61 <= octet <= 0x7A and coins >> at & 1 else octet for at, octet in enumerate(wire.lower())
    )
    header = _HEADER.pack(secrets.randbits(16), dns.RECURSION_DESIRED, 1, 0, 0, 1)
    return header + spelt + _TAIL.pack(qtype, dns.IN, 0, dns.OPT, LARGEST_UDP, 0, 0)


def _family(server: tuple[str, int]) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in server[0] else socket.AF_INET
