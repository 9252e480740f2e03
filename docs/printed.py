# ruff: noqa: INP001  a script's other half, beside the documents
"""What the pictures of commands show: a Raspberry Pi on its first evening, told by the code that tells it for real."""

from __future__ import annotations

import io
import itertools
import sys
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from firewall.box.choose import Found, Radio  # noqa: E402
from firewall.cli.doctor import shown  # noqa: E402
from firewall.cli.selftest import table  # noqa: E402
from firewall.doctor.finding import Finding  # noqa: E402
from firewall.doctor.rivals import REMEDIES  # noqa: E402
from firewall.selftest.tries import Here, tries  # noqa: E402
from firewall.selftest.verdict import DECIDED, HELD, SEEN, Outcome, Row, judge, refused_at_all  # noqa: E402
from tui.setup import Setup  # noqa: E402

WIDTH: Final = 100
FINDINGS: Final = (
    Finding("gateway", "warn", "ENFORCING since Sat 19:02, consentry0 to eth0, 3 phones; it only watches: all passes "
            "but phone to phone", "sudo consentry phones enforce"),
    Finding("setup", "pass", "ap: consentry0 at wlan0, 192.168.77.0/24; it starts with the machine"),
    Finding("closed", "pass", "what comes from consentry0 has no way out but through the gate"),
    Finding("keeper", "pass", "bridge up, uplink up, hostapd up, dnsmasq up"),
    Finding("kernel", "pass", "Linux 6.12.47+rpt-rpi-v8 asks by nft queue; it can take a flow off our hands "
            "(flowtable)"),
    Finding("queue", "pass", "0 wait, 0 lost, by nft queue"),
    Finding("bridge", "pass", "consentry0 has 1 port, kept from others"),
    Finding("uplink", "pass", "eth0 leads out over IPv4 and IPv6; 192.168.1.1 answers for names"),
    Finding("forwarding", "pass", "on"),
    Finding("rp_filter", "pass", "loose at eth0, with src_valid_mark"),
    Finding("firewalls", "fail", "Docker refuses what is forwarded (ip filter, FORWARD): phones find no internet",
            REMEDIES["Docker"].format(lan="consentry0")),
    Finding("port 53", "pass", "systemd-resolve (pid 412) serves this box only; phones are led to ours at 5300"),
    Finding("port 67", "pass", "our dnsmasq gives addresses"),
    Finding("IPv6 router", "pass", "no other at this side"),
    Finding("radio", "warn", "phy0 can be an access point, with WPA2 only: it does not protect management frames",
            "nothing, if WPA2 will do: sudo consentry setup --security wpa2"),
    Finding("clock", "pass", "21 Nov 2026 19:40, synchronised"),
    Finding("disk", "pass", "21804 MB are left at /var/lib/consentry; the history has 3 of at most 2048 MB"),
)
REFUSED_BY: Final = {
    "dot": "bypass/1", "doh": "bypass/2", "doh-address": "bypass/3", "tls": "xiaomi/2", "http": "xiaomi/2",
    "quic": "xiaomi/2", "doq": "bypass/2", "routed": "baseline/3",
}  # the rules of packs, as one sees them there
FOUND: Final = Found(
    (Radio("wlan0", "brcmfmac", wpa3=False, channels={"2.4": (1, 6, 11), "5": (36, 40, 44, 48)}),),
    wired=("eth0",), uplink="eth0", taken=("192.168.1.0/24",), country="DE", managers=("NetworkManager",),
)


def doctor() -> str:
    return "\n".join(map(shown, FINDINGS))


def selftest() -> str:
    """Of a gate that holds."""
    numbers = itertools.count()
    rows = [Row("control", family, "let through on purpose", SEEN, "was seen leaving by eth0") for family in (4, 6)]
    rows += [Row("ears", family, "the other phone listens", SEEN, "heard this box") for family in (4, 6)]
    for family, size in ((4, 4), (6, 16)):
        here = Here(bytes(size), bytes(size), bytes(size))
        for one in tries(family, here, lambda: b"%016x" % next(numbers)):
            by = REFUSED_BY.get(one.name, "strict/1" if one.name in DECIDED else "")
            rows.append(judge(one, Outcome(answered=True, connected=True, said=True, refused=by)))
    rows.append(refused_at_all(rows))
    told = (
        ("killed", "the gateway killed", "291 tries, nothing left, healed after 1.9 s"),
        ("queue", "its queue rule deleted", "70 tries, nothing left, healed after 0.1 s"),
        ("flushed", "nft delete table inet consentry", "68 tries, nothing left, healed after 0.1 s"),
    )
    rows += [Row(name, 0, title, HELD, says) for name, title, says in told]
    return "\n".join(table(rows))


def drawn(name: str, text: str) -> str:
    """As SVG, like the screens' pictures."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(Text.from_ansi(text))
    return console.export_svg(title=f"consentry {name}")


def wizard() -> Setup:
    return Setup(FOUND, {"country": "DE"})
