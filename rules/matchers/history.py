"""`verdict:refused rule:xiaomi/1 last:1h`: terms about what was decided. They stand in filters only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from rules.matchers import ValueProblem
from rules.matchers.country import CountryMatcher
from rules.verdict import Answer, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rules.index import Case

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_SPAN = re.compile(r"([1-9][0-9]{0,5})([smhd])")
REFUSED = "refused"
NONE = "none"  # of what a row may be without


@dataclass(frozen=True, slots=True)
class VerdictMatcher:
    key: ClassVar[str] = "verdict"
    values: tuple[str, ...]

    @classmethod
    def parse(cls, values: Sequence[str]) -> Self:
        words = (*(str(verdict) for verdict in Verdict), REFUSED)
        for position, value in enumerate(values):
            if value not in words:
                raise ValueProblem(position, f"{value!r} is no verdict", f"one of {', '.join(words)}")
        return cls(tuple(values))

    @property
    def words(self) -> frozenset[str]:
        """The verdicts meant, with `refused` spelt out."""
        refusals = {str(verdict) for verdict in Verdict if verdict.refuses} if REFUSED in self.values else set()
        return frozenset({value for value in self.values if value != REFUSED} | refusals)

    def atom(self) -> None:
        return None

    def test(self, case: Case, bit: int, *, opening: bool) -> Answer:  # noqa: ARG002
        return Answer.NO  # a filter asks `words`


@dataclass(frozen=True, slots=True)
class RuleMatcher:
    key: ClassVar[str] = "rule"
    values: tuple[str, ...]

    @classmethod
    def parse(cls, values: Sequence[str]) -> Self:
        return cls(tuple(values))

    def atom(self) -> None:
        return None

    def test(self, case: Case, bit: int, *, opening: bool) -> Answer:  # noqa: ARG002
        return Answer.NO  # a filter asks `values`


@dataclass(frozen=True, slots=True)
class ToMatcher(RuleMatcher):
    """What it went to as its row tells it: its one best name, nothing below; where none is known its address."""

    key: ClassVar[str] = "to"


@dataclass(frozen=True, slots=True)
class RunByMatcher(RuleMatcher):
    """Who runs the far end as its row tells it: an operator's word, else what the database calls the network."""

    key: ClassVar[str] = "run-by"


@dataclass(frozen=True, slots=True)
class WhereMatcher(CountryMatcher):
    """`country:` as a row tells it, which may have none."""

    besides: ClassVar[frozenset[str]] = frozenset((NONE,))


@dataclass(frozen=True, slots=True)
class LastMatcher:
    key: ClassVar[str] = "last"
    values: tuple[str, ...]

    @classmethod
    def parse(cls, values: Sequence[str]) -> Self:
        if len(values) != 1:
            raise ValueProblem(1, "one span is enough", "write last:1h")
        if not _SPAN.fullmatch(values[0]):
            raise ValueProblem(0, f"{values[0]!r} is no span of time", "write 90s, 15m, 1h or 7d")
        return cls(tuple(values))

    @property
    def seconds(self) -> int:
        return int(self.values[0][:-1]) * SECONDS[self.values[0][-1]]

    def atom(self) -> None:
        return None

    def test(self, case: Case, bit: int, *, opening: bool) -> Answer:  # noqa: ARG002
        return Answer.NO  # a filter asks `seconds`
