"""Bulk flows past all chains by a flowtable, where the kernel has it (nft(8); nf_flowtable.rst of the kernel).

Only flows that are allowed for good get there, and what takes that back deletes their entry (conntrack.change). Of
all that stands in gate.nft such a flow meets one thing more: whose name its packets come in (ADR 0007).
"""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING, Final

from firewall.backends.linux import marks

if TYPE_CHECKING:
    from collections.abc import Callable

BULK_BYTES: Final = 65_536  # both ways, with headers: what is shorter is over before it would pay
TAKES_BACK: Final = 6, 4  # Linux; before it (but for later patches) an offloaded flow's entry cannot be deleted: EBUSY
CHAINS: Final = frozenset({"bulk", "sender"})
# Without `counter` conntrack's bytes stand still. The chain before it (priority -10) is `who` once more: the flowtable
# knows flows by addresses and ports, and would carry a neighbour's packets in a phone's name.
TABLE: Final = """
	flowtable bulk {{ hook ingress priority 0; devices = {{ "{lan}", "{wan}" }}; counter; }}

	chain bulk {{
		ct mark & {connection} == {allowed} ct bytes > {bytes} flow add @bulk
	}}

	chain sender {{
		type filter hook ingress device "{lan}" priority -10; policy accept;
		meta mark set ether saddr . ip saddr map @slots4 accept
		meta mark set ether saddr . ip6 saddr map @slots6 accept
		ip saddr @owned4 goto spoofed
		ip6 saddr @owned6 goto spoofed
	}}
"""
_PROBE: Final = """table inet consentry_probe {
	flowtable bulk { hook ingress priority 0; devices = { "lo" }; counter; }
	chain forward { type filter hook forward priority 0; ct bytes > 1 flow add @bulk; }
	chain sender { type filter hook ingress device "lo" priority -10; }
}
"""


def is_there(takes: Callable[[str], bool], release: str = "") -> bool:
    """Whether this kernel can, and can take it back. `takes`: what nft says of a text, without loading it."""
    found = re.match(r"(\d+)\.(\d+)", release or os.uname().release)
    return found is not None and tuple(map(int, found.groups())) >= TAKES_BACK and takes(_PROBE)


def words(lan: str, wan: str, *, possible: bool) -> dict[str, str]:
    """What gate.nft is filled in with. Of an interface that has gone nothing can be carried; the rest has to stand."""
    if not possible or not (_exists(lan) and _exists(wan)):
        return {"bulk": "", "through": "accept"}
    connection, allowed = f"0x{marks.CONNECTION:08x}", f"0x{marks.ALLOWED:08x}"
    text = TABLE.format(lan=lan, wan=wan, connection=connection, allowed=allowed, bytes=BULK_BYTES)
    return {"bulk": text.rstrip("\n"), "through": "goto bulk"}


def _exists(interface: str) -> bool:
    try:
        return socket.if_nametoindex(interface) > 0
    except OSError:
        return False
