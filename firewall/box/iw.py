"""[pure] What iw(8) says of a radio: whether it can be an access point, with WPA3, on which channels."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_MODES: Final = re.compile(r"Supported interface modes:\n((?:[ \t]+\* .*\n)+)")
_FREQUENCY: Final = re.compile(r"\* (\d+)(?:\.\d+)? MHz \[(\d+)\](.*)")
_COUNTRY: Final = re.compile(r"^country ([A-Z]{2}):", re.MULTILINE)
_UNUSABLE: Final = ("disabled", "no IR", "radar detection")


class Abilities(NamedTuple):
    """Channels are those on which an access point may begin at once: allowed, and no radar to listen for."""

    access_point: bool
    wpa3: bool  # management frames can be protected (802.11w), which WPA3 requires
    channels: dict[str, tuple[int, ...]]  # band in GHz -> channels


def abilities(told: str) -> Abilities:
    """From `iw phy PHY info`."""
    modes = _MODES.search(told)
    words = re.findall(r"\* (.+)", modes[1]) if modes else []
    channels: dict[str, list[int]] = {"2.4": [], "5": []}
    for mhz, channel, more in _FREQUENCY.findall(told):
        band = "2.4" if mhz.startswith("24") else "5" if mhz.startswith("5") and int(mhz) < 5_900 else ""
        if band and not any(word in more for word in _UNUSABLE):
            channels[band].append(int(channel))
    usable = {band: tuple(found) for band, found in channels.items() if found}
    return Abilities("AP" in words, "CMAC (00-0f-ac:6)" in told, usable)


def country(told: str) -> str:
    """From `iw reg get`: the country that the kernel goes by; "" for the world's common rules."""
    found = _COUNTRY.search(told)
    return found[1] if found else ""


def joined(told: str) -> str:
    """From `iw dev NAME link`: the network that the radio is a client of; "" if of none."""
    found = re.search(r"^\s*SSID: (.*)$", told, re.MULTILINE) if told.startswith("Connected") else None
    return found[1] if found else ""
