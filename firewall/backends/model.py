"""What a recording has in place of a house and of a kernel: everybody's phones, sets that refuse, packets cut anew."""

from __future__ import annotations

import re
from bisect import bisect_right
from struct import Struct
from typing import TYPE_CHECKING, Final

from firewall.dissect import ip
from firewall.inputs import FlowKey
from firewall.phones import HOME, Phones
from rules.networks import NAT64, TEREDO, embedded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from firewall.commands import Command, KernelState, RefuseAddress
    from firewall.phones import Phone

# Ports that answer more often than they ask, for flows whose beginning was not recorded.
SERVERS: Final = frozenset((53, 80, 443, 853, 993, 995, 465, 587, 5222, 5223, 5228, 8080, 8443))

CHOSEN: Final = 32_768  # from here on systems choose the ports that they connect from

# Errors and neighbours' talk: never asked about, and no flows of their own.
_ERRORS: Final = {
    ip.ICMP: frozenset((3, 4, 5, 9, 10, 11, 12)), ip.ICMPV6: frozenset((1, 2, 3, 4, *range(130, 138), 143)),
}

# A hello of TLS, HTTP's first words (RFC 8446, 4; RFC 9112, 3 and 4).
_SERVER_SAYS = re.compile(rb"\x16\x03...\x02|HTTP/1\.[01] ", re.DOTALL)
_CLIENT_SAYS = re.compile(rb"\x16\x03...\x01|(?:GET|POST|PUT|HEAD|OPTIONS|CONNECT|PRI) ", re.DOTALL)
_QUIC = re.compile(rb"[\x80-\xff](?:\0\0\0[\0\x01]|\x6b\x33\x43\xcf)")  # a long header: version 1, 2 or negotiated

_PORTS = Struct("!HH")
_LONG = Struct("!I")


class Everybody(Phones):
    """Who sends in a recording: all in one group, and no address belongs to one sender alone."""

    def __init__(self, group: str = HOME, given: Mapping[bytes, str] | None = None) -> None:
        super().__init__(given=given)
        self._group = self.stranger.group = group

    def of(self, mac: bytes, wall: float) -> Phone:
        phone = super().of(mac, wall)
        phone.group = self._group
        return phone

    def admit(self, mac: bytes, addr: bytes, boot: float, wall: float) -> tuple[Phone | None, list[Command]]:  # noqa: ARG002  one phone's addresses are not counted here
        return self.of(mac, wall), []

    def sweep(self, boot: float) -> list[Command]:  # noqa: ARG002  as there
        return []


class Sets:
    """What the kernel refuses by itself."""

    def __init__(self) -> None:
        self._ranges: dict[int, tuple[list[bytes], list[bytes]]] = {4: ([], []), 16: ([], [])}
        self._learned: dict[tuple[bytes, bytes], float] = {}
        self._teredo = False

    def load(self, state: KernelState) -> None:
        for size, ranges in ((4, state.refused4), (16, state.refused6)):
            self._ranges[size] = [first for first, _ in ranges], [last for _, last in ranges]
        self._teredo = state.teredo
        if not state.keep_learned:
            self._learned.clear()

    def learn(self, command: RefuseAddress, now: float) -> None:
        if command.seconds:
            self._learned[command.mac, command.addr] = now + command.seconds
        else:
            self._learned.pop((command.mac, command.addr), None)

    def refuse(self, mac: bytes, addr: bytes, now: float) -> bool:
        return self._listed(addr) or self._learned.get((mac, addr), 0.0) > now

    def _listed(self, addr: bytes) -> bool:
        firsts, lasts = self._ranges[len(addr)]
        at = bisect_right(firsts, addr) - 1
        if at >= 0 and addr <= lasts[at]:
            return True
        behind = embedded(addr) if self._teredo and addr.startswith(TEREDO) and len(addr) == 16 else None
        return behind is not None and self._listed(NAT64 + behind)


def answers(packet: ip.Packet, raw: bytes) -> bool:
    """Whether the first packet that was recorded of a flow is one of its answers."""
    if packet.proto == ip.TCP and packet.flags & ip.SYN:
        return bool(packet.flags & ip.ACK)
    if packet.proto not in (ip.TCP, ip.UDP):
        return False
    said = raw[packet.payload : min(packet.payload + 16, packet.end)]
    if packet.proto == ip.TCP and _SERVER_SAYS.match(said):
        return True
    if packet.proto == ip.TCP and _CLIENT_SAYS.match(said):
        return False
    if (packet.sport in SERVERS) != (packet.dport in SERVERS):
        return packet.sport in SERVERS
    if (packet.proto == ip.TCP or _QUIC.match(said)) and packet.sport < CHOSEN <= packet.dport:
        return True
    return packet.sport < 1024 <= packet.dport


def is_error(packet: ip.Packet, raw: bytes) -> bool:
    """Whether it tells of other packets, or is neighbours' talk."""
    return packet.proto in _ERRORS and packet.l4 < packet.end and raw[packet.l4] in _ERRORS[packet.proto]


def sized(raw: bytes) -> bytes:
    """With the length that it has."""
    if raw[0] >> 4 == 4:
        return raw[:2] + _PORTS.pack(len(raw), 0)[:2] + raw[4:]
    return raw[:4] + _PORTS.pack(len(raw) - 40, 0)[:2] + raw[6:]


def without_syn(raw: bytes, l4: int, seq: int) -> bytes:
    return raw[: l4 + 4] + _LONG.pack(seq) + raw[l4 + 8 : l4 + 13] + bytes((raw[l4 + 13] & ~ip.SYN,)) + raw[l4 + 14 :]


def back(packet: ip.Packet) -> FlowKey:
    """The flow this packet is of, if it is an answer."""
    if packet.proto in (ip.ICMP, ip.ICMPV6):
        return FlowKey(packet.proto, packet.dst, packet.sport, packet.src, packet.dport)
    return FlowKey(packet.proto, packet.dst, packet.dport, packet.src, packet.sport)


def ends(key: FlowKey) -> tuple[bytes, bytes]:
    """Addresses and ports as they stand in its opener's packets, and in the answers."""
    there, back = _PORTS.pack(key.sport, key.dport), _PORTS.pack(key.dport, key.sport)
    return key.src + key.dst + there, key.dst + key.src + back
