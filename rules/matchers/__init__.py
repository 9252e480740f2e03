"""The terms of the rule language, one file each.

A matcher is a value: it parses from the text behind its key, prints back what it parsed from, and answers for a case.
`opening` tells whose question it is: an allow rule opens, everything else closes (decisions.md 2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, Self

from rules.verdict import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rules.index import Atom, Case


class ValueProblem(ValueError):  # noqa: N818  it is what is wrong with a value, and never leaves the parser
    """One of a term's values cannot be used."""

    def __init__(self, position: int, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.position = position  # of the value in the list
        self.message = message
        self.remedy = remedy


class Matcher(Protocol):
    """`bit` is that of the matcher's atom in the index, 0 if it has none."""

    key: ClassVar[str]

    @classmethod
    def parse(cls, values: Sequence[str]) -> Self:
        """Raises ValueProblem."""

    @property
    def values(self) -> tuple[str, ...]:
        """What `parse` reads, normalised."""

    def atom(self) -> Atom | None: ...

    def test(self, case: Case, bit: int, *, opening: bool) -> Answer: ...


def by_fact(case: Case, bit: int) -> Answer:
    """The answer of a term whose atom has facts of the phone, of the place or of how the name was learnt."""
    if case.facts & bit:
        return Answer.YES
    if case.broken & bit:
        return Answer.BROKEN
    return Answer.NOT_YET if case.facts_open & bit else Answer.NO


def known(fact: object, matches: bool) -> Answer:  # noqa: FBT001  reads as "known(fact, answer)"
    """The answer of a term about one fact that may still be missing."""
    if fact is None:
        return Answer.NOT_YET
    return Answer.YES if matches else Answer.NO
