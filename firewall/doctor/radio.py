"""Whether this box can be an access point, by what iw(8) tells of its radios."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from firewall.doctor.finding import FAIL, PASS, WARN, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from firewall.doctor.finding import State
    from firewall.doctor.world import World

_MODES = re.compile(r"Supported interface modes:\n((?:\s+\* .*\n)+)")
_BLOCKED = re.compile(r"^\d+: (\S+): .*\n(?:.*\n)??\s+(Soft|Hard) blocked: yes", re.MULTILINE)


class Radio(NamedTuple):
    """One `Wiphy` of `iw list`."""

    name: str
    access_point: bool
    wpa3: bool  # management frames can be protected, which WPA3 requires (802.11w)


def read(told: str) -> list[Radio]:
    """[pure] The radios in what `iw list` printed."""
    radios = []
    for part in re.split(r"^Wiphy ", told, flags=re.MULTILINE)[1:]:
        modes = _MODES.search(part)
        words = set(re.findall(r"\* (.+)", modes[1])) if modes else set()
        radios.append(Radio(part.split()[0], "AP" in words, "CMAC (00-0f-ac:6)" in part))
    return radios


def radios(world: World) -> Iterator[Finding]:
    name = "radio"
    needed = world.plan.get("mode") == "ap"
    bad: State = FAIL if needed else WARN
    told = world.run("iw", "list")
    if told is None:
        yield Finding(name, bad if needed else PASS, "not known: iw is not installed", "apt-get install iw")
        return
    found = read(told.out)
    if not found:
        says = "none on this box" + ("" if needed else "; phones come by wire, or by an access point of their own")
        remedy = "plug one in; docs/ten-minutes.md names some that work"
        yield Finding(name, FAIL if needed else PASS, says, remedy if needed else "")
        return
    for radio in found:
        if not radio.access_point:
            remedy = "take another one: docs/ten-minutes.md names some"
            yield Finding(name, bad, f"{radio.name} (or its driver) cannot be an access point", remedy)
        elif not radio.wpa3:
            says = f"{radio.name} can be an access point, with WPA2 only: it does not protect management frames"
            yield Finding(name, WARN, says, "consentry setup --security wpa2")
        else:
            yield Finding(name, PASS, f"{radio.name} can be an access point, with WPA2 and WPA3")
    off = world.run("rfkill", "list", "wlan")
    for called, how in _BLOCKED.findall(off.out if off else ""):
        remedy = "rfkill unblock wlan" if how == "Soft" else "its switch, or the BIOS"
        yield Finding(name, bad, f"{called} is switched off ({how.lower()} block)", remedy)
    country = world.run("iw", "reg", "get")
    if country and re.search(r"^country 00:", country.out, re.MULTILINE) and needed is False:
        yield Finding(name, WARN, "no country is set: most channels may not be used", "iw reg set DE (yours)")
