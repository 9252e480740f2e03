"""[pure] Which names a phone got an address by: what turns a bare address in a flow back into what was asked."""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from firewall.inputs import LearntName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from firewall.phones import Phone

SHORTEST = 60  # seconds; what is answered with less is still being connected to then
# Seconds a name outlives its TTL. Phones keep addresses longer than they may: Java's cache, connection pools and
# Happy Eyeballs' second choice go on using them, and without its name a flow would be judged by its address alone.
GRACE = 600
# Places: a name that an address was answered for takes one, and one more for each 256 characters of its chain.
MOST_OF_A_PHONE = 8_192
MOST = 131_072  # of all phones
MOST_CHAINS = 16  # of one address; large CDNs answer hundreds of names with one
A_PLACE = 256  # characters
LOOKS = 4  # addresses, or names of one, that are looked at to find what may be forgotten: each look asks the rules


class Entry(NamedTuple):
    """One address that a phone knows."""

    phone: Phone
    addr: bytes
    left: float  # seconds until its last name is forgotten


class _Known:
    """What one phone knows: address -> chain -> boot time of its end. The one learnt longest ago stands first."""

    __slots__ = ("free", "kept", "size")

    def __init__(self) -> None:
        self.free: OrderedDict[bytes, dict[tuple[str, ...], float]] = OrderedDict()
        self.kept: OrderedDict[bytes, dict[tuple[str, ...], float]] = OrderedDict()  # something refused is among them
        self.size = 0  # places

    def get(self, addr: bytes) -> dict[tuple[str, ...], float] | None:
        return self.kept.get(addr) or self.free.get(addr)

    def items(self) -> Iterator[tuple[bytes, dict[tuple[str, ...], float]]]:
        yield from self.kept.items()
        yield from self.free.items()


class NameTable:
    """(phone, address) -> the chains that were answered with it. A chain is the asked name, then its CNAMEs.

    Where room is short, what the rules refuse stays: else a phone would ask for friends until it is forgotten.
    `weighs` tells how much hangs on a name: more than 0, if it is refused at that address. `inner`: the IPv4 address
    that an IPv6 one leads to: a name of either is one of both, for phones make the latter themselves (RFC 6877, 7050).
    """

    def __init__(self) -> None:
        self.weighs: Callable[[Phone, tuple[str, ...], bytes], int] = lambda *_: 0
        self.inner: Callable[[bytes], bytes | None] = lambda _: None
        self._of: dict[Phone, _Known] = {}
        self._size = 0

    def __len__(self) -> int:
        """Places taken, by all phones."""
        return self._size

    def learn(
        self, phone: Phone, chain: tuple[str, ...], addresses: tuple[bytes, ...], ttl: float, boot: float
    ) -> bool:
        """The phone is told, at `boot`, that the end of `chain` has these addresses, for `ttl` seconds.

        False: there is no room, for all that the phone knows is refused; it must not be told.
        """
        until = boot + max(ttl, SHORTEST) + GRACE
        return all(self.remember(phone, chain, addr, until) for addr in addresses)

    def remember(self, phone: Phone, chain: tuple[str, ...], addr: bytes, until: float) -> bool:
        """It counts until then (boot time), or for longer if that is known already. False: there is no room."""
        known = self._of.get(phone)
        if known is None:
            known = self._of[phone] = _Known()
        chains = known.get(addr)
        if chains is not None and chain in chains:  # what hangs on it is asked anew before it is forgotten
            chains[chain] = max(until, chains.pop(chain))  # popped first: the newest stands last
            (known.kept if addr in known.kept else known.free).move_to_end(addr)
            return True
        if not self._make_room(phone, known, _places(chain), addr):
            return False
        self._resize(known, _places(chain))
        chains = known.get(addr) or {}  # what was to be made room for may have been itself
        chains[chain] = until
        keeps = self.weighs(phone, chain, addr) > 0 or addr in known.kept
        known.free.pop(addr, None)
        known.kept.pop(addr, None)
        (known.kept if keeps else known.free)[addr] = chains
        if len(chains) > MOST_CHAINS:
            gone = min(islice(chains, LOOKS), key=lambda one: self.weighs(phone, one, addr))  # of equals the oldest
            del chains[gone]
            self._resize(known, -_places(gone))
        return True

    def chains(self, phone: Phone, addr: bytes, boot: float) -> tuple[tuple[str, ...], ...]:
        """Every chain that may have led the phone to `addr`, the newest last."""
        known = self._of.get(phone)
        if known is None:
            return ()
        chains = known.get(addr) or {}
        found = [chain for chain, until in chains.items() if until > boot]
        if len(addr) == 16 and (inner := self.inner(addr)):
            chains = known.get(inner) or {}
            found = list(dict.fromkeys([*(chain for chain, until in chains.items() if until > boot), *found]))
        return tuple(found)

    def leads(self, addresses: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """These, and the IPv4 addresses that they lead to."""
        inner = tuple(one for addr in addresses if len(addr) == 16 and (one := self.inner(addr)))
        return tuple(dict.fromkeys((*addresses, *inner))) if inner else addresses

    def addresses(self, phone: Phone, name: str, boot: float) -> tuple[bytes, ...]:
        """The addresses that the phone may reach `name` at: asked for, or a CNAME on the way."""
        known = self._of.get(phone)
        return tuple(
            addr
            for addr, chains in (known.items() if known is not None else ())
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
        known = self._of.pop(phone, None)
        self._size -= known.size if known is not None else 0

    def expire(self, boot: float) -> None:
        """Let go of what has had its time. What was learnt after something that lives longer goes with that."""
        for phone, known in list(self._of.items()):
            for addresses in (known.free, known.kept):
                while addresses and max(next(iter(addresses.values())).values()) <= boot:
                    self._drop(known, addresses)
            if not known.size:
                del self._of[phone]

    def _drop(self, known: _Known, addresses: OrderedDict[bytes, dict[tuple[str, ...], float]]) -> None:
        """The one learnt longest ago."""
        _, chains = addresses.popitem(last=False)
        self._resize(known, -sum(map(_places, chains)))

    def _resize(self, known: _Known, places: int) -> None:
        known.size += places
        self._size += places

    def _make_room(self, phone: Phone, known: _Known, places: int, addr: bytes) -> bool:
        """The phone that asks pays with its own oldest, else the one with the most; whether there is room now."""
        if addr in known.free:
            known.free.move_to_end(addr)
        while known.size + places > MOST_OF_A_PHONE:
            if not self._free_one(phone, known):
                return False
        while self._size + places > MOST:
            greedy, most = max(self._of.items(), key=lambda one: one[1].size)
            if not self._free_one(greedy, most):
                self._drop(most, most.kept)
        return True

    def _free_one(self, phone: Phone, known: _Known) -> bool:
        """Forget an address of which nothing is refused; rules may have changed since it was learnt."""
        for _ in range(min(LOOKS, len(known.free))):
            addr, chains = next(iter(known.free.items()))
            if not self._keeps(phone, addr, chains):
                self._drop(known, known.free)
                return True
            known.kept[addr] = known.free.pop(addr)
        for _ in range(min(LOOKS, len(known.kept))):
            addr, chains = next(iter(known.kept.items()))
            if not self._keeps(phone, addr, chains):
                self._drop(known, known.kept)
                return True
            known.kept.move_to_end(addr)
        return False

    def _keeps(self, phone: Phone, addr: bytes, chains: dict[tuple[str, ...], float]) -> bool:
        return any(self.weighs(phone, chain, addr) for chain in chains)


def _places(chain: tuple[str, ...]) -> int:
    return 1 + sum(map(len, chain)) // A_PLACE
