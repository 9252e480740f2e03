"""`printer`, `"anna's phone"`: a bare word. It stands in filters only, and is looked for in what a row shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from rules.verdict import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rules.index import Case


@dataclass(frozen=True, slots=True)
class WordMatcher:
    """Has no key: it stands alone."""

    key: ClassVar[str] = ""
    values: tuple[str, ...]

    @classmethod
    def parse(cls, values: Sequence[str]) -> Self:
        return cls(tuple(values))

    def found(self, text: str) -> bool:
        """Whether one of the words is somewhere in it, in whatever case."""
        folded = text.casefold()
        return any(value.casefold() in folded for value in self.values)

    def atom(self) -> None:
        return None

    def test(self, case: Case, bit: int, *, opening: bool) -> Answer:  # noqa: ARG002
        return Answer.NO  # a filter asks `found`
