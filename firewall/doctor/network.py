"""The ways of packets here: forwarding, source checks, who answers names, who gives addresses, who else routes."""

from __future__ import annotations

import json
import re
import select
import socket
import struct
import time
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from firewall.doctor.finding import FAIL, PASS, WARN, Finding, unknown
from firewall.selftest import hellos
from firewall.settings import DNS_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from firewall.doctor.world import World

LISTEN_SECONDS: Final = 1.0  # routers answer a solicitation within half a second (RFC 4861, 6.2.6)
ANSWER_SECONDS: Final = 2.0  # for a resolver
MOST_RESOLVERS: Final = 4
SOLICITATION, ADVERTISEMENT = 133, 134  # RFC 4861, 4
ALL_ROUTERS: Final = "ff02::2"
ICMP6_FILTER: Final = 1  # linux/icmpv6.h
_HOLDER: Final = re.compile(r'\("([^"]+)",pid=(\d+)')


class Holder(NamedTuple):
    """Who has a port; `program` is "" where only root may know."""

    addr: str
    device: str
    program: str
    pid: int

    def __str__(self) -> str:
        return f"{self.program} (pid {self.pid})" if self.program else "a program of somebody else's"


def holders(world: World, port: int, *, udp_only: bool = False) -> list[Holder]:
    """Who listens at a port of this box, by ss(8)."""
    done = world.run("ss", "-Hlnup" if udp_only else "-Hlntup", f"sport = :{port}")
    found = []
    for line in (done.out if done else "").splitlines():
        words = line.split()
        local = next((word for word in words if word.endswith(f":{port}")), "")
        addr, _, device = local.rpartition(":")[0].strip("[]").partition("%")
        who = _HOLDER.search(line)
        found.append(Holder(addr.strip("[]"), device.strip("]"), who[1] if who else "", int(who[2]) if who else 0))
    return found


def uplink(world: World) -> Iterator[Finding]:
    """The way out, and the resolvers that true answers come from: without either phones say "no internet"."""
    name, wan = "uplink", world.wan
    if not world.lan:
        return
    if not wan:
        says = "nobody has a default route: nothing of the phones' has a way out"
        yield Finding(name, FAIL, says, "ip route; plug the cable in, or see what its network manager says")
        return
    link = next((row for row in world.rows("ip", "-j", "link", "show") if row.get("ifname") == wan), None)
    if link is None:
        yield Finding(name, FAIL, f"there is no interface {wan}", "ip link; sudo consentry setup")
        return
    routes = [family for family in (4, 6) if world.rows("ip", "-j", f"-{family}", "route", "show", "default")]
    if not routes:
        yield Finding(name, FAIL, f"there is no default route by {wan}", f"ip route; is the cable of {wan} in?")
        return
    asked = world.settings.upstream_addresses() if world.settings else ()
    answering = asked_for_names(asked, ANSWER_SECONDS)
    ways = " and ".join(f"IPv{family}" for family in routes)
    if asked and not answering:
        silent = ", ".join(addr for addr, _ in asked)
        says = f"{wan} leads out over {ways}, but no resolver answers there ({silent}): phones find no names"
        another = "`nameserver 9.9.9.9` in /etc/resolv.conf, which the gate follows"
        if world.settings and world.settings.upstreams:
            another = "sudo consentry run --upstream 9.9.9.9"
        yield Finding(name, FAIL, says, f"ping -c1 {asked[0][0]}; another resolver: {another}")
    else:
        answers = f"; {', '.join(answering)} answers for names" if asked else ""
        yield Finding(name, PASS, f"{wan} leads out over {ways}{answers}")


def asked_for_names(resolvers: Sequence[tuple[str, int]], seconds: float) -> list[str]:
    """Those that answer a question within so long."""
    open_ones = {}
    for number, (addr, port) in enumerate(resolvers[:MOST_RESOLVERS]):
        s = socket.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            s.connect((addr, port))
            s.send(hellos.question("example.com", hellos.A, 0x1001 + number))
            open_ones[s] = addr
        except OSError:
            s.close()
    found = []
    until = time.monotonic() + seconds
    while open_ones and (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select(list(open_ones), [], [], left)
        for s in ready:
            addr = open_ones.pop(s)
            with s, suppress(OSError):
                if s.recv(4_096):
                    found.append(addr)
        if found:
            break
    for s in open_ones:
        s.close()
    return found


def forwarding(world: World) -> Iterator[Finding]:
    name = "forwarding"
    off = [
        f"IPv{family}"
        for family, switch in ((4, "ipv4/ip_forward"), (6, "ipv6/conf/all/forwarding"))
        if world.sysctl(switch) == "0"
    ]
    if world.status is None:
        yield Finding(name, PASS, "switched on by the gate, last of all" if off else "on")
    elif off:
        remedy = "sudo sysctl net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; another program switched it off"
        yield Finding(name, FAIL, f"off for {' and '.join(off)}: nothing of the phones' gets out", remedy)
    else:
        yield Finding(name, PASS, "on")


def reverse_path(world: World) -> Iterator[Finding]:
    """With rp_filter, replies are dropped unless the reverse look-up sees our mark (ip-sysctl: the larger of two)."""
    name, wan = "rp_filter", world.wan
    if not wan:
        return
    checks, marked = (
        max(int(world.sysctl(f"ipv4/conf/{where}/{switch}") or 0) for where in ("all", wan))
        for switch in ("rp_filter", "src_valid_mark")
    )
    kind = ("off", "strict", "loose")[min(checks, 2)]
    if world.status is None:
        yield Finding(name, PASS, f"{kind} at {wan}; the gate sets src_valid_mark when it starts")
    elif checks and not marked:
        says = f"{kind} at {wan} without src_valid_mark: replies to phones are dropped"
        yield Finding(name, FAIL, says, f"sudo sysctl net.ipv4.conf.{wan}.src_valid_mark=1")
    else:
        yield Finding(name, PASS, f"{kind} at {wan}" + (", with src_valid_mark" if checks else ""))


def names(world: World) -> Iterator[Finding]:
    """Port 53 may be anybody's, for phones are led to ours; that one must be ours."""
    gateway = (world.status or {}).get("pid")
    strangers = sorted({str(one) for one in holders(world, DNS_PORT) if one.pid != gateway})
    if world.status is None and strangers:
        says = f"port {DNS_PORT}, where our resolver listens, belongs to {', '.join(strangers)}"
        yield Finding("port 53", FAIL, says, "end that program, or move it to another port")
        return
    if world.status and world.root and not any(one.pid == gateway for one in holders(world, DNS_PORT)):
        says = f"our resolver does not listen at {DNS_PORT}: phones find no names"
        yield Finding("port 53", FAIL, says, "sudo consentry status")
        return
    reachable = sorted({str(one) for one in holders(world, 53) if not _loopback(one.addr)})
    local = sorted({str(one) for one in holders(world, 53) if _loopback(one.addr)})
    if reachable:
        says = f"{', '.join(reachable)} answers names here as well; phones are led to ours while the gate stands"
        yield Finding("port 53", WARN, says, "nothing, unless it is there for the phones: then switch its DNS off")
    elif local:
        yield Finding("port 53", PASS, f"{', '.join(local)} serves this box only; phones are led to ours at {DNS_PORT}")
    else:
        yield Finding("port 53", PASS, f"free; phones are led to ours at {DNS_PORT}")


def _loopback(addr: str) -> bool:
    try:
        return ip_address(addr).is_loopback
    except ValueError:  # * and the like
        return False


def leases(world: World) -> Iterator[Finding]:
    """Who gives the phones addresses: one, and on a box that was set up it is ours."""
    name = "port 67"
    found = holders(world, 67, udp_only=True)
    wanted = bool(world.plan) and world.plan.get("mode") != "one-armed"
    try:
        ours = json.loads(world.read(world.run_dir / "children.json") or "{}").get("dnsmasq", {}).get("pid")
    except (ValueError, AttributeError):
        ours = None
    others = sorted({str(one) for one in found if one.pid != ours or not ours})
    if wanted and others and not world.root:
        yield unknown(name)
    elif wanted and others:
        remedy = "sudo systemctl disable --now dnsmasq isc-dhcp-server; NetworkManager: not `shared` for this interface"
        yield Finding(name, FAIL, f"{', '.join(others)} gives addresses here, in our place", remedy)
    elif wanted and not found:
        yield Finding(name, FAIL, "nobody gives the phones addresses", "sudo consentry run; see also dnsmasq above")
    elif found:
        yield Finding(name, PASS, f"{'our dnsmasq' if not others else ', '.join(others)} gives addresses")
    else:
        yield Finding(name, PASS, "nobody on this box gives addresses: it was not set up to")


def advertisements(world: World) -> Iterator[Finding]:
    """Routers that the phones hear beside us, and whether this box would believe one of them."""
    name, lan = "IPv6 router", world.lan
    if not lan:
        return
    if world.sysctl(f"ipv6/conf/{lan}/disable_ipv6") != "0":
        yield Finding(name, PASS, f"no IPv6 at {lan}")
        return
    if world.sysctl(f"ipv6/conf/{lan}/accept_ra") == "2":
        says = f"this box believes routers at {lan}: a phone could become its way out"
        yield Finding(name, WARN, says, f"sudo sysctl net.ipv6.conf.{lan}.accept_ra=0")
    if not world.root:
        yield unknown(name)
        return
    mine = {row["local"] for link in world.rows("ip", "-j", "-6", "addr") for row in link.get("addr_info", ())}
    try:
        rogues = sorted(set(heard(lan, LISTEN_SECONDS)) - mine)
    except OSError as error:
        yield Finding(name, WARN, f"cannot be listened for at {lan}: {error.strerror}", f"ip -6 addr show dev {lan}")
        return
    if rogues:
        says = f"{', '.join(rogues)} advertises itself at {lan}: phones may go around the gate"
        yield Finding(name, FAIL, says, "switch that router's advertisements off, or take it off this network")
        return
    addresses = [one for one in _addresses(world.rows("ip", "-j", "addr", "show", "dev", lan)) if not one.is_link_local]
    if not any(one.version == 4 for one in addresses):
        remedy = "sudo consentry setup; or by hand: sudo ip addr add 192.168.77.1/24"
        yield Finding("lan", FAIL, f"{lan} has no IPv4 address: phones cannot reach the gate", f"{remedy} dev {lan}")
    six = any(one.version == 6 for one in addresses)
    yield Finding(name, PASS, "no other at this side" + ("" if six else "; phones have IPv4 only"))


def _addresses(links: list[dict[str, Any]]) -> list[IPv4Address | IPv6Address]:
    return [ip_address(row["local"]) for link in links for row in link.get("addr_info", ()) if "local" in row]


def heard(interface: str, seconds: float) -> Iterator[str]:
    """Link-local addresses of the routers that answer a solicitation within so long. Raises OSError."""
    index = socket.if_nametoindex(interface)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as s:
        only = [0xFFFFFFFF] * 8
        only[ADVERTISEMENT >> 5] &= ~(1 << (ADVERTISEMENT & 31))  # a bit that is set is a type that is not passed on
        s.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("8I", *only))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        s.sendto(struct.pack("!BBHI", SOLICITATION, 0, 0, 0), (ALL_ROUTERS, 0, 0, index))
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and select.select([s], [], [], left)[0]:
            yield s.recvfrom(1_500)[1][0].partition("%")[0]
