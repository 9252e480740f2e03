"""[pure] Which names a phone got an address by: what turns a bare address in a flow back into what was asked."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from firewall.inputs import LearntName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from firewall.phones import Phone

SHORTEST = 60  # seconds; what is answered with less is still being connected to then
# Seconds a name outlives its TTL. Phones keep addresses longer than they may: Java's cache, connection pools and
# Happy Eyeballs' second choice go on using them, and without its name a flow would be judged by its address alone.
GRACE = 600
MOST_OF_A_PHONE = 4_096  # addresses; the one learnt longest ago goes first
MOST = 65_536  # addresses of all phones
MOST_CHAINS = 16  # of one address; large CDNs answer hundreds of names with one, and the oldest go first


class Entry(NamedTuple):
    """One address that a phone knows."""

    phone: Phone
    addr: bytes
    left: float  # seconds until its last name is forgotten


class NameTable:
    """(phone, address) -> the chains that were answered with it. A chain is the asked name, then its CNAMEs."""

    def __init__(self) -> None:
        self._of: dict[Phone, OrderedDict[bytes, dict[tuple[str, ...], float]]] = {}  # chain -> boot time of its end
        self._size = 0

    def __len__(self) -> int:
        """Addresses remembered, of all phones."""
        return self._size

    def learn(
        self, phone: Phone, chain: tuple[str, ...], addresses: tuple[bytes, ...], ttl: float, boot: float
    ) -> None:
        """The phone is told, at `boot`, that the end of `chain` has these addresses, for `ttl` seconds."""
        until = boot + max(ttl, SHORTEST) + GRACE
        for addr in addresses:
            self.remember(phone, chain, addr, until)

    def remember(self, phone: Phone, chain: tuple[str, ...], addr: bytes, until: float) -> None:
        """It counts until then (boot time), or for longer if that is known already."""
        known = self._of.setdefault(phone, OrderedDict())
        chains = known.get(addr)
        if chains is None:
            self._make_room(known)
            chains = known[addr] = {}
            self._size += 1
        else:
            known.move_to_end(addr)
        longest = max(until, chains.pop(chain, 0.0))
        chains[chain] = longest  # popped first: the newest stands last
        if len(chains) > MOST_CHAINS:
            del chains[next(iter(chains))]

    def chains(self, phone: Phone, addr: bytes, boot: float) -> tuple[tuple[str, ...], ...]:
        """Every chain that may have led the phone to `addr`, the newest last."""
        known = self._of.get(phone)
        chains = known.get(addr) if known else None
        return tuple(chain for chain, until in chains.items() if until > boot) if chains else ()

    def addresses(self, phone: Phone, name: str, boot: float) -> tuple[bytes, ...]:
        """The addresses that the phone may reach `name` at: asked for, or a CNAME on the way."""
        known = self._of.get(phone)
        return tuple(
            addr
            for addr, chains in (known.items() if known else ())
            if any(until > boot and name in chain for chain, until in chains.items())
        )

    def entries(self, boot: float) -> Iterator[Entry]:
        """All that is known, for judging it again by another policy."""
        for phone, known in self._of.items():
            for addr, chains in known.items():
                left = max(chains.values()) - boot
                if left > 0:
                    yield Entry(phone, addr, left)

    def learnt(self, boot: float) -> Iterator[LearntName]:
        """All that is known, one by one, for a process that comes after this one. Slots change hands; MACs do not."""
        for phone, known in self._of.items():
            if not phone.macs:
                continue
            for addr, chains in known.items():
                for chain, until in chains.items():
                    if until > boot:
                        yield LearntName(phone.macs[0], addr, chain, until)

    def forget(self, phone: Phone) -> None:
        self._size -= len(self._of.pop(phone, ()))

    def expire(self, boot: float) -> None:
        """Let go of what has had its time. What was learnt after something that lives longer goes with that."""
        for phone, known in list(self._of.items()):
            while known and max(next(iter(known.values())).values()) <= boot:
                known.popitem(last=False)
                self._size -= 1
            if not known:
                del self._of[phone]

    def _make_room(self, known: OrderedDict[bytes, dict[tuple[str, ...], float]]) -> None:
        """Before one more address: the phone that asks pays with its own oldest, else the one with the most."""
        if len(known) >= MOST_OF_A_PHONE:
            known.popitem(last=False)
        elif self._size >= MOST:
            max(self._of.values(), key=len).popitem(last=False)
        else:
            return
        self._size -= 1
