"""`service:xiaomi-account`: what a pack has gathered under one word, names and networks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from rules.index import Atom, Case
from rules.matchers import ValueProblem
from rules.matchers.name import by_name
from rules.verdict import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rules.service import Service


@dataclass(frozen=True, slots=True)
class ServiceMatcher:
    """Knows its services' names and networks once it is bound to them."""

    key: ClassVar[str] = "service"
    values: tuple[str, ...]
    bound: Atom | None = None

    @classmethod
    def parse(cls, values: Sequence[str]) -> Self:
        for position, value in enumerate(values):
            if not value.replace("-", "").isalnum():
                raise ValueProblem(position, f"{value!r} is no service id", "`consentry rules list` shows them")
        return cls(tuple(values))

    def bind(self, services: Mapping[str, Service]) -> Self:
        """Raises KeyError with the id that no pack has."""
        parts = [services[value].atom() for value in self.values]
        names = tuple(name for part in parts for name in part.names)
        networks = tuple(network for part in parts for network in part.networks)
        return replace(self, bound=Atom(names, networks))

    def atom(self) -> Atom | None:
        return self.bound

    def test(self, case: Case, bit: int, *, opening: bool) -> Answer:
        if self.bound is None:  # a filter: rows carry the service they were found to belong to
            return Answer.NO
        by_addr = case.lies(bit, opening=opening)
        if not opening:
            if by_addr:
                return Answer.YES
            answer = by_name(case, bit, opening=False)
            return Answer.NOT_YET if answer is Answer.NO and case.seen.addr is None and self.bound.networks else answer
        if by_addr and case.all_yes & bit:
            return Answer.YES  # the service's own name on the service's own address needs no further proof
        if by_addr and not case.named:
            return Answer.NOT_YET if case.seen.names_open else Answer.YES
        return by_name(case, bit, opening=True)
