"""What a phone may be allowed for a while, and what `decide` has to know of it (decisions.md 4).

A consent answers `ask` and nothing else. Who gave it, for how long and whether it is over is the gateway's knowledge:
an observation carries the grants that are in force.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from rules.index import Atom, Index
from rules.matchers import known
from rules.matchers.name import by_name, parse_pattern
from rules.networks import parse_network, show_range
from rules.verdict import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rules.index import Case
    from rules.policy import CompiledRule, Policy

WITH_PORTS: Final = (None, "tcp", "udp")  # the kernel keeps the time of a consent by address and port


class Kind(StrEnum):
    SERVICE = "service"  # the service's own asks
    NAME = "name"  # every ask, on flows to this host and everything below
    ADDR = "addr"  # every ask, on flows to this address or network


class Subject(NamedTuple):
    """What a consent opens. `what` is a service id, a host name, or an address or network as text."""

    kind: Kind
    what: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.what}"

    @classmethod
    def parse(cls, text: str) -> Subject:
        """`service:xiaomi-account`, `name:miui.com`, `addr:42.62.48.0/24`. Raises ValueError in words for an owner.

        Whether there is such a service is for whoever has the packs to say.
        """
        word, _, what = text.partition(":")
        if word not in set(Kind):
            raise ValueError(f"{text!r} is nothing to consent to: write service:ID, name:HOST or addr:ADDRESS")
        kind = Kind(word)
        match kind:
            case Kind.SERVICE:
                if not what.isascii() or not what.replace("-", "").isalnum():
                    raise ValueError(f"{what!r} is no service id; `consentry rules list` shows them")
            case Kind.NAME:
                if what.startswith("="):
                    raise ValueError(f"a consent for a name is for it and everything below: write {what[1:]!r}")
                what = parse_pattern(what)
            case Kind.ADDR:
                what = show_range(parse_network(what))
        return cls(kind, what)


class Grant(NamedTuple):
    """One consent of this phone that is in force."""

    id: int
    subject: Subject


class Answered(NamedTuple):
    """What a phone's consents say to one `ask`: YES, it is answered, by these: each of them is needed."""

    answer: Answer
    by: tuple[Grant, ...] = ()


class Consented:
    """The grants of one observation, each asked once whether it is for this flow.

    It is as an allow would be: all sources of names must agree (decisions.md 2), while an address does not lie.
    """

    def __init__(self, policy: Policy, case: Case) -> None:
        self._policy = policy
        self._case = case
        self._unknown = case.seen.consents is None
        self._told = policy.services_among(case.any_yes)  # by its names
        self._services: dict[str, Answered] = {}
        self._any: list[Answered] = []  # of those that answer every ask
        grants = case.seen.consents or ()
        if case.seen.port is None and case.seen.proto not in WITH_PORTS:
            return
        index = _index(grants)
        own = index.look_up(case.seen, 0)._replace(listed=case.listed)
        for at, grant in enumerate(grants):
            kind, what = grant.subject
            if kind is Kind.SERVICE:
                self._services.setdefault(what, Answered(_covers(case, policy.service_bit(what)), (grant,)))
            elif kind is Kind.NAME:
                self._any.append(Answered(by_name(own, 1 << at, opening=True), (grant,)))
            else:
                self._any.append(Answered(known(case.seen.addr, bool(own.addr & 1 << at)), (grant,)))

    def answers(self, rule: CompiledRule) -> Answered:
        """Whether this ask is answered. Where a flow belongs to several of its services, each needs a consent.

        A service's network tells only of flows whose names are no service's: what one service has in another's network
        is answered by consent to the former.
        """
        if self._unknown:
            return Answered(Answer.NOT_YET)
        found = [*self._any, self._by_service(rule)]
        sure = next((one for one in found if one.answer is Answer.YES), None)
        if sure and self._case.seen.proto is not None:
            return sure
        maybe = sure or any(one.answer is Answer.NOT_YET for one in found)
        return Answered(Answer.NOT_YET if maybe else Answer.NO)

    def _by_service(self, rule: CompiledRule) -> Answered:
        asked = [(service, self._belongs(service)) for service in services_of(rule)]
        needed = [service for service, belongs in asked if belongs is Answer.YES]
        if not needed and any(self._policy.service_bit(service) & self._case.addr for service, _ in asked):
            needed = list(self._told)
        perhaps = [service for service, belongs in asked if belongs is Answer.NOT_YET]
        if self._services.keys().isdisjoint((*needed, *perhaps)):
            return Answered(Answer.NO)
        result: Answer = Answer.YES
        by: list[Grant] = []
        for service in (*needed, *perhaps):
            answer, grants = self._services.get(service, Answered(Answer.NO))
            if answer is Answer.NO and service in needed:
                return Answered(Answer.NO)
            if answer is Answer.YES:
                by += grants
            else:
                result = Answer.NOT_YET
        return Answered(result, tuple(by))

    def _belongs(self, service: str) -> Answer:
        """As for a refusal: any source is enough."""
        bit = self._policy.service_bit(service)
        if self._case.any_yes & bit or (self._case.addr & bit and not self._told):
            return Answer.YES
        return Answer.NOT_YET if self._case.any_open & bit or self._case.seen.addr is None else Answer.NO


def services_of(rule: CompiledRule) -> Iterator[str]:
    """The services that it speaks of, in its order."""
    for term in rule.rule.expression.terms:
        if term.key == Kind.SERVICE and not term.negated:
            yield from term.matcher.values


def _covers(case: Case, bit: int) -> Answer:
    if case.addr & bit:
        return Answer.YES
    answer = by_name(case, bit, opening=True)
    return Answer.NOT_YET if answer is Answer.NO and bit and case.seen.addr is None else answer


@lru_cache(maxsize=1_024)
def _index(grants: tuple[Grant, ...]) -> Index:
    """The bit of each stands where the grant does; a service's names are the policy's."""
    return Index([_atom(grant.subject) for grant in grants])


def _atom(subject: Subject) -> Atom:
    match subject.kind:
        case Kind.SERVICE:
            return Atom()
        case Kind.NAME:
            return Atom(names=(subject.what,))
        case Kind.ADDR:
            return Atom(networks=(parse_network(subject.what),))
