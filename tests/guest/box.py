"""The box in the guest: its access point, its gateway, and what of them can be seen from outside."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from world import LAN, LOGS, RADIO, begin, ip, run, said

from firewall import control

SSID, PASSPHRASE = "consentry guest", "correct horse battery"
HOSTAPD = f"""interface={RADIO}
bridge={LAN}
driver=nl80211
ctrl_interface=/run/hostapd
ssid={SSID}
country_code=DE
hw_mode=g
channel=1
wpa=2
wpa_key_mgmt=WPA-PSK SAE
rsn_pairwise=CCMP
wpa_passphrase={PASSPHRASE}
ieee80211w=1
ap_isolate=1
"""
DNSMASQ = (
    "--conf-file=/dev/null", "--keep-in-foreground", "--port=0", f"--interface={LAN}", "--bind-interfaces", "--user=root",
    "--dhcp-range=10.77.0.100,10.77.0.200,1h", "--dhcp-option=option:dns-server,10.77.0.1", "--dhcp-authoritative",
    "--no-ping", "--dhcp-leasefile=/run/leases", "--enable-ra", "--dhcp-range=fd77::,ra-only,64", "--log-facility=-",
)
RUN, STATE = Path("/run/consentry"), Path("/var/lib/consentry")
RULES = STATE / "rules.toml"


def open_access_point() -> None:
    """hostapd and dnsmasq, by hand."""
    ip(f"link add {LAN} type bridge", f"addr add 10.77.0.1/24 dev {LAN}", f"addr add fd77::1/64 dev {LAN} nodad",
       f"link set {LAN} up")
    Path("/run/hostapd.conf").write_text(HOSTAPD)
    begin("hostapd", "hostapd", "/run/hostapd.conf")
    begin("dnsmasq", "dnsmasq", *DNSMASQ)


def access_point_is_open() -> bool:
    return "AP-ENABLED" in said("hostapd")


def throw_out(mac: str) -> str:
    """hostapd's answer."""
    here = Path(f"/run/ask-{os.getpid()}")
    here.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(here))
        s.settimeout(10)
        s.connect(f"/run/hostapd/{RADIO}")
        s.send(f"DEAUTHENTICATE {mac}".encode())
        return s.recv(4096).decode().strip()


def start_gateway(lan: str = LAN, wan: str = "wan0") -> subprocess.Popen[bytes]:
    return begin("gateway", sys.executable, "-P", "-m", "firewall.cli", "run", "--lan", lan, "--wan", wan, "--headless")


def ask(verb: str, **args: Any) -> Any:
    """One question over the control socket: its items, or what it ended with. Raises Refused, NoGateway."""
    with control.connect(RUN / "gateway.sock") as client:
        reply = client.ask(verb, **args)
    return reply.items or reply.done


def state() -> str:
    with suppress(control.NoGateway, control.Refused):
        return str(ask("status")["state"])
    return ""


def traces() -> dict[str, str]:
    """What a gateway leaves in a kernel, as text."""
    switches = ("ipv4/ip_forward", "ipv6/conf/all/forwarding", "netfilter/nf_conntrack_acct",
                "netfilter/nf_conntrack_tcp_loose", "ipv4/conf/wan0/src_valid_mark", "ipv6/conf/wan0/accept_ra")
    return {
        "ruleset": run("nft", "list", "ruleset"),
        "rules": run("ip", "rule") + run("ip", "-6", "rule"),
        "links": run("ip", "-br", "link"),
        "pinned": run("ip", "neigh", "show", "nud", "permanent"),
        **{name: path.read_text() for name in switches if (path := Path("/proc/sys/net", name)).exists()},
    }


def keep(name: str, text: str) -> None:
    """For whoever looks at the host afterwards."""
    (LOGS / name).write_text(text)
