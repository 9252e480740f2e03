"""The one language, for rules and for filters: `name:example.com -phone:tv port:443,8000-8100`.

A space means and, a comma inside a value means or, a leading `-` means not, quotes hold spaces and commas together (and
a quote, written twice).
Filters also know bare words, which rules do not: `xiaomi last:1h`.
What is printed can be parsed: `parse(str(expression)) == expression`.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

from rules.index import Index
from rules.matchers import Matcher, ValueProblem
from rules.matchers.addr import AddrMatcher
from rules.matchers.asn import AsnMatcher
from rules.matchers.country import CountryMatcher, OperatorCountryMatcher
from rules.matchers.group import GroupMatcher
from rules.matchers.history import (
    NONE,
    LastMatcher,
    RuleMatcher,
    RunByMatcher,
    ToMatcher,
    VerdictMatcher,
    WhereMatcher,
)
from rules.matchers.name import NameMatcher
from rules.matchers.operator import OperatorMatcher
from rules.matchers.phone import PhoneMatcher
from rules.matchers.port import PortMatcher
from rules.matchers.proto import ProtoMatcher
from rules.matchers.service import ServiceMatcher
from rules.matchers.via import ViaMatcher
from rules.matchers.word import WordMatcher
from rules.observation import NOWHERE
from rules.verdict import Answer

if TYPE_CHECKING:
    from collections.abc import Collection

    from rules.observation import Observation

IN_RULES: Final[dict[str, type[Matcher]]] = {
    matcher.key: matcher
    for matcher in (
        PhoneMatcher, GroupMatcher, NameMatcher, AddrMatcher, ServiceMatcher, CountryMatcher, OperatorCountryMatcher,
        OperatorMatcher, AsnMatcher, ProtoMatcher, PortMatcher, ViaMatcher,
    )
}
IN_FILTERS: Final[dict[str, type[Matcher]]] = IN_RULES | {
    matcher.key: matcher
    for matcher in (VerdictMatcher, RuleMatcher, ToMatcher, RunByMatcher, WhereMatcher, LastMatcher)
}
LONGEST, MOST_TERMS, MOST_VALUES = 4_096, 64, 256
_QUOTED: Final = frozenset(' ,"')


class ExpressionError(ValueError):
    """Where in the text something is wrong, what, and what would help. Positions count characters from 0."""

    def __init__(self, message: str, start: int, end: int, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Term:
    """One matcher, perhaps negated."""

    matcher: Matcher
    negated: bool = False

    @property
    def key(self) -> str:
        return self.matcher.key

    def __str__(self) -> str:
        colon, write = (":", quote) if self.key else ("", _in_quotes)  # a bare word may have a colon itself
        return f"{'-' if self.negated else ''}{self.key}{colon}{','.join(map(write, self.matcher.values))}"


@dataclass(frozen=True, slots=True)
class Expression:
    """Terms that must all match; none matches everything."""

    terms: tuple[Term, ...] = ()

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))


class Subject(Protocol):
    """A row of the live view or the history."""

    @property
    def seen(self) -> Observation: ...
    @property
    def verdict(self) -> str: ...
    @property
    def rule(self) -> str: ...
    @property
    def service(self) -> str: ...
    @property
    def to(self) -> str: ...
    @property
    def run_by(self) -> str: ...
    @property
    def shown(self) -> str:
        """Its texts, in which bare words are looked for."""
    @property
    def last(self) -> float: ...


@dataclass(frozen=True)
class Filter:
    """An expression about what was decided."""

    expression: Expression

    @cached_property
    def _index(self) -> tuple[Index, dict[int, int]]:
        """The index over the terms' atoms, and the bit of the term at each position."""
        atoms = [(at, atom) for at, term in enumerate(self.expression.terms) if (atom := term.matcher.atom())]
        return Index([atom for _, atom in atoms]), {at: 1 << bit for bit, (at, _) in enumerate(atoms)}

    def matches(self, subject: Subject, now: float) -> bool:
        """Names match if any source says so, as for a refusal. `now` in epoch seconds."""
        if not self.expression.terms:
            return True
        index, bits = self._index
        case = index.look_up(subject.seen, 0)
        for at, term in enumerate(self.expression.terms):
            match term.matcher:
                case WordMatcher() as matcher:
                    answer = matcher.found(subject.shown)
                case VerdictMatcher() as matcher:
                    answer = subject.verdict in matcher.words
                case ToMatcher(values=values):
                    answer = (subject.to or NONE) in values
                case RunByMatcher(values=values):
                    answer = (subject.run_by or NONE) in values
                case RuleMatcher(values=values):
                    answer = subject.rule in values
                case ServiceMatcher(values=values):
                    answer = (subject.service or NONE) in values
                case WhereMatcher(values=values):
                    answer = ((subject.seen.place or NOWHERE).country or NONE) in values
                case LastMatcher() as matcher:
                    answer = subject.last >= now - matcher.seconds
                case matcher:
                    answer = matcher.test(case, bits.get(at, 0), opening=False) is Answer.YES
            if answer is term.negated:
                return False
        return True

    def since(self, now: float) -> float | None:
        """No row that was last seen before this matches; None if any age may."""
        terms = self.expression.terms
        spans = [t.matcher.seconds for t in terms if isinstance(t.matcher, LastMatcher) and not t.negated]
        return now - min(spans) if spans else None

    def phones(self) -> frozenset[str] | None:
        """Only rows of these phones match; None if any may."""
        terms = self.expression.terms
        return _common([frozenset(t.matcher.values) for t in terms if t.key == "phone" and not t.negated])

    def verdicts(self) -> frozenset[str] | None:
        """Only rows with these verdicts match; None if any may."""
        terms = self.expression.terms
        return _common([t.matcher.words for t in terms if isinstance(t.matcher, VerdictMatcher) and not t.negated])


def parse_rule(text: str, services: Collection[str] | None = None) -> Expression:
    """Raises ExpressionError; also for a service that is not among `services`, where they are given."""
    return _parse(text, IN_RULES, services)


def parse_filter(text: str) -> Filter:
    """All terms, and bare words. Raises ExpressionError."""
    return Filter(parse_narrowing(text, IN_FILTERS))


def parse_narrowing(text: str, known: Collection[str]) -> Expression:
    """A filter of rows that have no more than the `known` terms; and bare words. Raises ExpressionError."""
    return _parse(text, {key: IN_FILTERS[key] for key in known} | {WordMatcher.key: WordMatcher}, None)


def _common(sets: list[frozenset[str]]) -> frozenset[str] | None:
    return frozenset.intersection(*sets) if sets else None


def quote(value: str) -> str:
    """A value as it is written: in quotes where it needs them, a quote inside doubled."""
    if value and _QUOTED.isdisjoint(value):
        return value
    return _in_quotes(value)


def _in_quotes(value: str) -> str:
    return '"{}"'.format(value.replace('"', '""'))


def _parse(text: str, matchers: dict[str, type[Matcher]], services: Collection[str] | None) -> Expression:
    if len(text) > LONGEST:
        raise ExpressionError(f"longer than {LONGEST} characters", LONGEST, len(text), "use several rules")
    terms: list[Term] = []
    at = 0
    while True:
        while at < len(text) and text[at] == " ":
            at += 1
        if at == len(text):
            return Expression(tuple(terms))
        if len(terms) == MOST_TERMS:
            raise ExpressionError(f"more than {MOST_TERMS} terms", at, len(text), "use several rules")
        term, at = _term(text, at, matchers, services)
        terms.append(term)


def _term(
    text: str, at: int, matchers: dict[str, type[Matcher]], services: Collection[str] | None
) -> tuple[Term, int]:
    """The term that begins at `at`, and where the next one may begin."""
    negated = text[at] == "-"
    start = at + negated
    colon = start
    while colon < len(text) and text[colon] not in ': "':
        colon += 1
    key = text[start:colon]
    if colon == len(text) or text[colon] != ":":
        if WordMatcher.key in matchers:
            words, _, end = _values(text, start)
            return Term(WordMatcher.parse(words), negated), end
        raise ExpressionError(f"{key!r} is no term", start, colon, _suggest(key, matchers, "a term reads key:value"))
    matcher = matchers.get(key) if key else None
    if matcher is None:
        raise _unknown(key, start, colon, matchers)
    values, places, end = _values(text, colon + 1)
    try:
        parsed = matcher.parse(values)
    except ValueProblem as problem:
        place = places[min(problem.position, len(places) - 1)]
        raise ExpressionError(problem.message, *place, problem.remedy) from None
    if matcher is ServiceMatcher and services is not None:
        for value, place in zip(values, places, strict=True):
            if value not in services:
                known = f"known services: {', '.join(services)}"
                raise ExpressionError(f"unknown service {value!r}", *place, _suggest(value, services, known, "{}?"))
    return Term(parsed, negated), end


def _unknown(key: str, start: int, end: int, matchers: dict[str, type[Matcher]]) -> ExpressionError:
    terms = list(filter(None, matchers))
    known = f"known terms: {', '.join(terms)}"
    if WordMatcher.key in matchers:
        known = f"known here: {', '.join(terms)}; a word with a colon stands in quotes"
        if key in IN_FILTERS:
            return ExpressionError(f"{key}: asks for what no row here has", start, end, known)
    elif key in IN_FILTERS:
        known = f"{key}: filters the history and the live view; rules know {', '.join(terms)}"
    return ExpressionError(f"unknown term {key!r}", start, end, _suggest(key, terms, known))


def _values(text: str, at: int) -> tuple[list[str], list[tuple[int, int]], int]:
    """Values separated by commas, with their places; each bare or in quotes."""
    values, places = [], []
    while True:
        if at < len(text) and text[at] == '"':
            end = text.find('"', at + 1)
            while end >= 0 and text[end + 1 : end + 2] == '"':
                end = text.find('"', end + 2)
            if end < 0:
                raise ExpressionError("a quote that is not closed", at, len(text), 'close it with "')
            value, after = text[at + 1 : end].replace('""', '"'), end + 1
        else:
            after = at
            while after < len(text) and text[after] not in ' ,"':
                after += 1
            value = text[at:after]
        if not value:
            start = max(at - 1, 0)  # a bare word has nothing before it
            raise ExpressionError("a value is missing", start, after + 1, "write one behind the colon or comma")
        if not value.isprintable():
            raise ExpressionError("a value with a character that cannot be seen", at, after, "remove it")
        values.append(value)
        places.append((at, after))
        if len(values) > MOST_VALUES:
            raise ExpressionError(f"more than {MOST_VALUES} values", at, after, "use several rules")
        if after == len(text) or text[after] == " ":
            return values, places, after
        if text[after] != ",":
            raise ExpressionError("a space or a comma is missing", after, after + 1, "values are separated by commas")
        at = after + 1


def _suggest(word: str, known: Collection[str], otherwise: str, form: str = "{}:?") -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {form.format(close[0])}" if close else otherwise
