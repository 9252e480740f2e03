"""Filters of rows that are no flows: questions, phones, consents, rules. The language's terms, and bare words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rules.expression import Expression, Filter, Term
from rules.matchers.addr import AddrMatcher
from rules.matchers.history import RuleMatcher
from rules.matchers.name import NameMatcher
from rules.matchers.word import WordMatcher

if TYPE_CHECKING:
    from rules.matchers import Matcher
    from rules.observation import Observation


class Row(Protocol):
    @property
    def shown(self) -> str:
        """Its texts, in which bare words are looked for."""

    def has(self, matcher: Matcher, now: float) -> bool:
        """Whether the term holds, were it not negated. `now` in epoch seconds."""


@dataclass(frozen=True)
class RowFilter:
    expression: Expression

    def matches(self, row: Row, now: float) -> bool:
        for term in self.expression.terms:
            matcher = term.matcher
            answer = matcher.found(row.shown) if isinstance(matcher, WordMatcher) else row.has(matcher, now)
            if answer is term.negated:
                return False
        return True


class Facts(NamedTuple):
    """What a row knows, as a decision that was made (rules.expression.Subject)."""

    seen: Observation
    service: str = ""
    rule: str = ""
    last: float = 0.0
    verdict: str = ""
    shown: str = ""
    to: str = ""
    run_by: str = ""


class KnownRow(NamedTuple):
    """A row with facts: judged as a row of the history is. Several facts: a phone has several addresses."""

    shown: str
    facts: tuple[Facts, ...]

    def has(self, matcher: Matcher, now: float) -> bool:
        return any(_alone(Term(matcher)).matches(one, now) for one in self.facts)


class SpokenRow(NamedTuple):
    """A row that is itself written in the language, a rule or a consent: it has no flow, but speaks of things."""

    shown: str
    expression: Expression
    rule: str = ""  # its id

    def has(self, matcher: Matcher, now: float) -> bool:  # noqa: ARG002  what is written has no time
        if isinstance(matcher, RuleMatcher):
            return self.rule in matcher.values
        return any(_meet(matcher, term.matcher) for term in self.expression.terms)


def _meet(asked: Matcher, written: Matcher) -> bool:
    """Whether both speak of the same: names and networks also where one holds the other."""
    if asked.key != written.key:
        return False
    if isinstance(asked, NameMatcher):
        return any(_below(one, two) or _below(two, one) for one in asked.values for two in written.values)
    if isinstance(asked, AddrMatcher) and isinstance(written, AddrMatcher):
        return any(
            len(one[0]) == len(two[0]) and one[0] <= two[1] and two[0] <= one[1]
            for one in asked.networks for two in written.networks
        )
    return not set(asked.values).isdisjoint(written.values)


def _below(name: str, pattern: str) -> bool:
    """Whether the pattern means the name; `=` before a pattern leaves out what is below it."""
    name = name.removeprefix("=")
    return name == pattern.removeprefix("=") or name.endswith(f".{pattern}")


@lru_cache(64)
def _alone(term: Term) -> Filter:
    """Compiled once for all rows."""
    return Filter(Expression((term,)))
