"""All rules and services of one revision, compiled so that deciding costs a few microseconds. Immutable."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from itertools import takewhile
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from rules.expression import Expression
from rules.index import Atom, Case, Index
from rules.matchers.service import ServiceMatcher
from rules.verdict import Answer, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rules.matchers import Matcher
    from rules.networks import Range
    from rules.observation import Observation
    from rules.rule import Pack, Rule
    from rules.service import Service
    from rules.verdict import Decision

MEMO: Final = 8_192  # decisions remembered: phones ask the same again and again
DEFAULT: Final = "default"


class CompiledTerm(NamedTuple):
    matcher: Matcher
    bit: int
    opening: bool  # a negated term is asked the other way round
    negated: bool


@dataclass(frozen=True, slots=True)
class CompiledRule:
    rule: Rule
    position: int  # among the enabled rules
    terms: tuple[CompiledTerm, ...]
    bits: int  # of all terms that are not negated: each must be there for a YES

    def answer(self, case: Case) -> Answer:
        """Of all its terms together: one NO is a NO, one NOT_YET leaves it open.

        BROKEN never opens, and closes: what cannot be told is taken for a match by rules that refuse.
        """
        result = Answer.YES
        for matcher, bit, opening, negated in self.terms:
            answer = matcher.test(case, bit, opening=opening)
            if answer is Answer.BROKEN:
                if self.rule.action is Verdict.ALLOW:
                    return Answer.NO
            elif answer is Answer.NOT_YET:
                result = answer
            elif (answer is Answer.YES) is negated:
                return Answer.NO
        return result


class Policy:
    """Made by `compile_policy`, asked through `rules.decide` and `rules.refusals`, which keep their answers here."""

    def __init__(self, rules: tuple[Rule, ...], services: Mapping[str, Service], revision: int) -> None:
        self.revision: Final = revision
        self.rules: Final = rules
        self.services: Final = MappingProxyType(dict(services))
        self.digest: Final = _digest(rules, services)
        self.memo: Final[dict[Observation, Decision]] = {}
        self.later: Final[dict[Observation, Verdict]] = {}
        self.refused: tuple[tuple[Range, ...], tuple[Range, ...]] | None = None  # networks, IPv4's and IPv6's
        atoms = _Atoms(services)
        enabled = (rule for rule in rules if rule.enabled)
        self.compiled: Final = tuple(_compile(rule, position, atoms) for position, rule in enumerate(enabled))
        self._service_ids = tuple(services)
        self._service_bits = (1 << len(services)) - 1
        self._index = Index(atoms.all)
        self._listing = 0  # atoms of rules that refuse
        self._closing = 0  # atoms that help to refuse: also those that a rule which allows excepts
        self._always: list[int] = []  # positions of rules of which no atom must be there
        self._by_bit: dict[int, list[int]] = {}  # the others, by one bit that must be: that which fewest rules share
        shared = Counter(bit for rule in self.compiled for bit in _single(rule.bits))
        for rule in self.compiled:
            if rule.rule.action.refuses:
                self._listing |= rule.bits
            for term in rule.terms:
                self._closing |= 0 if term.opening else term.bit
            if rule.bits:
                rarest = min(_single(rule.bits), key=lambda bit: (shared[bit], bit))
                self._by_bit.setdefault(rarest, []).append(rule.position)
            else:
                self._always.append(rule.position)
        self._keys = 0
        for bit in self._by_bit:
            self._keys |= bit
        self._allowing = tuple(rule for rule in self.compiled if not rule.rule.action.refuses)
        self._refusing = tuple(rule for rule in self.compiled if rule.rule.action.refuses)

    def cells(self) -> Iterable[Range]:
        """Ranges of addresses, IPv4's and then IPv6's, within which all look alike to the rules."""
        return self._index.cells()

    @property
    def teredo_is_nat64(self) -> bool:
        """Whether the rules make no difference between the two but for the IPv4 addresses in them."""
        return self._index.teredo_is_nat64

    def translate(self, nat64: tuple[bytes, ...], hinted: tuple[bytes, ...] = ()) -> None:
        """Take these for the network's own translators: no rule's, and the one thing here that changes under rules.

        `hinted`: by what anybody may have said; they close and open nothing.
        """
        self._index.translate(nat64, hinted)
        self.memo.clear()
        self.later.clear()
        self.refused = None

    def look_up(self, seen: Observation) -> Case:
        return self._index.look_up(seen, self._listing)

    def likely(self, case: Case) -> Iterator[CompiledRule]:
        """In order, all rules that can answer YES, and few others."""
        positions = list(self._always)
        hits = case.any_yes | case.touched | case.facts | case.broken
        for bit in _single(hits & self._keys):
            positions += self._by_bit.get(bit, ())
        for position in sorted(positions):
            yield self.compiled[position]

    def opposed(self, verdict: Verdict, sure: CompiledRule | None) -> Iterator[CompiledRule]:
        """The rules above `sure` (all, if there is none) that would open what it refuses, or refuse what it opens."""
        rules = self._allowing if verdict.refuses else self._refusing
        return takewhile(lambda rule: sure is None or rule.position < sure.position, rules)

    def lists(self, name: str, bits: int) -> bool:
        """Whether the atoms of these bits have that name."""
        return bool(self._index.name(name) & bits)

    def closes(self, name: str) -> bool:
        """Whether some flow may be refused for this name: over some port, say."""
        return self.lists(name, self._closing)

    def service_bit(self, service: str) -> int:
        """Of its atom; 0 if no pack has it any more."""
        return 1 << self._service_ids.index(service) if service in self.services else 0

    def services_among(self, bits: int) -> tuple[str, ...]:
        """Ids of the services whose atoms' bits these are."""
        return tuple(self._service_ids[bit.bit_length() - 1] for bit in _single(bits & self._service_bits))

    def service_of(self, case: Case, asked: Iterable[str] = ()) -> str:
        """Id of the service that this is; names tell it better than addresses. "" if none; rather one of `asked`."""
        hits = case.any_yes & self._service_bits or case.touched & self._service_bits
        if not hits:
            return ""  # as most are
        found = self.services_among(hits)
        return next((service for service in asked if service in found), found[0])


def compile_policy(owner: Sequence[Rule], packs: Sequence[Pack], revision: int) -> Policy:
    """The owner's rules, then the packs' in their order.

    Raises KeyError if a rule names a service that no pack has; `parse_rule` finds those, with their place.
    """
    services = {service.id: service for pack in packs for service in pack.services}
    rules = (*owner, *(rule for pack in packs for rule in pack.rules))
    return Policy(tuple(_bind(rule, services) for rule in rules), services, revision)


def _bind(rule: Rule, services: Mapping[str, Service]) -> Rule:
    terms = []
    for term in rule.expression.terms:
        matcher = term.matcher
        if isinstance(matcher, ServiceMatcher):
            matcher = matcher.bind(services)
        terms.append(replace(term, matcher=matcher))
    return replace(rule, expression=Expression(tuple(terms)))


class _Atoms:
    """Hands out bits: the services first, in their order, then whatever the rules have. Equal atoms share one."""

    def __init__(self, services: Mapping[str, Service]) -> None:
        self.all = [service.atom() for service in services.values()]
        self._positions = {atom: position for position, atom in enumerate(self.all)}

    def bit(self, atom: Atom | None) -> int:
        if atom is None:
            return 0
        position = self._positions.setdefault(atom, len(self.all))
        if position == len(self.all):
            self.all.append(atom)
        return 1 << position


def _compile(rule: Rule, position: int, atoms: _Atoms) -> CompiledRule:
    opens = not rule.action.refuses
    terms = []
    bits = 0
    for term in rule.expression.terms:
        bit = atoms.bit(term.matcher.atom())
        terms.append(CompiledTerm(term.matcher, bit, opens is not term.negated, term.negated))
        bits |= 0 if term.negated else bit
    return CompiledRule(rule, position, tuple(terms), bits)


def _single(bits: int) -> Iterator[int]:
    """Each bit by itself."""
    while bits:
        bit = bits & -bits
        bits ^= bit
        yield bit


def _digest(rules: tuple[Rule, ...], services: Mapping[str, Service]) -> str:
    meaning = [(rule.id, str(rule), rule.enabled) for rule in rules], [(s.id, s.atom()) for s in services.values()]
    return hashlib.sha256(repr(meaning).encode()).hexdigest()[:16]
