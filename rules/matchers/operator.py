"""`operator:alibaba,tencent`: who runs the network, by the sets in rules/operators.py."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from rules.index import Atom
from rules.matchers import ValueProblem, by_fact
from rules.operators import OPERATORS
from rules.verdict import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rules.index import Case


@dataclass(frozen=True, slots=True)
class OperatorMatcher:
    key: ClassVar[str] = "operator"
    values: tuple[str, ...]

    @classmethod
    def parse(cls, values: Sequence[str]) -> Self:
        for position, value in enumerate(values):
            if value.lower() not in OPERATORS:
                close = difflib.get_close_matches(value.lower(), OPERATORS, n=1)
                known = f"known operators: {', '.join(OPERATORS)}; others by number, behind asn:"
                remedy = f"did you mean {close[0]}?" if close else known
                raise ValueProblem(position, f"unknown operator {value!r}", remedy)
        return cls(tuple(value.lower() for value in values))

    def atom(self) -> Atom:
        parts = [OPERATORS[value].atom() for value in self.values]
        networks = tuple(network for part in parts for network in part.networks)
        return Atom(networks=networks, facts=tuple(fact for part in parts for fact in part.facts))

    def test(self, case: Case, bit: int, *, opening: bool) -> Answer:
        # its networks are known without the database
        return Answer.YES if case.lies(bit, opening=opening) else by_fact(case, bit)
