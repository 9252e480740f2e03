"""The phones' side of this box, and how one more phone is plugged into it: a bridge, a macvlan, or a bare wire.

A macvlan on a wire cannot reach the wire's own box (ip-link(8)). So onto a bare wire (also a radio that somebody else's
hostapd runs) packets are put by tc-mirred(8): what the probe sends is received there, what is sent to it comes here.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_interface
from typing import TYPE_CHECKING, Any, Final

from firewall.backends import BackendError
from firewall.backends.linux import marks
from firewall.backends.linux.nftables import run

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

PORT: Final = "cst"  # how the names of our ports begin
CARD: Final = "eth0"  # what the probe calls its own end
BRIDGE, MACVLAN, WIRE = "bridge", "macvlan", "wire"
PREFERENCES: Final = range(51_966, 51_972)  # of our filters on a bare wire: three for each probe
Command = tuple[str, ...]


class SelfTestError(Exception):
    """Why it cannot be told whether the gate is real; the text is for a person."""


@dataclass(frozen=True, slots=True)
class Side:
    """The phones' interface as a phone finds it."""

    name: str
    kind: str
    mac: bytes
    parent: str  # of a macvlan: the wire it is on
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
        info = lan.get("linkinfo", {})
        mode = info.get("info_data", {}).get("mode")
        kind = BRIDGE if info.get("info_kind") == BRIDGE else MACVLAN if mode == "bridge" else WIRE
        if lan.get("link_type") != "ether":
            remedy = "`consentry setup` makes a side that one can be"
            raise SelfTestError(f"{name} carries no Ethernet frames, so no probe can be plugged in: {remedy}")
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
        isolated = all(port.get("isolated") for port in ports.values())  # as the others; alone: as setup makes them
        mac, inside = bytes.fromhex(lan["address"].replace(":", "")), frozenset((name, "lo", *ports))
        return cls(name, kind, mac, str(lan.get("link", "")), own4, own6, isolated, inside)

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

    def leads_out(self, src: str, dst: str) -> bool:
        """Whether the kernel has a way for what such a phone sends there, or this box: in whichever table (VPNs)."""
        passed = ("from", src, "iif", self.name, "mark", hex(marks.PERMIT))
        return any(run("ip", "route", "get", dst, *more).returncode == 0 for more in (passed, ()))

    # -- plugging in -------------------------------------------------------------------------------------------------

    def plug_in(self, port: str, mac: bytes, there: str) -> list[Command]:
        """A card with that MAC in the namespace `there` (a path), connected as a phone's would be.

        Returns what takes it out again, last first. Raises SelfTestError, and has taken it out then.
        """
        undo: list[Command] = []
        try:
            for words, back in self._steps(port, mac.hex(":"), there):
                do(*words)
                if back:
                    undo.insert(0, back)
        except SelfTestError:
            for words in undo:
                run(*words)
            raise
        return undo

    def _steps(self, port: str, mac: str, there: str) -> Iterator[tuple[Command, Command]]:
        """What is done, each with what undoes it."""
        card, gone = ("peer", "name", CARD, "address", mac, "netns", there), ("ip", "link", "del", port)
        add, change = ("ip", "link", "add", port), ("ip", "link", "set", port)
        if self.kind == MACVLAN:
            yield (*add, "link", self.parent, "address", mac, "type", "macvlan", "mode", "bridge"), gone
            yield (*change, "netns", there, "name", CARD), ()
        elif self.kind == BRIDGE:
            last = f"fe{mac[2:]}"  # a bridge that nobody gave a MAC takes the first of its ports': not this one
            yield (*add, "address", last, "type", "veth", *card), gone
            yield (*change, "master", self.name, "up"), ()
            yield (*change, "type", "bridge_slave", "isolated", "on" if self.isolated else "off"), ()
        else:
            # With the wire's own MAC: what the probe sends there is for this box already when it is received here.
            yield (*add, "address", self.mac.hex(":"), "type", "veth", *card), gone
            yield (*change, "up"), ()
            yield from self._splice(port, mac)

    def _splice(self, port: str, mac: str) -> Iterator[tuple[Command, Command]]:
        every, act = ("protocol", "all", "u32", "match"), ("action", "mirred")
        back = (*act, "ingress", "redirect", "dev", self.name)
        yield ("tc", "qdisc", "add", "dev", port, "ingress"), ()
        yield ("tc", "filter", "add", "dev", port, "parent", "ffff:", *every, "u32", "0", "0", *back), ()
        if "clsact" not in do("tc", "qdisc", "show", "dev", self.name):
            yield ("tc", "qdisc", "add", "dev", self.name, "clsact"), ("tc", "qdisc", "del", "dev", self.name, "clsact")
        its = ("dev", self.name, "egress", "pref")
        used = do("tc", "filter", "show", "dev", self.name, "egress").split()
        free = (str(number) for number in PREFERENCES if str(number) not in used)
        for match, what, then in (  # what is mirrored goes on to the wire, and to the other probe
            (("ether", "dst", mac), "redirect", ()), (("ether", "dst", "ff:ff:ff:ff:ff:ff"), "mirror", ("continue",)),
            (("u16", "0x3333", "0xffff", "at", "-14"), "mirror", ("continue",)),  # IPv6's way to ask for neighbours
        ):
            number = next(free)
            words = ("tc", "filter", "add", *its, number, *every, *match, *act, "egress", what, "dev", port, *then)
            yield words, ("tc", "filter", "del", *its, number)

    def clean(self) -> None:
        """Take out what a test that was killed has left on a bare wire; elsewhere nothing stays."""
        if self.kind == WIRE:
            for number in PREFERENCES:
                run("tc", "filter", "del", "dev", self.name, "egress", "pref", str(number))


def do(*words: str) -> str:
    """Run it. Raises SelfTestError with what it says."""
    try:
        done = run(*words)
    except BackendError as error:
        raise SelfTestError(str(error)) from None
    if done.returncode:
        raise SelfTestError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def told(*words: str) -> list[dict[str, Any]]:
    """What ip(8) tells as JSON."""
    rows: list[dict[str, Any]] = json.loads(do("ip", "-j", *words) or "[]")
    return [row for row in rows if row]
