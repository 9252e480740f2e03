"""All rules and services of one revision, compiled so that deciding costs a few microseconds. Immutable."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
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


class UnknownServiceError(KeyError):
    """A rule names a service that no pack has."""

    def __init__(self, rule: Rule, service: str, known: tuple[str, ...]) -> None:
        super().__init__(service)
        self.rule, self.service, self.known = rule, service, known


class CompiledTerm(NamedTuple):
    matcher: Matcher
    bit: int
    opening: bool  # a negated term is asked the other way round
    negated: bool


@dataclass(frozen=True, slots=True)
class CompiledRule:
    rule: Rule
    terms: tuple[CompiledTerm, ...]

    def answer(self, case: Case) -> Answer:
        """Of all its terms together: one NO is a NO, one NOT_YET leaves it open."""
        result = Answer.YES
        for matcher, bit, opening, negated in self.terms:
            answer = matcher.test(case, bit, opening=opening)
            if answer is Answer.NOT_YET:
                result = answer
            elif (answer is Answer.YES) is negated:
                return Answer.NO
        return result


class Policy:
    """Made by `compile_policy`, asked through `rules.decide.decide`, which keeps its answers in `memo`."""

    def __init__(self, rules: tuple[Rule, ...], services: Mapping[str, Service], revision: int) -> None:
        self.revision: Final = revision
        self.rules: Final = rules
        self.services: Final = MappingProxyType(dict(services))
        self.digest: Final = _digest(rules, services)
        self.memo: Final[dict[Observation, Decision]] = {}
        atoms = [service.atom() for service in services.values()]
        self._service_ids = tuple(services)
        self._compiled = tuple(_compile(rule, atoms) for rule in rules if rule.enabled)
        self._index = Index(atoms)
        refusing = 0
        self._always: list[int] = []  # positions of rules without a positive name, address or service
        self._by_bit: dict[int, list[int]] = {}  # the others, by the bit that must be there
        for position, compiled in enumerate(self._compiled):
            bits = [term.bit for term in compiled.terms if term.bit and not term.negated]
            if compiled.rule.action.refuses:
                refusing |= sum(set(bits))
            if bits:
                self._by_bit.setdefault(bits[0], []).append(position)
            else:
                self._always.append(position)
        self._refusing = refusing

    def cells(self) -> Iterable[Range]:
        """Ranges of addresses, IPv4's and then IPv6's, within which all look alike to the rules."""
        return self._index.cells()

    def look_up(self, seen: Observation) -> Case:
        return self._index.look_up(seen, self._refusing)

    def candidates(self, case: Case) -> Iterator[CompiledRule]:
        """The rules, in order, without those that cannot match this case."""
        if case.seen.names_open or case.seen.addr is None:
            yield from self._compiled
            return
        positions = list(self._always)
        hits = case.any_yes | case.addr
        while hits:
            bit = hits & -hits
            hits ^= bit
            positions += self._by_bit.get(bit, ())
        for position in sorted(positions):
            yield self._compiled[position]

    def service_of(self, case: Case) -> str:
        """Id of the service that this is; names tell it better than addresses. "" if none."""
        mask = (1 << len(self._service_ids)) - 1
        hits = case.any_yes & mask or case.addr & mask
        return self._service_ids[(hits & -hits).bit_length() - 1] if hits else ""


def compile_policy(owner: Sequence[Rule], packs: Sequence[Pack], revision: int) -> Policy:
    """The owner's rules, then the packs' in their order. Raises UnknownServiceError."""
    services = {service.id: service for pack in packs for service in pack.services}
    rules = (*owner, *(rule for pack in packs for rule in pack.rules))
    return Policy(tuple(_bind(rule, services) for rule in rules), services, revision)


def _bind(rule: Rule, services: Mapping[str, Service]) -> Rule:
    terms = []
    for term in rule.expression.terms:
        matcher = term.matcher
        if isinstance(matcher, ServiceMatcher):
            try:
                matcher = matcher.bind(services)
            except KeyError as error:
                raise UnknownServiceError(rule, error.args[0], tuple(services)) from None
        terms.append(replace(term, matcher=matcher))
    return replace(rule, expression=Expression(tuple(terms)))


def _compile(rule: Rule, atoms: list[Atom]) -> CompiledRule:
    """Gives every atom of the rule its bit; equal atoms share one."""
    opens = rule.action is Verdict.ALLOW
    terms = []
    for term in rule.expression.terms:
        atom = term.matcher.atom()
        bit = 0
        if atom is not None:
            if atom not in atoms:
                atoms.append(atom)
            bit = 1 << atoms.index(atom)
        terms.append(CompiledTerm(term.matcher, bit, opens is not term.negated, term.negated))
    return CompiledRule(rule, tuple(terms))


def _digest(rules: tuple[Rule, ...], services: Mapping[str, Service]) -> str:
    meaning = [(rule.id, str(rule), rule.enabled) for rule in rules], [(s.id, s.atom()) for s in services.values()]
    return hashlib.sha256(repr(meaning).encode()).hexdigest()[:16]
