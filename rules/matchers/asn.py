"""`asn:4538,AS45102`: whose network the address belongs to, by the number that routers know it by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from rules.index import Atom
from rules.matchers import ValueProblem, by_fact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rules.index import Case
    from rules.verdict import Answer

LARGEST = (1 << 32) - 1  # RFC 6793


@dataclass(frozen=True, slots=True)
class AsnMatcher:
    key: ClassVar[str] = "asn"
    numbers: tuple[int, ...]

    @classmethod
    def parse(cls, values: Sequence[str]) -> Self:
        numbers = []
        for position, value in enumerate(values):
            digits = value.upper().removeprefix("AS")
            if not (digits.isascii() and digits.isdigit() and len(digits) <= 10 and 0 < int(digits) <= LARGEST):
                remedy = "write 4538 or AS4538; operators by their names stand behind operator:"
                raise ValueProblem(position, f"{value!r} is no AS number", remedy)
            numbers.append(int(digits))
        return cls(tuple(numbers))

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(map(str, self.numbers))

    def atom(self) -> Atom:
        return Atom(facts=tuple(("asn", number) for number in self.numbers))

    def test(self, case: Case, bit: int, *, opening: bool) -> Answer:  # noqa: ARG002
        return by_fact(case, bit)
