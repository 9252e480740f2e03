"""What is not nftables: the policy rule that keeps the gate closed, sysctls, interfaces, neighbours."""

from __future__ import annotations

import errno
import json
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from firewall.backends import BackendError
from firewall.backends.linux import marks
from firewall.backends.linux.nfnl import attribute, attributes
from firewall.settings import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
RULES_CHANGED: Final = 0x80 | 0x40000  # RTMGRP_IPV4_RULE and its IPv6 twin, as bind(2) wants them
BLACKHOLE: Final = 6  # FR_ACT_BLACKHOLE
_PROC: Final = Path("/proc/sys/net")
_GET_NEIGHBOUR, _REQUEST = 30, 1  # RTM_GETNEIGH, NLM_F_REQUEST
_DESTINATION, _LINK_ADDRESS = 1, 2  # NDA_DST, NDA_LLADDR
_USABLE: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80  # NUD_REACHABLE ... NUD_PERMANENT without INCOMPLETE, FAILED


def index(interface: str) -> int:
    """Raises BackendError with the interfaces that there are."""
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        there = ", ".join(name for _, name in socket.if_nameindex() if name != "lo")
        raise BackendError(f"there is no interface {interface!r}, only {there}") from None


class Closed:
    """The positive permission: a packet from the phones that our own chain has not marked has no route.

    Flushing every nftables rule on the machine then blocks instead of opening. Preference 0 survives `ip rule flush`.
    """

    def __init__(self, lan: str) -> None:
        self._rule: dict[str, Any] = {
            "priority": 0, "iifname": lan, "fwmark": 0, "fwmask": marks.PERMIT, "action": BLACKHOLE, "protocol": 2,
        }

    def ensure(self) -> bool:
        """Put the rules there; whether one had been missing. Raises BackendError."""
        missing = False
        with IPRoute() as ip:
            for family in FAMILIES:
                try:
                    ip.rule("add", family=family, **self._rule)
                    missing = True
                except NetlinkError as error:
                    if error.code != errno.EEXIST:
                        raise BackendError(f"the policy rule that keeps the gate closed is refused: {error}") from None
        return missing

    def remove(self) -> None:
        with IPRoute() as ip:
            for family in FAMILIES:
                with suppress(NetlinkError):
                    ip.rule("del", family=family, **self._rule)


class Sysctls:
    """Switches of /proc/sys/net that the gate needs, and what they were before, kept in `memory` until `restore`."""

    def __init__(self, wan: str, memory: Path) -> None:
        self._memory = memory
        self._closed = {
            "netfilter/nf_conntrack_tcp_loose": 0,  # a connection we do not know does not come back in its middle
            "netfilter/nf_conntrack_acct": 1,  # bytes
            "netfilter/nf_conntrack_events": 1,  # also of flows begun before we listened
            "netfilter/nf_conntrack_checksum": 1,  # packets that a server would throw away are no packets
            f"ipv4/conf/{wan}/src_valid_mark": 1,  # replies pass rp_filter with the mark that `permit` gives
            f"ipv6/conf/{wan}/accept_ra": 2,  # a router that still learns its own way out, if it did
        }
        self._open = {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1}

    def close(self) -> None:
        """Everything but forwarding."""
        self._set(self._closed)

    def open(self) -> None:
        """Forwarding: the last step, when the rules stand."""
        self._set(self._open)

    def restore(self) -> None:
        for name, value in self._remembered().items():
            with suppress(OSError):
                (_PROC / name).write_text(value)
        self._memory.unlink(missing_ok=True)

    def _set(self, wanted: dict[str, int]) -> None:
        before = self._remembered()
        for name, value in wanted.items():
            path = _PROC / name
            try:
                was = path.read_text().strip()
                if name.endswith("/accept_ra") and was == "0":
                    continue  # its owner wants no advertisements here
                if was != str(value):
                    path.write_text(str(value))
            except OSError as error:
                if name.startswith("ipv6/conf/") and not path.exists():
                    continue  # a kernel without IPv6 forwards none
                raise BackendError(f"{path} cannot be set to {value}: {error.strerror}") from None
            before.setdefault(name, was)
        write_atomically(self._memory, json.dumps(before))

    def _remembered(self) -> dict[str, str]:
        try:
            known: dict[str, str] = json.loads(self._memory.read_text())
        except (OSError, ValueError):
            return {}
        return known


def has_global6(interface: str) -> bool:
    """Whether the phones' side has a global IPv6 prefix to hand on (then IPv6 is routed, else masqueraded)."""
    return any(
        name == interface and scope == 0 and address[0] & 0xFE != 0xFC  # fc00::/7, RFC 4193
        for address, scope, name in _addresses6()
    )


def _addresses6() -> Iterator[tuple[bytes, int, str]]:
    """/proc/net/if_inet6: address, index, prefix length, scope, flags, name."""
    with suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            address, _, _, scope, _, name = line.split()
            yield bytes.fromhex(address), int(scope, 16), name


class Neighbours:
    """MAC addresses of the phones' side, asked from the kernel one by one: ARP and neighbour discovery know them."""

    def __init__(self, interface: str) -> None:
        self._index = index(interface)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))

    def mac_of(self, address: bytes) -> bytes | None:
        """rtnetlink(7), RTM_GETNEIGH for one address; about 10 us."""
        family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        body = struct.pack("=BxxxiHBB", family, self._index, 0, 0, 0) + attribute(_DESTINATION, address)
        self._socket.send(struct.pack("=IHHII", 16 + len(body), _GET_NEIGHBOUR, _REQUEST, 1, 0) + body)
        answer = memoryview(self._socket.recv(4_096))
        length, kind = struct.unpack_from("=IH", answer)
        if kind != _GET_NEIGHBOUR - 2:  # RTM_NEWNEIGH; else an error: nobody there
            return None
        state = struct.unpack_from("=H", answer, 16 + 8)[0]
        mac = attributes(answer[28:length]).get(_LINK_ADDRESS)
        return bytes(mac) if mac is not None and len(mac) == 6 and state & _USABLE else None

    def close(self) -> None:
        self._socket.close()


