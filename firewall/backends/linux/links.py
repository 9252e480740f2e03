"""What is not nftables: the policy rule that keeps the gate closed, sysctls, the two interfaces."""

from __future__ import annotations

import errno
import json
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from firewall.backends import BackendError
from firewall.backends.linux import marks
from firewall.backends.linux.nfnl import messages
from firewall.backends.linux.uplink import AUTO, NONE, default_route
from firewall.settings import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
RULES_CHANGED: Final = 0x80 | 0x40000  # RTMGRP_IPV4_RULE and its IPv6 twin, as bind(2) wants them
LINKS_CHANGED: Final = 0x1  # RTMGRP_LINK
ROUTES_CHANGED: Final = 0x40 | 0x400  # RTMGRP_IPV4_ROUTE and its IPv6 twin
BLACKHOLE: Final = 6  # FR_ACT_BLACKHOLE
_PROC: Final = Path("/proc/sys/net")
_NEW_LINK, _DELETE_LINK, _NEW_ROUTE, _DELETE_ROUTE, _NEW_RULE, _DELETE_RULE = 16, 17, 24, 25, 32, 33  # RTM_*


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
        from pyroute2 import IPRoute, NetlinkError  # noqa: PLC0415  a quarter of a second, for commands too

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
        from pyroute2 import IPRoute, NetlinkError  # noqa: PLC0415

        with IPRoute() as ip:
            for family in FAMILIES:
                with suppress(NetlinkError):
                    ip.rule("del", family=family, **self._rule)


NEIGHBOURS: Final = 16_384  # as many as the kernel's maps hold senders
FORWARDING: Final = {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1}


def switches(wan: str) -> dict[str, int]:
    """What stands below /proc/sys/net while the gate does, but for forwarding."""
    return {
        "netfilter/nf_conntrack_tcp_loose": 0,  # a connection we do not know does not come back in its middle
        "netfilter/nf_conntrack_acct": 1,  # bytes
        "netfilter/nf_conntrack_events": 1,  # also of flows begun before we listened
        "netfilter/nf_conntrack_checksum": 1,  # packets that a server would throw away are no packets
        f"ipv4/conf/{wan}/src_valid_mark": 1,  # replies pass rp_filter with the mark that `permit` gives
        "ipv4/icmp_ratelimit": 10,  # ms, each phone: many refusals at once are told
        "ipv6/icmp/ratelimit": 10,
        # Of the whole machine: neighbours that one phone invents shall not cost the others, or the uplink, theirs.
        "ipv4/neigh/default/gc_thresh3": NEIGHBOURS,
        "ipv6/neigh/default/gc_thresh3": NEIGHBOURS,
        f"ipv6/conf/{wan}/accept_ra": 2,  # a router that still learns its own way out, if it did
    }


class Sysctls:
    """Switches of /proc/sys/net that the gate needs, and what they were before, kept in `memory` until `restore`."""

    def __init__(self, memory: Path) -> None:
        self._memory = memory

    def close(self, wan: str) -> None:
        """Everything but forwarding."""
        self._set(switches(wan))

    def open(self) -> None:
        """Forwarding: the last step, when the rules stand."""
        self._set(FORWARDING)

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
                if name.endswith("/gc_thresh3") and int(was) >= value:
                    continue  # at least so many
                if was != str(value):
                    path.write_text(str(value))
            except OSError as error:
                if not path.exists() and (name.startswith("ipv6/") or "/conf/" in name or "/neigh/" in name):
                    continue  # a kernel without IPv6 forwards none; an uplink may not be there yet; not in a namespace
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


def is_own(address: bytes, scope: int) -> bool:
    """Whether an address is this box's, or a broadcast one: only then can a socket be bound to it."""
    six = len(address) == 16
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            if six:
                s.bind((socket.inet_ntop(socket.AF_INET6, address), 0, 0, scope))
            else:
                s.bind((socket.inet_ntop(socket.AF_INET, address), 0))
        except OSError:
            return False
    return True


A_TURN: Final = 64  # notifications read at once


def listen(groups: int) -> socket.socket:
    """Notifications of rtnetlink(7)."""
    source = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    source.bind((0, groups))
    source.setblocking(False)
    return source


def waiting(source: socket.socket) -> Iterator[memoryview | None]:
    """What waits in it, at most a turn's; None where some were lost."""
    for _ in range(A_TURN):
        try:
            yield memoryview(source.recv(1 << 16))
        except BlockingIOError:
            return
        except OSError:
            yield None


class Sides:
    """The two interfaces, which may be renamed, or go and come back with another index.

    With wan "auto" it is whoever has the default route; while nobody has, whoever had it last.
    """

    def __init__(self, lan: str, wan: str) -> None:
        self._lan, self.follows = lan, wan == AUTO
        self.wan = (default_route(lan) or NONE) if self.follows else wan
        self._known = {name: _index_or_0(name) for name in (lan, self.wan)}
        self.had = [self.lan]  # indexes of the phones' side; one that has another name now is closed by them

    def need(self) -> None:
        """Raises BackendError if one is not there; a way to the internet that is to be found may come later."""
        for name in (self._lan,) if self.follows else self._known:
            index(name)

    @property
    def lan(self) -> int:
        """Its index; 0 while there is none."""
        return self._known[self._lan]

    @property
    def complete(self) -> bool:
        return all(self._known.values())

    def is_lan(self, number: int) -> bool:
        """Whether this index is the phones' interface. What is neither, for all we know, may be new."""
        return number == self.lan or (number != self._known[self.wan] and _name_or_none(number) == self._lan)

    def look(self) -> list[str]:
        """What has become of them since the last look, in words."""
        news = []
        wan = self._wanted()
        if wan != self.wan:
            del self._known[self.wan]
            self.wan, self._known[wan] = wan, _index_or_0(wan)
            news.append(f"the way to the internet is {wan} now")
        for name, before in self._known.items():
            now = _index_or_0(name)
            if now == before:
                continue
            self._known[name] = now
            called = _name_or_none(before)
            if not now:
                news.append(f"{name} is called {called} now and closed" if called else f"the interface {name} is gone")
            else:
                news.append(f"the interface {name} is {'another one' if before else 'back'}")
        if self.lan and self.lan not in self.had:
            self.had.append(self.lan)
        return news

    def told(self, datagram: memoryview) -> bool:
        """Whether a notification (LINKS_CHANGED, RULES_CHANGED) is a reason to look."""
        for kind, _, body in messages(datagram):
            if kind in {_NEW_RULE, _DELETE_RULE}:
                return True
            if kind in {_NEW_ROUTE, _DELETE_ROUTE} and self._wanted() != self.wan:
                return True
            if kind in {_NEW_LINK, _DELETE_LINK}:
                number = struct.unpack_from("=BxHi", body)[2]
                if number in self._known.values() or any(_index_or_0(name) != at for name, at in self._known.items()):
                    return True
        return False

    def _wanted(self) -> str:
        return (self.follows and default_route(self._lan)) or self.wan


def _index_or_0(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def _name_or_none(number: int) -> str | None:
    try:
        return socket.if_indextoname(number)
    except OSError:
        return None
