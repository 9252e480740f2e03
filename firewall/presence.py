"""[pure] Which phones are near: joined to the access point, with which signal, and what they call themselves.

What a phone calls itself is its word, and made safe to show; it is never its name here: names are the owner's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from firewall.events import PhoneJoined, PhoneLeft
from firewall.inputs import Joined, Leased, Left
from firewall.text import inert

if TYPE_CHECKING:
    from collections.abc import Callable

    from firewall.inputs import Now
    from firewall.phones import Phone, Phones
    from firewall.rejudge import Out

MOST: Final = 1_024  # senders that are remembered
QUIET_SECONDS: Final = 10.0  # a phone that comes and goes is told of once in so long


class Presence:
    def __init__(self, phones: Phones, out: Out) -> None:
        self._phones, self._out = phones, out
        self.route: dict[type, Callable[..., None]] = {Joined: self.joined, Left: self.left, Leased: self.leased}
        self._joined: dict[bytes, int | None] = {}  # MAC -> dBm
        self._hosts: dict[bytes, str] = {}  # MAC -> what it calls itself
        self._told: dict[bytes, float] = {}  # MAC -> boot time until which its comings and goings are not told

    def joined(self, seen: Joined, now: Now) -> None:
        """Also told again and again while it stays: the signal changes."""
        came = seen.mac not in self._joined
        if came and len(self._joined) >= MOST:
            return
        self._joined[seen.mac] = seen.signal
        if came and self._worth_telling(seen.mac, now):
            phone = self._phones.of(seen.mac, now.wall)
            self._out.events.append(PhoneJoined(now.wall, phone.name, seen.mac, seen.signal))

    def left(self, seen: Left, now: Now) -> None:
        if seen.mac in self._joined:
            del self._joined[seen.mac]
            phone = self._phones.with_mac(seen.mac)
            if self._worth_telling(seen.mac, now) and phone is not self._phones.stranger:
                self._out.events.append(PhoneLeft(now.wall, phone.name, seen.mac))

    def leased(self, seen: Leased, now: Now) -> None:
        """It has an address from us: so it is known before its first packet."""
        self._phones.of(seen.mac, now.wall)
        if seen.mac in self._hosts or len(self._hosts) < MOST:
            self._hosts[seen.mac] = inert(seen.host)

    def signal(self, phone: Phone) -> tuple[bool, int | None]:
        """Whether one of its MACs is joined, and the strongest signal in dBm."""
        found = [self._joined[mac] for mac in phone.macs if mac in self._joined]
        return bool(found), max((one for one in found if one is not None), default=None)

    def host(self, phone: Phone) -> str:
        """What it calls itself; "" if it has not said."""
        return next((host for mac in phone.macs if (host := self._hosts.get(mac))), "")

    def _worth_telling(self, mac: bytes, now: Now) -> bool:
        if self._told.get(mac, now.boot) > now.boot:
            return False
        if len(self._told) >= MOST:
            self._told.clear()
        self._told[mac] = now.boot + QUIET_SECONDS
        return True
