"""Whether this box can be an access point, by what iw(8) and rfkill(8) tell of its radios."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from firewall.box.iw import abilities, country
from firewall.doctor.finding import FAIL, PASS, WARN, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from firewall.doctor.finding import State
    from firewall.doctor.world import World

NAMES_SOME: Final = "docs/ten-minutes.md names some that can"
COUNTRIES: Final = "/lib/firmware/regulatory.db"
_BLOCKED: Final = re.compile(r"^\d+: (\S+): .*\n(?:.*\n)??\s+(Soft|Hard) blocked: yes", re.MULTILINE)


def radios(world: World) -> Iterator[Finding]:
    name = "radio"
    needed = world.plan.get("mode") == "ap"
    bad: State = FAIL if needed else WARN
    told = world.run("iw", "list")
    if told is None:
        yield Finding(name, bad if needed else PASS, "not known: iw is not installed", "sudo apt-get install iw")
        return
    found = {part.split()[0]: abilities(part) for part in re.split(r"^Wiphy ", told.out, flags=re.MULTILINE)[1:]}
    if not found:
        says = "none on this box" + ("" if needed else "; phones come by wire, or by an access point of their own")
        yield Finding(name, FAIL if needed else PASS, says, f"plug one in; {NAMES_SOME}" if needed else "")
        return
    for phy, can in found.items():
        if not can.access_point:
            yield Finding(name, bad, f"{phy} (or its driver) cannot be an access point", f"another one; {NAMES_SOME}")
        elif not can.channels:
            says = f"{phy} may begin on no channel: no country is set, or its firmware forbids all of them"
            yield Finding(name, bad, says, "sudo consentry setup --country DE (yours); iw list shows what is forbidden")
        elif not can.wpa3:
            says = f"{phy} can be an access point, with WPA2 only: it does not protect management frames"
            yield Finding(name, WARN, says, "nothing, if WPA2 will do: sudo consentry setup --security wpa2")
        else:
            bands = " and ".join(f"{band} GHz" for band in can.channels)
            yield Finding(name, PASS, f"{phy} can be an access point, with WPA2 and WPA3, at {bands}")
    off = world.run("rfkill", "list", "wlan")
    for called, how in _BLOCKED.findall(off.out if off else ""):
        remedy = "sudo rfkill unblock wlan" if how == "Soft" else "its switch, or the BIOS"
        yield Finding(name, bad, f"{called} is switched off ({how.lower()} block)", remedy)
    law = world.run("iw", "reg", "get")
    if not law or country(law.out):
        return
    if not needed:  # setup asks for it, and hostapd sets it
        yield Finding(name, WARN, "no country is set: most channels may not be used", "sudo iw reg set DE (yours)")
    elif not world.there(COUNTRIES):
        says = "the kernel knows no country's rules, so yours is not in force: 2.4 GHz only, and a slow start"
        remedy = "sudo apt-get install wireless-regdb && sudo iw reg reload; then: sudo consentry run"
        yield Finding(name, WARN, says, remedy)
