"""What the gate needs of the kernel: nftables, a way to be asked, and bridges that stay out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from firewall.backends import BackendError
from firewall.backends.linux import offload
from firewall.backends.linux.nftables import Ruleset
from firewall.doctor.finding import FAIL, PASS, WARN, Finding, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from firewall.doctor.world import World

QUEUE: Final = 66  # where the gateway listens (backends/linux/backend.py)
CHECK: Final = ("nft", "-c", "-f", "-")
TABLE: Final = "table inet consentry_probe { chain c { type filter hook forward priority 0; ct state invalid drop; }; }"


def nftables(world: World) -> Iterator[Finding]:
    """Tried, and not guessed from versions: a table that is checked and never loaded."""
    name = "kernel"
    if world.run("nft", "--version") is None:
        yield Finding(name, FAIL, "nft is not installed", "sudo apt-get install nftables")
        return
    if not world.root:
        yield unknown(name)
        return
    tried = world.run(*CHECK, given=TABLE)
    if tried is None or tried.status:
        says = "this kernel has no nftables that knows connections"
        yield Finding(name, FAIL, says, "sudo modprobe nf_tables nft_ct nf_conntrack")
        return
    try:
        kind = Ruleset(world.lan or "lo", world.wan or "lo", QUEUE, ssh=False).kind
    except BackendError as error:
        yield Finding(name, FAIL, str(error), "sudo modprobe nft_queue || sudo modprobe xt_NFQUEUE")
        return
    fast = offload.is_there(lambda text: (done := world.run(*CHECK, given=text)) is not None and not done.status)
    release = world.read("/proc/sys/kernel/osrelease")
    says = f"Linux {release} asks by {kind}; it can{'' if fast else 'not'} take a flow off our hands (flowtable)"
    yield Finding(name, PASS, says)


def bridge(world: World) -> Iterator[Finding]:
    """Frames between ports must not cross the forward chain, and ports must not reach each other."""
    links = world.rows("ip", "-j", "-d", "link", "show")
    lan = next((link for link in links if link.get("ifname") == world.lan), None)
    if lan is None:
        if world.lan:
            yield Finding("lan", FAIL, f"there is no interface {world.lan}", "ip link; sudo consentry setup")
        return
    flags = set(lan.get("flags", ()))
    if "UP" not in flags:
        yield Finding("lan", FAIL, f"{world.lan} is down", f"sudo ip link set {world.lan} up")
    if lan.get("linkinfo", {}).get("info_kind") != "bridge":
        return
    called = [what for what in ("iptables", "ip6tables") if world.sysctl(f"bridge/bridge-nf-call-{what}") == "1"]
    if called:
        says = f"frames between phones cross the firewall's rules as packets ({', '.join(called)}); Docker sets that"
        remedy = " ".join(f"net.bridge.bridge-nf-call-{what}=0" for what in called)
        yield Finding("bridge", WARN, says, f"sudo sysctl {remedy}")
    ports = [link for link in links if link.get("master") == world.lan]
    open_ones = sorted(
        port["ifname"]
        for port in ports
        if not port.get("linkinfo", {}).get("info_slave_data", {}).get("isolated")
    )
    if len(open_ones) > 1 or (open_ones and len(ports) > 1):
        says = f"phones at {', '.join(open_ones)} reach others past the gate"
        remedy = "; ".join(f"sudo bridge link set dev {port} isolated on" for port in open_ones)
        yield Finding("bridge", FAIL, says, remedy)
    elif not called:
        yield Finding("bridge", PASS, f"{world.lan} has {len(ports)} port{'s' * (len(ports) != 1)}, kept from others")
