"""Finding rows: a filter is judged once for each subject, and indexes are walked from the newest row down.

Whatever is asked, a page takes no longer than its time: rows that are rare among very many different things are looked
for on the next page, and `more` says from where.
"""

from __future__ import annotations

import heapq
import math
import time
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from firewall.history.rows import WHOLE, episode, ranges
from rules.expression import Expression, Filter
from rules.matchers.history import LastMatcher
from rules.observation import Observation, Place

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from firewall.episode import Episode

OF_KINDS: Final = frozenset(("phone", "group", "verdict", "service", "rule", "country", "operator-country"))
MOST_SUBJECTS: Final = 1_000  # that are walked one by one
MOST_KINDS: Final = 300
FEW, MANY = 8, 512  # rows of a walk that are fetched at once
PAGE_SECONDS: Final = 0.12
LOOK: Final = 64  # rows between two looks at the clock

Step = tuple[float, int, int]  # last, id, subject


class Cursor(NamedTuple):
    """A page ends here; the next one has only what is older."""

    last: float
    id: int

    def __str__(self) -> str:
        return f"{self.last!r}:{self.id}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Raises ValueError."""
        last, _, number = text.partition(":")
        return cls(float(last), int(number))


@dataclass(frozen=True)
class Page:
    rows: list[Episode]
    more: Cursor | None  # None: there are no others


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind as a filter sees a row. What it asks of a kind needs no more than this."""

    seen: Observation
    verdict: str
    rule: str
    service: str
    to: str = ""
    run_by: str = ""
    shown: str = ""
    last: float = 0.0


class Search:
    """One filter on one open database. `now` in epoch seconds."""

    def __init__(self, db: sqlite3.Connection, wanted: Filter, now: float) -> None:
        self._db = db
        terms = [term for term in wanted.expression.terms if not isinstance(term.matcher, LastMatcher)]
        self._ages = [term for term in wanted.expression.terms if isinstance(term.matcher, LastMatcher)]
        self._terms = terms
        self._filter = Filter(Expression(tuple(terms)))
        self._now = now
        self._judged: dict[int, bool] = {}
        self._sure = not terms  # whatever is walked over matches

    def page(
        self, limit: int, before: Cursor | None = None, seconds: float | None = PAGE_SECONDS, skip: Iterable[int] = ()
    ) -> Page:
        """The newest `limit` rows older than `before`, without those in `skip`. Raises sqlite3.Error."""
        skipped = frozenset(skip)
        until = None if seconds is None else time.monotonic() + seconds
        rows: list[Episode] = []
        walk = self._walk(before)
        for passed, (last, number, subject) in enumerate(walk, 1):
            known = self._sure or self._judged.get(subject)
            if known is not False and number not in skipped:
                row = episode(self._db.execute(f"{WHOLE} WHERE e.id = ?", (number,)).fetchone())
                if known is None:
                    known = self._judged[subject] = self._filter.matches(row, self._now)
                if known and len(rows) == limit:
                    return Page(rows, Cursor(rows[-1].last, rows[-1].id))
                if known:
                    rows.append(row)
            if until is not None and passed % LOOK == 0 and time.monotonic() > until:
                return Page(rows, Cursor(last, number))
        return Page(rows, None)

    def totals(self, since: float, until: float, bucket: float) -> Iterator[tuple[int, int, int, int, int, int, float]]:
        """Subject, bucket of time, rows, tries, bytes up and down, newest: of what matches between two times."""
        lower, upper = self._bounds()
        since, until = max(since, lower), min(until, upper)
        where, values = "", list[Any]([bucket, since, until])
        kinds = self._kinds
        if kinds is not None and len(kinds) <= MOST_KINDS:
            where = f" AND kind IN ({', '.join(map(str, kinds))})"
        subjects = self._subjects
        if subjects is not None:
            where = f" AND subject IN ({', '.join(map(str, subjects))})"
        select = (
            "SELECT subject, CAST(last / ? AS INTEGER), count(*), sum(count), sum(bytes_up), sum(bytes_down), "  # noqa: S608
            f"max(last) FROM episodes WHERE last >= ? AND last < ?{where} GROUP BY 1, 2"
        )
        return (row for row in self._db.execute(select, values) if self._matches(row[0]))

    # ------------------------------------------------------------------------------------------------------------------

    def _bounds(self) -> tuple[float, float]:
        """`last:` as a span of time."""
        seconds = [(term.negated, term.matcher.seconds) for term in self._ages if isinstance(term.matcher, LastMatcher)]
        lower = max((self._now - span for negated, span in seconds if not negated), default=0.0)
        upper = min((self._now - span for negated, span in seconds if negated), default=float("inf"))
        return lower, upper

    def _walk(self, before: Cursor | None) -> Iterator[Step]:
        """All rows that may match, newest first."""
        kinds = self._kinds
        if kinds is not None and not kinds:
            return iter(())
        subjects = self._subjects
        if subjects is not None:
            return _merged(self._one_by_one("subject", subject, before) for subject in subjects)
        if kinds is not None and len(kinds) <= MOST_KINDS:
            self._sure = all(term.key in OF_KINDS for term in self._terms)
            return _merged(self._one_by_one("kind", kind, before) for kind in kinds)
        return self._one_by_one("", 0, before)

    def _one_by_one(self, column: str, value: int, before: Cursor | None) -> Iterator[Step]:
        """The rows of one kind or subject, or all, newest first.

        In pieces, a few at first: each piece is one statement that ends, and is prepared once for all the walks.
        """
        lower, upper = self._bounds()
        after = Cursor(upper, 0) if before is None or upper < before.last else before
        which = f"{column} = ? AND " if column else ""
        select = (
            f"SELECT last, id, subject FROM episodes WHERE {which}last >= ? AND last <= ? AND (last, id) < (?, ?) "  # noqa: S608
            "ORDER BY last DESC, id DESC LIMIT ?"
        )
        some = FEW if column else MANY
        while True:
            values = ([value] if column else []) + [lower, after.last, *after, some]
            steps = self._db.execute(select, values).fetchall()
            yield from steps
            if len(steps) < some:
                return
            after = Cursor(steps[-1][0], steps[-1][1])
            some = min(some * 8, MANY)

    def _matches(self, subject: int) -> bool:
        if not self._terms:
            return True
        known = self._judged.get(subject)
        if known is None:
            self._judge((subject,))
            known = self._judged[subject]
        return known

    def _judge(self, subjects: Iterable[int]) -> None:
        for subject in subjects:
            select = f"{_SUBJECTS} WHERE s.id = ?"
            rows = [episode(row) for row in self._db.execute(select, (subject,))]
            self._judged[subject] = bool(rows) and self._filter.matches(rows[0], self._now)

    @cached_property
    def _kinds(self) -> list[int] | None:
        """The kinds whose rows may match; None: all of them."""
        terms = tuple(term for term in self._terms if term.key in OF_KINDS)
        if not terms:
            return None
        asked = Filter(Expression(terms))
        columns = "id, phone, team, verdict, service, rule, proto, country, operator_country"
        rows = self._db.execute(f"SELECT {columns} FROM kinds").fetchall()  # noqa: S608
        found = [row[0] for row in rows if asked.matches(_kind(row), self._now)]
        return None if len(found) == len(rows) else found

    @cached_property
    def _found(self) -> list[int] | None:
        best: list[int] | None = None
        for term in self._terms:
            spans = None if term.negated else ranges(term.matcher)
            if spans is None:
                continue
            found: set[int] = set()
            for span in spans:
                select = "SELECT subject FROM keys WHERE key >= ? AND key <= ? LIMIT ?"
                found.update(map(itemgetter(0), self._db.execute(select, (*span, MOST_SUBJECTS + 1))))
                if len(found) > MOST_SUBJECTS:
                    break
            if len(found) <= MOST_SUBJECTS and (best is None or len(found) < len(best)):
                best = sorted(found)
        return best

    @cached_property
    def _subjects(self) -> list[int] | None:
        """The subjects that match, if keys lead to so few that they can be looked at one by one."""
        if self._found is None:
            return None
        return [subject for subject in self._found if self._matches(subject)]


_SUBJECTS: Final = (
    "SELECT 0, 0.0, 0.0, k.phone, k.team, k.verdict, k.service, k.rule, k.proto, k.via, k.country, k.operator_country, "
    "k.operator, s.dst, s.dport, s.name, s.names, s.answered, s.asn, s.organisation, s.reason, '', 0, 0, 0, 0, '{}', "
    "k.consent, k.signs FROM subjects s CROSS JOIN kinds k ON k.id = s.kind"
)


def _kind(row: tuple[Any, ...]) -> _Kind:
    _, phone, group, verdict, service, rule, proto, country, operator_country = row
    somewhere = None if proto == "dns" else bytes(4)  # a refused question has no place
    seen = Observation(phone, None, somewhere, None, group=group, place=Place(country, operator_country))
    return _Kind(seen, verdict, rule, service)


def _merged(walks: Iterable[Iterator[Step]]) -> Iterator[Step]:
    return heapq.merge(*walks, key=itemgetter(0, 1), reverse=True)


def seen_before(
    db: sqlite3.Connection, since: float, cursor: Cursor | None, limit: int
) -> list[tuple[float, int, int, int]]:
    """Of rows last seen since then and before the cursor, newest first: last, id, subject, count."""
    edge = cursor or Cursor(math.inf, 0)
    return db.execute(
        "SELECT last, id, subject, count FROM episodes INDEXED BY by_last WHERE last >= ? AND (last, id) < (?, ?) "
        "ORDER BY last DESC, id DESC LIMIT ?", (since, *edge, limit),
    ).fetchall()


def one_row(db: sqlite3.Connection, number: int) -> Episode | None:
    found = db.execute(f"{WHOLE} WHERE e.id = ?", (number,)).fetchone()
    return episode(found) if found else None

