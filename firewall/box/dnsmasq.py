"""[pure] What dnsmasq is told (DHCP and router advertisements, no names: port=0), and the leases that it writes."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

from firewall.text import inert

if TYPE_CHECKING:
    from firewall.box.plan import Plan

LEASE_SECONDS: Final = 3600  # a phone that takes many addresses has them no longer
MOST: Final = 1_000  # leases; and of lines that are read
HOST: Final = 64  # characters of a host name that are kept


class Lease(NamedTuple):
    """One address, given to one phone. `host`: what it calls itself, made safe to show; "" if it says nothing."""

    mac: bytes
    addr: bytes
    host: str
    until: float  # epoch seconds; 0: for good


def config(plan: Plan, leases: str) -> str:
    """dnsmasq.conf. It binds to the phones' interface only; its log names no phone."""
    first, last = plan.leased
    lines = [
        "port=0",
        f"interface={plan.lan}",
        "bind-dynamic",  # the interface may come later, and come again
        "except-interface=lo",
        "dhcp-authoritative",
        "dhcp-ignore-clid",  # a lease is its sender's (gate.nft: leases), whatever else the phone calls itself
        f"dhcp-range={first},{last},{plan.subnet4.netmask},{LEASE_SECONDS}s",
        f"dhcp-option=option:router,{plan.address4.ip}",
        f"dhcp-option=option:dns-server,{plan.address4.ip}",
        "enable-ra",
        # no on-link flag: what one phone sends to another comes to the gate
        f"dhcp-range={plan.subnet6.network_address},ra-only,off-link,64,{LEASE_SECONDS}s",
        f"dhcp-option=option6:dns-server,[{plan.address6.ip}]",
        f"dhcp-leasefile={leases}",
        f"dhcp-lease-max={MOST}",
        "no-ping",
        "quiet-dhcp",
        "quiet-dhcp6",
        "quiet-ra",
        "no-resolv",
        "no-hosts",
        "log-facility=-",
        "pid-file=",
        "user=root",  # in a sandbox of its own if systemd starts it; dnsmasq keeps three capabilities
    ]
    return "\n".join(lines) + "\n"


def leases(text: str) -> list[Lease]:
    """The lease file of dnsmasq(8): "epoch mac address host client-id". Other lines are skipped."""
    found = []
    for line in text.splitlines()[:MOST]:
        words = line.split(" ")
        if len(words) != 5:
            continue  # "duid ..." and what follows it is about DHCPv6
        until, mac, addr, host, _ = words
        try:
            sender = bytes.fromhex(mac.replace(":", ""))
            lease = Lease(sender, ip_address(addr).packed, "" if host == "*" else inert(host)[:HOST], float(int(until)))
        except ValueError:
            continue
        if len(sender) == 6:
            found.append(lease)
    return found
