"""[pure] What hostapd is told: its configuration file; and what it says: events and stations of its control socket."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from firewall.box.plan import Plan, Wifi

_KEYS: Final = {  # security -> key management, management frame protection (0 no, 1 if both can, 2 always)
    "wpa2": ("WPA-PSK", 1),
    "wpa3-transition": ("WPA-PSK SAE", 1),
    "wpa3": ("SAE", 2),
}
_MAC: Final = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")


class Station(NamedTuple):
    """A phone that is joined to the access point."""

    mac: bytes
    signal: int | None  # dBm; None where the driver does not say


def config(plan: Plan, control: str) -> str:
    """hostapd.conf(5). `control`: directory of its control socket. Phones are kept from each other by the radio too."""
    wifi = plan.wifi
    assert wifi is not None
    lines = [
        f"interface={plan.port}",
        f"bridge={plan.lan}",
        "driver=nl80211",
        f"ctrl_interface={control}",
        _ssid(wifi.ssid),
        "utf8_ssid=1",
        f"country_code={wifi.country}",
        "ieee80211d=1",
        *_radio(wifi),
        *_keys(wifi),
        "ap_isolate=1",  # phone to phone only through the gate
        "disassoc_low_ack=1",
        "logger_syslog=0",
        "logger_stdout=-1",
        "logger_stdout_level=2",
    ]
    return "\n".join(lines) + "\n"


def _ssid(ssid: str) -> str:
    """As it is where that is safe in a line of this file, else in hexadecimal."""
    plain = ssid.isascii() and ssid == ssid.strip() and not ssid.startswith("#")
    return f"ssid={ssid}" if plain else f"ssid2={ssid.encode().hex()}"


def _radio(wifi: Wifi) -> list[str]:
    mode = "g" if wifi.band == "2.4" else "a"
    lines = [f"hw_mode={mode}", f"channel={wifi.channel}", "ieee80211n=1", "wmm_enabled=1"]
    if wifi.band == "5":
        lines += ["ieee80211ac=1", "ieee80211h=1"]  # h: radar detection where the law wants it
    return lines


def _keys(wifi: Wifi) -> list[str]:
    keys, protection = _KEYS[wifi.security]
    lines = ["auth_algs=1", "wpa=2", f"wpa_key_mgmt={keys}", "rsn_pairwise=CCMP", f"ieee80211w={protection}"]
    lines += [f"wpa_passphrase={wifi.passphrase}", "wpa_disable_eapol_key_retries=1"]
    if "SAE" in keys:
        lines += ["sae_require_mfp=1", "sae_pwe=2"]
    return lines


def joined(line: str) -> bytes | None:
    """The MAC in an AP-STA-CONNECTED event, with or without its level ("<3>")."""
    return _mac_after("AP-STA-CONNECTED ", line)


def left(line: str) -> bytes | None:
    return _mac_after("AP-STA-DISCONNECTED ", line)


def _mac_after(word: str, line: str) -> bytes | None:
    at = line.find(word)
    found = _MAC.match(line, at + len(word)) if at >= 0 else None
    return bytes.fromhex(found[0].replace(":", "")) if found else None


def station(answer: str) -> Station | None:
    """One answer to STA-FIRST or STA-NEXT; None: there is no more, or it is not authorised yet."""
    lines = answer.splitlines()
    if not lines or not _MAC.fullmatch(lines[0]) or not any("[AUTHORIZED]" in line for line in lines):
        return None
    return Station(bytes.fromhex(lines[0].replace(":", "")), signal(lines))


def signal(lines: Iterable[str]) -> int | None:
    found = (re.fullmatch(r"signal=(-?\d{1,3})", line) for line in lines)
    return next((int(match[1]) for match in found if match), None)


def qr_text(wifi: Wifi) -> str:
    """What a phone's camera reads to join. WPA means a passphrase, also for SAE (WPA3 specification, 7)."""
    def escaped(text: str) -> str:
        return re.sub(r'([\\;,":])', r"\\\1", text)
    return f"WIFI:T:WPA;S:{escaped(wifi.ssid)};P:{escaped(wifi.passphrase)};;"
