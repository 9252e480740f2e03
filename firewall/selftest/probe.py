"""A phone of our own: a network namespace without a name, plugged into the phones' side. Gone with this process.

It speaks with sockets where those will do, and with frames made by hand where not.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from firewall.backends.linux.nftables import run
from firewall.selftest import hellos, packets
from firewall.selftest.side import CARD, PORT, do
from firewall.spaces import Space

if TYPE_CHECKING:

    from ipaddress import IPv4Interface

    from firewall.selftest.side import Command, Side
    from firewall.selftest.tries import Try
    from firewall.selftest.verdict import Outcome

CONNECT_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 1.5
ALL: Final = 0x0003  # ETH_P_ALL (linux/if_ether.h)
LINGER_NOT: Final = struct.pack("ii", 1, 0)  # close with a reset: nothing is sent again


class Phone:
    """Plugged in when it is made; `close` takes everything out again."""

    def __init__(self, side: Side, own4: IPv4Interface) -> None:
        self.side, self.own4, self.own6 = side, own4, side.free6()
        self.mac = b"\x02\x5e\x1f" + secrets.token_bytes(3)  # of nobody: locally administered
        self.port = PORT + self.mac[3:].hex()
        self._undo: list[Command] = []
        self._space = Space()
        try:
            self._plug_in()
            with self._space.inside():
                self._card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
                self._card.bind((CARD, ALL))
        except BaseException:
            self.close()
            raise

    def _plug_in(self) -> None:
        side = self.side
        with self._space.inside(), suppress(FileNotFoundError):  # its address and its router are those it is given here
            Path("/proc/sys/net/ipv6/conf/default/accept_ra").write_text("0")
        self._undo = side.plug_in(self.port, self.mac, f"/proc/{os.getpid()}/fd/{self._space.fd}")
        with self._space.inside():
            do("ip", "link", "set", "lo", "up")
            do("ip", "link", "set", CARD, "up")
            for own, gateway in ((self.own4, side.own4), (self.own6, side.own6)):
                if own and gateway:
                    do("ip", "addr", "add", str(own), "dev", CARD, *(("nodad",) if own.version == 6 else ()))
                    do("ip", "route", "add", "default", "via", str(gateway.ip))
                    do("ip", "neigh", "add", str(gateway.ip), "lladdr", side.mac.hex(":"), "dev", CARD)

    def close(self) -> None:
        """The port first, so that it is gone when this returns; a namespace goes when the kernel has time for it."""
        for words in self._undo:
            run(*words)
        if hasattr(self, "_card"):
            self._card.close()
        self._space.close()

    def address(self, family: int) -> bytes | None:
        own = self.own4 if family == 4 else self.own6
        return own.ip.packed if own else None

    # -- speaking ----------------------------------------------------------------------------------------------------

    def send(self, packet: bytes, to: bytes | None = None) -> None:
        """A packet as it stands, to the gateway, or to another phone's MAC."""
        with suppress(BlockingIOError):
            self._card.send(packets.frame(to or self.side.mac, self.mac, packet))

    def received(self) -> list[bytes]:
        """The frames that have come since this was asked last."""
        found = []
        with suppress(BlockingIOError):
            while True:
                found.append(self._card.recv(65_536))
        return found

    async def connection(self, one: Try, seen: Outcome) -> None:
        """Connect, say it, and wait for what comes back."""
        loop = asyncio.get_running_loop()
        with self._socket(one.dst, socket.SOCK_STREAM) as s:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await loop.sock_connect(s, _place(one.dst, one.port))
                seen.connected = True
                says = one.says if one.way == "connection" else len(one.says).to_bytes(2) + one.says
                await loop.sock_sendall(s, says)
                seen.said = True
                async with asyncio.timeout(ANSWER_SECONDS):
                    seen.answered = bool(await loop.sock_recv(s, 1))
            except TimeoutError:
                seen.error = seen.error or "no answer"
            except OSError as error:
                seen.error = os.strerror(error.errno or 0).lower()
            with suppress(OSError):
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)

    async def question(self, dst: bytes, message: bytes) -> bytes:
        """The answer to a DNS message; b"" if there is none."""
        loop = asyncio.get_running_loop()
        with self._socket(dst, socket.SOCK_DGRAM) as s, suppress(OSError, TimeoutError):
            await loop.sock_connect(s, _place(dst, 53))
            for _ in range(2):
                await loop.sock_sendall(s, message)
                with suppress(TimeoutError):
                    async with asyncio.timeout(ANSWER_SECONDS):
                        return await loop.sock_recv(s, 4_096)
        return b""

    async def look_up(self, name: str, family: int, over: int) -> bytes | None:
        """An address of a family, as our resolver answers to a question that comes over IPv4 or IPv6."""
        kind = hellos.A if family == 4 else hellos.AAAA
        side = self.side.own4 if over == 4 else self.side.own6
        if side is None or self.address(over) is None:
            return None
        question = hellos.question(name, kind, secrets.randbits(16))
        found = hellos.answers(await self.question(side.ip.packed, question), kind)
        return found[0] if found else None

    def _socket(self, dst: bytes, kind: socket.SocketKind) -> socket.socket:
        """It lives in the probe's namespace, wherever it is used."""
        with self._space.inside():
            return socket.socket(socket.AF_INET if len(dst) == 4 else socket.AF_INET6, kind | socket.SOCK_NONBLOCK)



def _place(dst: bytes, port: int) -> tuple[str, int]:
    return socket.inet_ntop(socket.AF_INET if len(dst) == 4 else socket.AF_INET6, dst), port

