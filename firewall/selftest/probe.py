"""A phone of our own: a network namespace without a name, plugged into the phones' side. Gone with this process.

It speaks with sockets where those will do, and with frames made by hand where not.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_interface
from typing import TYPE_CHECKING, Any, Final

from firewall.backends.linux.nftables import run
from firewall.selftest import hellos, packets
from firewall.spaces import Space

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Collection

    from firewall.selftest.tries import Try
    from firewall.selftest.verdict import Outcome

CONNECT_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 1.5
PORT: Final = "cst"  # how the names of our ports begin
CARD: Final = "eth0"
ALL: Final = 0x0003  # ETH_P_ALL (linux/if_ether.h)
LINGER_NOT: Final = struct.pack("ii", 1, 0)  # close with a reset: nothing is sent again


class SelfTestError(Exception):
    """Why it cannot be told whether the gate is real; the text is for a person."""


@dataclass(frozen=True, slots=True)
class Side:
    """The phones' interface as a phone finds it."""

    name: str
    mac: bytes
    parent: str  # of a macvlan: the wire it is on; "": a bridge
    own4: IPv4Interface
    own6: IPv6Interface | None  # its global or unique local address
    isolated: bool  # its ports are kept from each other
    inside: frozenset[str]  # interfaces that lead to phones, or nowhere

    @classmethod
    def look(cls, name: str) -> Side:
        """Raises SelfTestError if no probe can be plugged in."""
        links = told("-d", "link", "show")
        lan = next((link for link in links if link["ifname"] == name), None)
        if lan is None:
            raise SelfTestError(f"there is no interface {name}")
        kind, info = lan.get("linkinfo", {}).get("info_kind"), lan.get("linkinfo", {}).get("info_data", {})
        if kind != "bridge" and not (kind == "macvlan" and info.get("mode") == "bridge"):
            remedy = "`consentry setup` makes one, and puts it in"
            raise SelfTestError(f"{name} is no bridge, so no probe can be plugged in beside the phones: {remedy}")
        ports = {
            link["ifname"]: link.get("linkinfo", {}).get("info_slave_data", {})
            for link in links if link.get("master") == name
        }
        found = [
            ip_interface(f"{row['local']}/{row['prefixlen']}")
            for link in told("addr", "show", "dev", name)
            for row in link.get("addr_info", ())
            if row.get("scope") == "global"
        ]
        own4 = next((one for one in found if isinstance(one, IPv4Interface)), None)
        if own4 is None or own4.network.num_addresses < 8:
            raise SelfTestError(f"{name} has no IPv4 network with room for two probes")
        own6 = next((one for one in found if isinstance(one, IPv6Interface) and one.network.prefixlen <= 64), None)
        parent = str(lan.get("link", "")) if kind == "macvlan" else ""
        isolated = all(port.get("isolated") for port in ports.values())  # as the others; alone: as setup makes them
        mac, inside = bytes.fromhex(lan["address"].replace(":", "")), frozenset((name, "lo", *ports))
        return cls(name, mac, parent, own4, own6, isolated, inside)

    def free4(self, taken: Collection[str]) -> IPv4Interface:
        """One near the end of the network that nobody is known to have."""
        network = self.own4.network
        last = int(network.broadcast_address)
        for at in range(last - 1, int(network.network_address), -1):
            address = IPv4Address(at)
            if str(address) not in taken and address != self.own4.ip:
                return IPv4Interface(f"{address}/{network.prefixlen}")
        raise SelfTestError(f"no address is free in {network}")

    def free6(self) -> IPv6Interface | None:
        if self.own6 is None:
            return None
        prefix = int(self.own6.network.network_address)
        return IPv6Interface(f"{IPv6Address(prefix | 0x5E1F << 48 | secrets.randbits(48))}/64")


class Phone:
    """Plugged in when it is made; `close` takes everything out again."""

    def __init__(self, side: Side, own4: IPv4Interface) -> None:
        self.side, self.own4, self.own6 = side, own4, side.free6()
        self.mac = b"\x02\x5e\x1f" + secrets.token_bytes(3)  # of nobody: locally administered
        self.port = PORT + self.mac[3:].hex()
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
        side, there, mac = self.side, f"/proc/{os.getpid()}/fd/{self._space.fd}", self.mac.hex(":")
        if side.parent:
            ip("link", "add", self.port, "link", side.parent, "address", mac, "type", "macvlan", "mode", "bridge")
            ip("link", "set", self.port, "netns", there, "name", CARD)
        else:
            last = b"\xfe" + self.mac[1:]  # a bridge that nobody gave a MAC takes the first of its ports': not this one
            near = ("link", "add", self.port, "address", last.hex(":"), "type", "veth")
            ip(*near, "peer", "name", CARD, "address", mac, "netns", there)
            ip("link", "set", self.port, "master", side.name, "up")
            ip("link", "set", self.port, "type", "bridge_slave", "isolated", "on" if side.isolated else "off")
        with self._space.inside():
            ip("link", "set", "lo", "up")
            ip("link", "set", CARD, "up")
            ip("addr", "add", str(self.own4), "dev", CARD)
            ip("route", "add", "default", "via", str(side.own4.ip))
            ip("neigh", "add", str(side.own4.ip), "lladdr", side.mac.hex(":"), "dev", CARD)
            if self.own6 and side.own6:
                ip("addr", "add", str(self.own6), "dev", CARD, "nodad")
                ip("route", "add", "default", "via", str(side.own6.ip))
                ip("neigh", "add", str(side.own6.ip), "lladdr", side.mac.hex(":"), "dev", CARD)

    def close(self) -> None:
        """The port first, so that it is gone when this returns; a namespace goes when the kernel has time for it."""
        if not self.side.parent:
            run("ip", "link", "del", self.port)
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


def ip(*words: str) -> subprocess.CompletedProcess[str]:
    """Run it. Raises SelfTestError with what it says."""
    done = run("ip", *words)
    if done.returncode:
        raise SelfTestError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done


def told(*words: str) -> list[dict[str, Any]]:
    """What ip(8) tells as JSON."""
    rows: list[dict[str, Any]] = json.loads(ip("-j", *words).stdout or "[]")
    return [row for row in rows if row]
