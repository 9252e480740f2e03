"""Putting a topology into the kernel, and taking it out again without a trace.

A namespace is ours, and may be removed, only if its directory in /etc/netns (ip-netns(8)) carries our mark. The mark
is written before the namespace is made and removed after it is gone, so that removal finds everything whatever died
in between.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pyroute2 import IPRoute, netns

from firewall.lab.topology import (
    GATEWAY4,
    GATEWAY6,
    HOST_IF,
    INTERNET4,
    INTERNET6,
    LAN4,
    LAN6,
    LAN_IF,
    OUTER_IF,
    RESOLVERS,
    ROUTER4,
    ROUTER6,
    UPLINK4,
    UPLINK6,
    UPLINK_IF,
    WAN_IF,
    LabError,
)
from firewall.spaces import inside

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Interface, IPv6Interface

    from firewall.lab.topology import Phone, Topology

ETC: Final = Path("/etc/netns")
NETNS: Final = Path("/run/netns")
MARK: Final = "# made by consentry for its lab "
PATIENCE: Final = 10.0  # seconds until an interface that was made is there
LOOPBACK: Final = 1  # its index in every namespace
SCOPE_HOST: Final = 254
NTF_MASTER, NUD_NOARP = 0x04, 0x40  # linux/neighbour.h: an entry of the bridge that does not age
KILL_SECONDS: Final = 5.0


def build(topology: Topology, *, locked: bool = True) -> None:
    """Make every namespace, link, address and route. Raises LabError if a name is taken by somebody else.

    `locked`: each bridge port lets only its own phone's MAC in, as an access point knows its stations; else the phones
    share one wire, on which a clone cannot be told.
    """
    for namespace in topology.namespaces:
        if (NETNS / namespace).exists() or any(file.stat().st_size for file in _entries(ETC / namespace)):
            raise LabError(f"a namespace {namespace} exists already and is not ours: choose another CONSENTRY_LAB")
    for namespace, resolvers in _resolvers(topology).items():
        _claim(topology, namespace, resolvers)
        netns.create(namespace)
        # Without this the first seconds lose packets: a link-local address is unusable while it looks for duplicates.
        _sysctl(namespace, **{"net/ipv6/conf/default/accept_dad": 0})
    _build_gateway(topology, locked=locked)
    for phone in topology.phones:
        with IPRoute(netns=topology.namespace(phone.name)) as ip:
            _up(ip, HOST_IF, phone.ipv4, phone.ipv6)
            _default(ip, LAN4, LAN6)
    _build_router(topology)
    _build_internet(topology)


def remove(topology: Topology) -> None:
    """Take everything out that `build` made, and every process in it. Idempotent; touches nothing without our mark."""
    ours = [entry.name for entry in _entries(ETC) if topology.owns(entry.name) and _marked(topology, entry)]
    _kill_inside(ours)
    for namespace in ours:
        with suppress(FileNotFoundError):
            netns.remove(namespace)
        shutil.rmtree(ETC / namespace)
    with suppress(OSError):  # others' namespaces keep it
        ETC.rmdir()


def standing(topology: Topology) -> bool:
    """Whether anything of this lab is in the kernel."""
    return any(topology.owns(entry.name) and _marked(topology, ETC / entry.name) for entry in _entries(NETNS))


# -- building ----------------------------------------------------------------------------------------------------------


def _resolvers(topology: Topology) -> dict[str, tuple[str, ...]]:
    """Whom each namespace asks for names: a phone its gateway, everyone else the internet."""
    phones = {topology.namespace(phone.name) for phone in topology.phones}
    lan = (str(LAN4.ip), str(LAN6.ip))
    return {namespace: lan if namespace in phones else RESOLVERS for namespace in topology.namespaces}


def _claim(topology: Topology, namespace: str, resolvers: Iterable[str]) -> None:
    """Mark as ours, and give its programs a name resolution of their own (`ip netns exec` mounts these over /etc)."""
    directory = ETC / namespace
    directory.mkdir(parents=True, exist_ok=True)
    lines = [MARK + topology.name, *(f"nameserver {address}" for address in resolvers)]
    (directory / "resolv.conf").write_text("\n".join(lines) + "\n")
    (directory / "nsswitch.conf").write_text("hosts: files dns\n")  # else the host's resolver answers behind our back


def _build_gateway(topology: Topology, *, locked: bool) -> None:
    gateway = topology.namespace("gateway")
    with IPRoute(netns=gateway) as ip:
        ip.link("add", ifname=LAN_IF, kind="bridge", address="02:00:00:00:00:01")
        _up(ip, LAN_IF, LAN4, LAN6)
        for phone in topology.phones:
            _plug_in(ip, topology, phone, locked=locked)
        _cable(ip, WAN_IF, topology.namespace("router"), OUTER_IF)
        _up(ip, WAN_IF, GATEWAY4, GATEWAY6)
        _default(ip, ROUTER4, ROUTER6)
    # Frames between bridge ports are no packets of ours; with these on they would cross the forward chain.
    _sysctl(gateway, **{f"net/bridge/bridge-nf-call-{what}": 0 for what in ("iptables", "ip6tables", "arptables")})
    # Inherited from the host, which may forward. Whoever runs the gate switches it on, last.
    _sysctl(gateway, **{"net/ipv4/ip_forward": 0, "net/ipv6/conf/all/forwarding": 0})


def _plug_in(ip: IPRoute, topology: Topology, phone: Phone, *, locked: bool) -> None:
    _cable(ip, phone.port, topology.namespace(phone.name), HOST_IF, phone.mac)
    port = _index(ip, phone.port)
    ip.link("set", index=port, master=_index(ip, LAN_IF), state="up")
    ip.brport("set", index=port, isolated=1)  # phones reach the gateway, not each other
    if locked:
        ip.fdb("add", ifindex=port, lladdr=phone.mac, flags=NTF_MASTER, state=NUD_NOARP)
        ip.brport("set", index=port, learning=0, locked=1)


def _build_router(topology: Topology) -> None:
    router = topology.namespace("router")
    with IPRoute(netns=router) as ip:
        _up(ip, OUTER_IF, ROUTER4, ROUTER6)
        _cable(ip, UPLINK_IF, topology.namespace("internet"), HOST_IF)
        _up(ip, UPLINK_IF, UPLINK4, UPLINK6)
        _default(ip, INTERNET4, INTERNET6)
        _back_to_the_phones(ip, GATEWAY4, GATEWAY6)
    _sysctl(router, **{"net/ipv4/ip_forward": 1, "net/ipv6/conf/all/forwarding": 1})


def _build_internet(topology: Topology) -> None:
    internet = topology.namespace("internet")
    with IPRoute(netns=internet) as ip:
        _up(ip, HOST_IF, INTERNET4, INTERNET6)
        ip.route("add", dst=str(GATEWAY4.network), gateway=str(UPLINK4.ip))
        ip.route("add", dst=str(GATEWAY6.network), gateway=str(UPLINK6.ip))
        _back_to_the_phones(ip, UPLINK4, UPLINK6)
        # Every other address is this host (AnyIP).
        ip.route("add", dst="0.0.0.0/0", type="local", scope=SCOPE_HOST, oif=LOOPBACK)
        ip.route("add", dst="::/0", type="local", oif=LOOPBACK)
        for address in RESOLVERS:
            ip.addr("add", index=LOOPBACK, address=address, prefixlen=128 if ":" in address else 32)
    _sysctl(internet, **{"net/ipv4/tcp_max_syn_backlog": 8192})


def _back_to_the_phones(ip: IPRoute, via4: IPv4Interface, via6: IPv6Interface) -> None:
    """IPv6 is routed. For IPv4 this is stricter than a real internet: a packet that got out without NAT is answered
    too, so that whoever watches the sinks sees the whole leak and not only its first packet.
    """
    ip.route("add", dst=str(LAN4.network), gateway=str(via4.ip))
    ip.route("add", dst=str(LAN6.network), gateway=str(via6.ip))


def _cable(ip: IPRoute, near: str, far_namespace: str, far: str, far_mac: str | None = None) -> None:
    peer = {"ifname": far, "net_ns_fd": far_namespace} | ({"address": far_mac} if far_mac else {})
    ip.link("add", ifname=near, kind="veth", peer=peer)


def _up(ip: IPRoute, ifname: str, ipv4: IPv4Interface, ipv6: IPv6Interface) -> None:
    index = _index(ip, ifname)
    ip.link("set", index=LOOPBACK, state="up")
    ip.link("set", index=index, state="up")
    ip.addr("add", index=index, address=str(ipv4.ip), prefixlen=ipv4.network.prefixlen)
    ip.addr("add", index=index, address=str(ipv6.ip), prefixlen=ipv6.network.prefixlen)


def _default(ip: IPRoute, via4: IPv4Interface, via6: IPv6Interface) -> None:
    ip.route("add", dst="0.0.0.0/0", gateway=str(via4.ip))
    ip.route("add", dst="::/0", gateway=str(via6.ip))


def _index(ip: IPRoute, ifname: str) -> int:
    """Its number. On a busy machine the kernel's word about what was just made may take a moment."""
    until = time.monotonic() + PATIENCE
    while not (found := ip.link_lookup(ifname=ifname)):
        if time.monotonic() > until:
            raise LabError(f"{ifname} has not come within {PATIENCE:.0f} s")
        time.sleep(0.01)
    index: int = found[0]
    return index


def _sysctl(namespace: str, **values: int) -> None:
    """Those that this kernel has not (no br_netfilter: nothing to switch off) are passed over."""
    with inside(namespace):
        for key, value in values.items():
            with suppress(FileNotFoundError):
                Path("/proc/sys", key).write_text(str(value))


# -- removing ----------------------------------------------------------------------------------------------------------


def _entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _marked(topology: Topology, directory: Path) -> bool:
    try:
        return (directory / "resolv.conf").read_text().splitlines()[0] == MARK + topology.name
    except (OSError, IndexError):
        return False


def _kill_inside(namespaces: Iterable[str]) -> None:
    """End every process that lives in one of these namespaces, until there is none: a supervisor may start another."""
    nodes = set()
    for namespace in namespaces:
        with suppress(FileNotFoundError):
            stat = (NETNS / namespace).stat()
            nodes.add((stat.st_dev, stat.st_ino))
    until = time.monotonic() + KILL_SECONDS
    while pids := _processes_in(nodes):
        if time.monotonic() > until:
            raise LabError(f"processes {pids} do not die")
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _processes_in(nodes: set[tuple[int, int]]) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):  # it ended while we looked, or is a zombie and lives nowhere
                stat = (entry / "ns/net").stat()
                if (stat.st_dev, stat.st_ino) in nodes:
                    found.append(int(entry.name))
    return found
