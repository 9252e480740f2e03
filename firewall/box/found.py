"""What this box has: radios, wires, the way to the internet, networks in use, and who manages them. Reads only."""

from __future__ import annotations

import re
import subprocess
from contextlib import suppress
from functools import cache
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Final

from firewall.backends.linux.uplink import default_route
from firewall.box import iw
from firewall.box.choose import Found, Radio
from firewall.box.machine import blocked, shown
from firewall.box.plan import BRIDGE

_LINKS: Final = Path("/sys/class/net")
_WIREGUARD: Final = Path("/etc/wireguard")
_MANAGERS: Final = {  # who is at work -> what is there then
    "NetworkManager": "/run/NetworkManager",
    "systemd-networkd": "/run/systemd/netif/links",
    "dhcpcd": "/run/dhcpcd",
}


def look(lan: str = BRIDGE) -> Found:
    """`lan`: our own interface, which is not in its own way."""
    names = sorted(entry.name for entry in _LINKS.iterdir() if entry.name not in {"lo", lan})
    radios = tuple(_radio(name) for name in names if (_LINKS / name / "phy80211").exists())
    return Found(
        radios,
        _wires(lan),
        default_route(lan),
        tuple(sorted({*_routes(lan), *_tunnels()})),
        iw.country(_told("iw", "reg", "get")),
        tuple(name for name, place in _MANAGERS.items() if Path(place).exists()),
        tuple(names),
    )


def _radio(name: str) -> Radio:
    phy = _word(_LINKS / name / "phy80211/name")
    can = iw.abilities(_told("iw", "phy", phy, "info"))
    driver = ""
    with suppress(OSError):
        driver = (_LINKS / name / "device/driver").readlink().name
    joined = iw.joined(_told("iw", "dev", name, "link"))
    return Radio(name, driver, can.access_point, can.wpa3, can.channels, blocked(name), joined)


def serves(name: str) -> bool:
    """Whether a radio's driver knows access points: hostapd itself says no more than "could not"."""
    place = _LINKS / name / "phy80211"
    return _serves(_word(place / "name"), _word(place / "index"))


@cache
def _serves(phy: str, index: str) -> bool:  # noqa: ARG001  another radio has another index
    told = _told("iw", "phy", phy, "info")
    return not told or iw.abilities(told).access_point


def _wires(lan: str) -> tuple[str, ...]:
    """Ethernet interfaces that stand for hardware, or for a cable of a virtual machine or container."""
    return tuple(sorted(
        link["ifname"]
        for link in shown("-d", "link")
        if link.get("link_type") == "ether"
        and link["ifname"] != lan
        and link.get("linkinfo", {}).get("info_kind") in {None, "veth", "vlan", "bond"}
        and not (_LINKS / link["ifname"] / "phy80211").exists()
    ))


def _routes(lan: str) -> list[str]:
    """Every network that this box has a route or an address in, whatever table it is in."""
    found = []
    for family, whole in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
        for route in shown(family, "route", "show", "table", "all"):
            if route.get("dev") == lan or route.get("type") in {"local", "broadcast", "multicast", "anycast"}:
                continue
            with suppress(ValueError):
                network = ip_network(whole if route["dst"] == "default" else route["dst"], strict=False)
                if not (network.is_link_local or network.is_multicast):
                    found.append(str(network))
    for link in shown("addr"):
        if link.get("ifname") not in {"lo", lan}:
            near = [one for one in link.get("addr_info", ()) if one["scope"] == "global"]
            found.extend(str(ip_interface(f"{one['local']}/{one['prefixlen']}").network) for one in near)
    return found


def _tunnels() -> list[str]:
    """Networks of WireGuard tunnels that may be down now."""
    found = []
    with suppress(OSError):
        for file in _WIREGUARD.glob("*.conf"):
            for line in file.read_text(errors="replace").splitlines():
                if re.match(r"\s*(AllowedIPs|Address)\s*=", line, re.IGNORECASE):
                    for word in line.partition("=")[2].split(","):
                        with suppress(ValueError):
                            found.append(str(ip_interface(word.strip()).network))
    return found


def _told(*words: str) -> str:
    """What a program says; "" if it is not there or fails."""
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(words, capture_output=True, text=True, timeout=10, check=False, errors="replace").stdout
    return ""


def _word(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
