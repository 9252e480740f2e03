"""`name:miui.com` is it and everything below; `name:=miui.com` exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from rules.hosts import normal
from rules.index import Atom, Case
from rules.matchers import ValueProblem
from rules.verdict import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence


def parse_pattern(text: str) -> str:
    """Raises ValueError in words for an owner."""
    if text.startswith("*."):
        raise ValueError(f"{text!r} is written {text[2:]!r} here: a name means it and everything below")
    exact = "=" if text.startswith("=") else ""
    name = normal(text.removeprefix("="))
    if name.rpartition(".")[2].isdigit():  # no top-level domain is a number (RFC 3696, 2)
        raise ValueError(f"{name!r} is an address, or no host name; addresses stand behind addr:")
    return exact + name


@dataclass(frozen=True, slots=True)
class NameMatcher:
    key: ClassVar[str] = "name"
    values: tuple[str, ...]

    @classmethod
    def parse(cls, values: Sequence[str]) -> Self:
        patterns = []
        for position, value in enumerate(values):
            try:
                patterns.append(parse_pattern(value))
            except ValueError as error:
                remedy = "write example.com, or =example.com for that host alone"
                raise ValueProblem(position, str(error), remedy) from None
        return cls(tuple(patterns))

    def atom(self) -> Atom:
        return Atom(names=self.values)

    def test(self, case: Case, bit: int, *, opening: bool) -> Answer:
        return by_name(case, bit, opening=opening)


def by_name(case: Case, bit: int, *, opening: bool) -> Answer:
    """What the names alone say about an atom."""
    if not opening:
        return Answer.YES if case.any_yes & bit else Answer.NOT_YET if case.any_open & bit else Answer.NO
    if case.listed and not case.proven & bit and not case.seen.names_open:
        return Answer.NO  # over a listed address what the flow says of itself opens nothing
    if case.all_yes & bit:
        unlisted_yet = case.seen.addr is None or case.seen.place is None  # it may turn out to be listed
        return Answer.NOT_YET if unlisted_yet and not case.proven & bit else Answer.YES
    return Answer.NOT_YET if case.all_open & bit else Answer.NO
