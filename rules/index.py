"""Which names and addresses belong to which terms: one look-up per name and address, however many rules there are.

Every term that lists names, networks or facts (`name:`, `addr:`, `service:`, `country:`, `phone:`) is an atom and owns
one bit. Looking up an observation gives integers; asking a term is then one bit test.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING, Final, NamedTuple

from rules.hosts import suffixes
from rules.networks import NAT64, TEREDO, Range, after, beside, embedded, images
from rules.observation import Sign, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rules.observation import Name, Observation

    _Facts = dict[str | int | None, int]  # value -> atoms that ask for it

# What an address is known for. A fact is a value of one of these kinds, or of "phone", "group" and "via".
OF_PLACES: Final = ("country", "operator_country", "asn")  # the first fields of a Place
MET: Final = 8_192  # names


@dataclass(frozen=True, slots=True)
class Atom:
    """What stands together in a rule. A name with `=` in front means itself only; a fact is a kind and its value."""

    names: tuple[str, ...] = ()
    networks: tuple[Range, ...] = ()
    facts: tuple[tuple[str, str | int], ...] = ()


class Case(NamedTuple):
    """An observation, looked up. Masks hold the bits of atoms.

    Names come as statements: each name the flow said is one, and each question that our DNS answered with this address
    is one (asked name and CNAMEs together: they all are that one host). If the flow said a name that one of the
    questions led to, the others are out of the game: the flow has told which of them it is.

    For a refusal it is enough that ANY statement names a listed host; to open, ALL statements must (decisions.md 2).
    While names may still come (`names_open`), only what no further name can change is certain:

    | known so far             | any (block, ask)              | all (allow)                         |
    |--------------------------|-------------------------------|-------------------------------------|
    | nothing                  | not yet                       | not yet                             |
    | one question             | yes if it matches             | no if it does not match             |
    | several questions        | yes if every one matches      | no if none matches                  |
    | the flow said a name     | yes if that matches           | no if that does not match           |
    """

    seen: Observation
    any_yes: int  # a statement that counts for good has the atom's names
    any_open: int  # not certain yet
    all_yes: int
    all_open: int
    proven: int  # an answer of our own DNS supports it
    addr: int  # the address lies in the atom's networks
    touched: int  # it does, or what stands beside it does (rules.networks.beside)
    facts: int  # one of the atom's facts holds
    facts_open: int  # it may still turn out to hold
    broken: int  # that cannot be told: its database never was valid
    named: bool  # there is a statement
    listed: bool  # some rule that refuses lists the address

    def lies(self, bit: int, *, opening: bool) -> bool:
        """Whether the address lies in the atom's networks. Who closes asks about what stands beside it, too."""
        return bool((self.addr if opening else self.touched) & bit)

    @property
    def ambiguous(self) -> bool:
        """Our DNS gave this address for several names, and the flow has not said which it means."""
        return len(self.seen.answered) > 1 and not self.seen.said and not self.seen.names_open

    @property
    def unproven(self) -> bool:
        """Over a listed address the flow says a name that our DNS did not give it for."""
        said = {name.name for name in self.seen.said}
        return self.listed and bool(said) and all(said.isdisjoint(chain) for chain in self.seen.answered)


class Index:
    """Built once per policy (or filter). Bits follow the order of `atoms`."""

    def __init__(self, atoms: Sequence[Atom]) -> None:
        self._every = (1 << len(atoms)) - 1
        self._below: dict[str, int] = {}  # name -> atoms that list it and everything below
        self._exact: dict[str, int] = {}
        self._met: dict[str, int] = {}  # the question has the name, each answer to it, each flow to its addresses
        self._phones: _Facts = {}
        self._groups: _Facts = {}
        self._ways: _Facts = {}
        places: dict[str, _Facts] = {kind: {} for kind in OF_PLACES}
        tables = places | {"phone": self._phones, "group": self._groups, "via": self._ways}
        spans4: list[tuple[Range, int]] = []
        spans6: list[tuple[Range, int]] = []
        for position, atom in enumerate(atoms):
            bit = 1 << position
            for name in atom.names:
                table, key = (self._exact, name[1:]) if name.startswith("=") else (self._below, name)
                table[key] = table.get(key, 0) | bit
            for kind, value in atom.facts:
                tables[kind][value] = tables[kind].get(value, 0) | bit
            for span in atom.networks:
                (spans4 if len(span[0]) == 4 else spans6).append((span, bit))
        # of each kind: the atoms that ask for it
        self._by_phone, self._by_group = _union(self._phones.values()), _union(self._groups.values())
        self._by_way = _union(self._ways.values())
        self._place_tables = [(table, _union(table.values())) for table in places.values()]  # in the order of Place
        self._by_places = _union(every for _, every in self._place_tables)
        self._starts4, self._masks4 = _intervals(spans4, 4)
        self._starts6, self._masks6 = _intervals(spans6, 16)
        self._spans4, self._spans6 = spans4, spans6
        self.translate(())

    def translate(self, nat64: tuple[bytes, ...], hinted: tuple[bytes, ...] = ()) -> None:
        """IPv4 addresses also stand behind these prefixes: this network's own translators."""
        self._nat64, self._hinted = nat64, hinted
        teredo = TEREDO + bytes(12), TEREDO + b"\xff" * 12
        mapped = [(image, bit) for span, bit in self._spans4 for image in images(span, (*nat64, *hinted))]
        self._edges6, _ = _intervals([*self._spans6, *mapped, (teredo, 0)], 16)

    def cells(self) -> Iterable[Range]:
        """The ranges within which all addresses look alike: IPv4's, then IPv6's with the images of IPv4's.

        Ranges that lie in Teredo (2001::/32) are the exception: IPv4 addresses are strewn over them.
        """
        for starts, size in ((self._starts4, 4), (self._edges6, 16)):
            ends = [(int.from_bytes(start) - 1).to_bytes(size) for start in starts[1:]]
            yield from zip(starts, [*ends, b"\xff" * size], strict=True)

    @property
    def teredo_is_nat64(self) -> bool:
        """Whether all of Teredo's addresses and all of NAT64's are alike, but for the IPv4 addresses in them."""
        found = set()
        for prefix in (TEREDO, NAT64):
            first, last = (bisect_right(self._starts6, prefix.ljust(16, rest)) for rest in (b"\0", b"\xff"))
            found.update(self._masks6[first - 1 : last])
        return len(found) == 1

    def name(self, name: str) -> int:
        mask = self._met.get(name)
        if mask is None:
            mask = self._exact.get(name, 0)
            below = self._below
            for suffix in suffixes(name):
                mask |= below.get(suffix, 0)
            if len(self._met) >= MET:
                self._met.clear()
            self._met[name] = mask
        return mask

    def addr(self, addr: bytes) -> int:
        if len(addr) == 4:
            return self._masks4[bisect_right(self._starts4, addr) - 1]
        mask = self._masks6[bisect_right(self._starts6, addr) - 1]
        inner = embedded(addr, self._nat64)
        return mask if inner is None else mask | self.addr(inner)

    def look_up(self, seen: Observation, refusing: int) -> Case:
        """`refusing`: the atoms that block and ask rules use."""
        look = self.name
        claims = _claims(seen)
        said = claimed = [look(name.name) for name in seen.said]
        if claims is not seen.said:
            claimed = [look(name.name) for name in claims]
        chains = seen.answered
        if claims and len(chains) > 1:
            spoken = {name.name for name in claims}
            chains = tuple(chain for chain in chains if not spoken.isdisjoint(chain)) or chains
        asked = [_union(map(look, chain)) for chain in chains]
        addr = 0 if seen.addr is None else self.addr(seen.addr)
        touched = addr if seen.addr is None else addr | _union(map(self.addr, beside(seen.addr, self._hinted)))
        where, nowhere_yet, broken = self._place(seen)
        how = self._how(seen, claims) if self._ways else 0
        how_yet = self._by_way & ~how if seen.names_open else 0
        who = self._phones.get(seen.phone, 0) | self._groups.get(seen.group, 0)
        who_yet = (self._by_phone if seen.phone is None else 0) | (self._by_group if seen.group is None else 0)
        every = self._every
        if not seen.names_open:
            any_yes = _union((*said, *asked))
            # what cannot be read to its end may be another name
            all_yes = _common((*claimed, *asked), every) if (claimed or asked) and not seen.unfinished else 0
            any_open = all_open = 0
        else:
            certain = _common(asked, every) if asked else 0
            any_yes = _union(said) | certain
            any_open = every & ~any_yes
            all_yes = 0
            possible = _union(asked) if asked else every
            all_open = possible & _common(claimed, every)
        listed = bool((touched | where | broken) & refusing)
        return Case(
            seen, any_yes, any_open, all_yes, all_open, _union(asked), addr, touched, who | where | how,
            who_yet | nowhere_yet | how_yet, broken, bool(claimed or asked), listed,
        )

    def _how(self, seen: Observation, claims: tuple[Name, ...]) -> int:
        """The atoms of the words of `via:` that hold; while names may come, of those that none can take away."""
        atoms, how = self._ways, 0
        for name in claims:
            how |= atoms.get(name.source, 0)
        for sign in seen.signs:
            how |= atoms.get(sign, 0)
        if seen.answered:
            how |= atoms.get("dns", 0)
        if not seen.names_open:
            if len(seen.answered) > 1 and not claims:
                how |= atoms.get("ambiguous", 0)
            if seen.unfinished:
                how |= atoms.get("unfinished", 0)
            elif not claims and not seen.answered:
                how |= atoms.get("none", 0)
        return how

    def _place(self, seen: Observation) -> tuple[int, int, int]:
        """The atoms that have one of the place's facts, that may turn out to, of which it cannot be told."""
        if not self._by_places:
            return 0, 0, 0
        place = seen.place
        if seen.addr is None or place is None:
            return 0, self._by_places, 0
        yes = broken = 0
        for value, (table, every) in zip(place, self._place_tables, strict=False):
            if value is None:
                broken |= every
            else:
                yes |= table.get(value, 0)
        return yes, 0, broken


def _claims(seen: Observation) -> tuple[Name, ...]:
    """What the flow said of where it goes. What another resolver is asked for is no such word: it opens nothing."""
    if Sign.DNS_ELSEWHERE not in seen.signs:
        return seen.said
    return tuple(name for name in seen.said if name.source is not Source.DNS_ELSEWHERE)


def _union(masks: Iterable[int]) -> int:
    return reduce(or_, masks, 0)


def _common(masks: Iterable[int], every: int) -> int:
    return reduce(and_, masks, every)


def _intervals(spans: Iterable[tuple[Range, int]], size: int) -> tuple[list[bytes], list[int]]:
    """Starts of the elementary intervals, the first of them zero, and the atoms that cover each."""
    changes: dict[bytes, list[tuple[int, int]]] = {bytes(size): []}
    for (first, last), bit in spans:
        changes.setdefault(first, []).append((bit, 1))
        following = after(last)
        if following is not None:
            changes.setdefault(following, []).append((bit, -1))
    starts, masks = [], []
    depth: dict[int, int] = {}  # atoms may list a network twice
    mask = 0
    for start in sorted(changes):
        for bit, change in changes[start]:
            depth[bit] = depth.get(bit, 0) + change
            mask = mask | bit if depth[bit] else mask & ~bit
        starts.append(start)
        masks.append(mask)
    return starts, masks
