"""[pure] The phones' side as words: the commands, switches and rules that make it, and those that take it away.

`consentry setup --dry-run` prints what stands here, and the keeper runs the same: they cannot differ.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from firewall.box.plan import ONE_ARMED

if TYPE_CHECKING:
    from firewall.box.plan import Plan

TABLE: Final = "consentry_box"  # of nftables, in two families
PERMIT: Final = 0x01000000  # marks.PERMIT; tests hold the two together


def mac(plan: Plan) -> str:
    """Always the same, and nobody's: locally administered, from the random part of the plan's own prefix."""
    return "02:" + hashlib.sha256(plan.subnet6.network_address.packed).digest()[:5].hex(":")


def make(plan: Plan) -> list[str]:
    """Lines for `ip -batch`: the interface with its addresses, up."""
    lan = plan.lan
    if plan.mode == ONE_ARMED:
        begin = f"link add link {plan.port} name {lan} address {mac(plan)} type macvlan mode bridge"
    else:
        begin = f"link add name {lan} address {mac(plan)} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
    return [begin, *address(plan)]


def address(plan: Plan) -> list[str]:
    return [
        f"addr add {plan.address4} brd + dev {plan.lan}",
        f"addr add {plan.address6} dev {plan.lan} nodad",
        f"link set {plan.lan} up",
    ]


def plug_in(plan: Plan, port: str) -> list[str]:
    """A wired interface becomes a port: it loses what addresses it had."""
    return [f"link set {port} master {plan.lan}", f"link set {port} up", *isolate(port)]


def isolate(port: str) -> list[str]:
    """Phones reach the gateway, not each other (bridge(8)): what one says of routers or DHCP, no other one hears."""
    return [f"link set {port} type bridge_slave isolated on hairpin off"]


def remove(plan: Plan) -> list[str]:
    return [f"link del {plan.lan}"]


def switches(plan: Plan) -> dict[str, int]:
    """Below /proc/sys/net. Those of `lan` go with it; the others are put back when it is taken away."""
    lan4, lan6 = f"ipv4/conf/{plan.lan}", f"ipv6/conf/{plan.lan}"
    wanted = {
        f"{lan4}/proxy_arp_pvlan": 1,  # who asks for another phone gets the gate
        f"{lan4}/send_redirects": 0,
        f"{lan4}/accept_redirects": 0,
        f"{lan4}/arp_ignore": 1,
        f"{lan6}/accept_ra": 0,  # a phone is no router
        # This box is one, also while it lets nothing through: from who stops to be one, phones take the default route
        # away until the next advertisement (RFC 4861, 7.2.5). Packets need `all/forwarding` too, which is the gate's.
        f"{lan6}/forwarding": 1,
        f"{lan6}/accept_redirects": 0,
    }
    if plan.mode == ONE_ARMED:
        # Both interfaces hear the wire: none answers for the other, or phones would come in by the wrong one.
        return wanted | {f"ipv4/conf/{plan.port}/arp_ignore": 1}
    return wanted | {f"ipv6/conf/{plan.port}/disable_ipv6": 1}


def table(plan: Plan) -> str:
    """Rules that are about frames and neighbours, not about flows (those are the gate's)."""
    return _neighbours(plan) + _only_by_us(plan)


def _neighbours(plan: Plan) -> str:
    return f"""\
table arp {TABLE}
delete table arp {TABLE}
table arp {TABLE} {{
	# The gate's policy rule gives what a phone sends unmarked no route; its question for a neighbour needs one.
	chain neighbours {{
		type filter hook input priority 0; policy accept;
		iifname "{plan.lan}" meta mark set meta mark | 0x{PERMIT:08x}
	}}
}}
"""


def _only_by_us(plan: Plan) -> str:
    """One-armed, a phone that takes the wire's own interface for its gateway gets nothing, instead of everything."""
    if plan.mode != ONE_ARMED:
        return ""
    return f"""\
table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
	chain wire {{
		type filter hook prerouting priority -350; policy accept;
		iifname "{plan.port}" ip saddr {plan.subnet4} drop
		iifname "{plan.port}" ip6 saddr {plan.subnet6} drop
	}}
}}
"""


def no_table() -> str:
    return "".join(f"table {family} {TABLE}\ndelete table {family} {TABLE}\n" for family in ("arp", "inet"))
