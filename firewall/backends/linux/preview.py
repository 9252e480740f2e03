"""The gate's rules as text, for whoever wants to read them before they stand."""

from __future__ import annotations

from firewall.backends.linux.links import FORWARDING, switches
from firewall.backends.linux.marks import PERMIT
from firewall.backends.linux.nftables import QUEUE, Held, Ruleset
from firewall.commands import KernelState
from firewall.spaces import Space


def preview(lan: str, wan: str, *, ssh: bool) -> str:
    """What would stand between two interfaces, before any policy is in it. Raises OSError without root, BackendError.

    In a namespace of its own: finding out what the kernel can leaves traces (xtables' tables).
    """
    with Space() as space, space.inside():
        rules = Ruleset(lan, wan, QUEUE, ssh=ssh)
        text = rules.render(KernelState(1, False, (), (), False), Held(), masquerade6=True)
        xtables = rules.xtables()
    policy = [f"ip {family}rule add pref 0 iif {lan} fwmark 0/0x{PERMIT:08x} blackhole" for family in ("", "-6 ")]
    below = [f"{name} = {value}" for name, value in (switches(wan) | FORWARDING).items()]
    heads = "\n# /proc/sys/net, forwarding last of all", "\n# nft, before any policy"
    return "\n".join([*policy, *xtables, heads[0], *below, heads[1], text])
