"""The internet of a lab, one process in its namespace: every address is here, every port answers.

Run by lab.py as `python -m firewall.lab.internet DIRECTORY`. Says `ready` on its standard output once it serves.
TPROXY hands every connection and datagram to one listener per protocol and family, with the address and port that
the client meant (Documentation/networking/tproxy.rst).
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from firewall.lab import sinks
from firewall.lab.certificates import Authority
from firewall.lab.names import NameTable
from firewall.lab.nameserver import NameServer, UdpNames, tcp_names
from firewall.lab.services import Connection
from firewall.lab.topology import HOST_IF, RESOLVERS, SOCKET

if TYPE_CHECKING:
    from firewall.lab.quic import Quic

PORT: Final = 4  # of the listeners; no client means it (unassigned, RFC 6335)
BACKLOG: Final = 4096
UDP_BUFFER: Final = 32 * 1024 * 1024  # a datagram that finds no room would be a leak that nobody saw
UDP_IDLE: Final = 30.0  # seconds; a datagram after that opens a new exchange, as conntrack sees it
MAX_EXCHANGES: Final = 65_536
MAX_BATCH: Final = 64  # datagrams in one turn
QUIC_PORTS: Final = frozenset({443, 4433})

# linux/in.h, linux/in6.h, asm-generic/socket.h; the socket module has none of them
IP_TRANSPARENT, IP_RECVORIGDSTADDR = 19, 20
IPV6_TRANSPARENT, IPV6_RECVORIGDSTADDR = 75, 74
SO_RCVBUFFORCE = 33

RULES: Final = f"""
table inet lab {{
    chain prerouting {{
        type filter hook prerouting priority mangle;
        iifname != "{HOST_IF}" accept
        ip daddr {RESOLVERS[0]} meta l4proto {{ tcp, udp }} th dport 53 accept
        ip6 daddr {RESOLVERS[1]} meta l4proto {{ tcp, udp }} th dport 53 accept
        meta l4proto {{ tcp, udp }} tproxy to :{PORT}
    }}
}}
"""

Address = tuple[str, int]


def transparent(kind: socket.SocketKind, address: Address) -> socket.socket:
    """A socket bound to an address that need not be on any interface (CAP_NET_ADMIN)."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    s = socket.socket(family, kind, socket.IPPROTO_TCP if kind == socket.SOCK_STREAM else 0)  # named: asyncio's NODELAY
    s.setblocking(False)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    else:
        s.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
    s.bind(address)
    return s


class Udp:
    """Every datagram is recorded and sent back from the address and port that it was sent to; QUIC is spoken with."""

    def __init__(self, any_address: str, journal: sinks.Journal, authority: Authority) -> None:
        self._journal = journal
        self._authority = authority
        self._quic: dict[Address, Quic] = {}
        self._exchanges: dict[tuple[Address, Address], tuple[sinks.Record, float]] = {}  # least recent first
        self._socket = transparent(socket.SOCK_DGRAM, (any_address, PORT))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, UDP_BUFFER)
        if self._socket.family == socket.AF_INET6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1)
        else:
            self._socket.setsockopt(socket.IPPROTO_IP, IP_RECVORIGDSTADDR, 1)
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def _read(self) -> None:
        with suppress(BlockingIOError):
            for _ in range(MAX_BATCH):
                data, ancillary, _, source = self._socket.recvmsg(65_536, 128)
                self._received(data, source[:2], _address(ancillary[0][2]))

    def _received(self, data: bytes, source: Address, wanted: Address) -> None:
        key, now = (source, wanted), time.monotonic()
        record, last = self._exchanges.pop(key, (None, 0.0))
        if record is None or now - last > UDP_IDLE:
            record = self._journal.open("udp", source, wanted)
        self._exchanges[key] = (record, now)
        if len(self._exchanges) > MAX_EXCHANGES:
            del self._exchanges[next(iter(self._exchanges))]
        quic = self._quic_of(wanted) if wanted[1] in QUIC_PORTS else None
        if quic is not None and quic.knows(data):
            self._journal.count(record, len(data))
            quic.datagram_received(data, source)
        else:
            self._journal.add(record, data)
            _send(wanted, data, source)

    def _quic_of(self, wanted: Address) -> Quic | None:
        """Who speaks QUIC there; None where aioquic, which only tests need, is not installed."""
        if wanted not in self._quic:
            try:
                from firewall.lab.quic import Quic  # noqa: PLC0415  0.2 s that only who needs it waits for
            except ImportError:
                return None
            self._quic[wanted] = Quic(self._journal, self._authority, wanted, partial(_send, wanted))
        return self._quic[wanted]


def _send(wanted: Address, data: bytes, source: Address) -> None:
    """Back, from where it was sent to."""
    with suppress(OSError), transparent(socket.SOCK_DGRAM, wanted) as back:  # OSError: the client is gone
        back.sendto(data, source)


def _address(sockaddr: bytes) -> Address:
    """A sockaddr_in or sockaddr_in6 as the kernel lays it out."""
    (family,), (port,) = struct.unpack_from("=H", sockaddr), struct.unpack_from("!H", sockaddr, 2)
    raw = sockaddr[8:24] if family == socket.AF_INET6 else sockaddr[4:8]
    return socket.inet_ntop(family, raw), port


async def control(
    journal: sinks.Journal, names: NameServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """One request, a JSON object in a line: `{"do": "sinks", "follow": ...}` or `{"do": "move", "moved": ...}`."""
    request: dict[str, Any] = json.loads(await reader.readline())
    if request["do"] == "sinks":
        await sinks.serve(journal, writer, follow=request["follow"])
    else:
        names.move(moved=request["moved"])
        writer.write(b'{"ok": true}\n')
    writer.close()


async def main(directory: Path) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    authority, journal, names = Authority(directory), sinks.Journal(), NameServer(NameTable.load())
    loop = asyncio.get_running_loop()
    for anywhere in ("0.0.0.0", "::"):  # noqa: S104  all of the internet
        listener = transparent(socket.SOCK_STREAM, (anywhere, PORT))
        await loop.create_server(partial(Connection, journal, authority), sock=listener, backlog=BACKLOG)
        Udp(anywhere, journal, authority)
    for resolver in RESOLVERS:
        over_udp, over_tcp = (transparent(kind, (resolver, 53)) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM))
        await loop.create_datagram_endpoint(partial(UdpNames, names), sock=over_udp)
        await asyncio.start_server(partial(tcp_names, names), sock=over_tcp)
    await asyncio.start_unix_server(partial(control, journal, names), directory / SOCKET)
    print("ready", flush=True)  # noqa: T201
    await loop.create_future()  # until killed


if __name__ == "__main__":
    subprocess.run(["nft", "-f", "-"], input=RULES, text=True, check=True)
    asyncio.run(main(Path(sys.argv[1])))
