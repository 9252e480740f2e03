"""[pure] What a phone is called. Until owners can name them, a phone is known by the end of its MAC."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST = 4_096  # phones remembered; one that invents MACs all day gets this many names and then shares "stranger"
STRANGER = "stranger"
NOBODY = bytes(6)  # the MAC of an address that no neighbour answers to


class Phones:
    """MAC to name, and back for those seen. `given` are names that somebody chose (the lab's)."""

    def __init__(self, given: Mapping[bytes, str]) -> None:
        self._name = dict(given)
        self._taken = set(given.values())

    def __len__(self) -> int:
        return len(self._name)

    def name(self, mac: bytes) -> str:
        """Its name; stable for as long as this process lives."""
        known = self._name.get(mac)
        return known if known is not None else self._christen(mac)

    def macs(self, name: str) -> tuple[bytes, ...]:
        return tuple(mac for mac, called in self._name.items() if called == name)

    def _christen(self, mac: bytes) -> str:
        if mac == NOBODY or len(mac) != len(NOBODY) or len(self._name) >= MOST:
            return STRANGER
        digits = mac.hex()
        names = [f"phone-{digits[-length:]}" for length in (4, 6, 8, 12)]
        name = next((name for name in names if name not in self._taken), names[-1])
        self._name[mac] = name
        self._taken.add(name)
        return name
