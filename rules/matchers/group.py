"""`group:kids,strict`: phones that their owner has put together; `strict` are those that nobody has named yet."""

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
class GroupMatcher:
    key: ClassVar[str] = "group"
    values: tuple[str, ...]

    @classmethod
    def parse(cls, values: Sequence[str]) -> Self:
        return cls(tuple(values))

    def atom(self) -> Atom:
        return Atom(facts=tuple(("group", value) for value in self.values))

    def test(self, case: Case, bit: int, *, opening: bool) -> Answer:  # noqa: ARG002  a phone has one group
        return by_fact(case, bit)
