"""`phone:anna-pixel,"tv upstairs"`: the owner's name for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from rules.index import Atom
from rules.matchers import by_fact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rules.index import Case
    from rules.verdict import Answer


@dataclass(frozen=True, slots=True)
class PhoneMatcher:
    key: ClassVar[str] = "phone"
    values: tuple[str, ...]

    @classmethod
    def parse(cls, values: Sequence[str]) -> Self:
        return cls(tuple(values))

    def atom(self) -> Atom:
        return Atom(facts=tuple(("phone", value) for value in self.values))

    def test(self, case: Case, bit: int, *, opening: bool) -> Answer:  # noqa: ARG002  a phone has one name
        return by_fact(case, bit)
