"""[pure] A network that translates: which IPv6 addresses lead to IPv4 machines, and where those stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firewall.inputs import RoutersTold, TranslatorsFound
from rules.networks import embedded

if TYPE_CHECKING:
    from collections.abc import Callable

    from rules.observation import Place
    from rules.policy import Policy


class Translated:
    """One for a gateway. `place` tells where an address stands."""

    def __init__(self, place: Callable[[bytes], Place]) -> None:
        self._place = place
        # prefixes of this network's own translators, and what its routers say of them
        self._nat64: dict[type, tuple[bytes, ...]] = {TranslatorsFound: (), RoutersTold: ()}

    def learn(self, seen: TranslatorsFound | RoutersTold, policy: Policy | None) -> None:
        self._nat64[type(seen)] = seen.nat64
        if policy is not None:
            policy.translate(*self._nat64.values())

    def teach(self, policy: Policy) -> None:
        """A new one knows none."""
        if any(self._nat64.values()):
            policy.translate(*self._nat64.values())

    def inner(self, addr: bytes) -> bytes | None:
        """The IPv4 machine that an IPv6 address leads to, if it does."""
        return embedded(addr, self._nat64[TranslatorsFound]) if len(addr) == 16 else None

    def place(self, addr: bytes) -> Place:
        """A translator has an address for each IPv4 machine; where that one stands is asked."""
        return self._place((self._nat64[TranslatorsFound] and self.inner(addr)) or addr)
