"""What many rows come to: tries per hour, and groups of rows by what they share."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from firewall.history.search import Search

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from rules.expression import Filter

HOUR: Final = 3_600
SECONDS: Final = 4.0  # then what has been summed up is told, and since when
LOOK: Final = 256  # subjects between two looks at the clock
BY: Final = {  # what rows are grouped by, and where it stands
    "phone": "k.phone", "service": "k.service", "rule": "k.rule", "country": "k.country",
    "name": "CASE s.name WHEN '' THEN s.dst ELSE s.name END",
    "operator": "CASE k.operator WHEN '' THEN s.organisation ELSE k.operator END",
}
WORDS: Final = ("allow", "ask", "block", "consent", "watch")

Total = tuple[int, int, int, int, int, int, float]  # subject, bucket, rows, tries, up, down, newest


@dataclass(slots=True)
class Group:
    """Rows that share `key`. Numbers are tries; bytes as conntrack counts."""

    key: str
    count: int = 0
    verdicts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    phones: set[str] = field(default_factory=set)
    up: int = 0
    down: int = 0
    last: float = 0.0

    def to_json(self) -> dict[str, Any]:
        words = self.verdicts
        return {
            "key": self.key, "title": self.key, "count": self.count, "refused": words["ask"] + words["block"],
            "allowed": words["allow"], "consented": words["consent"], "watched": words["watch"],
            "phones": len(self.phones), "up": self.up, "down": self.down, "last": self.last,
            "verdicts": {word: words[word] for word in WORDS},
        }


class Sums:
    """One filter on one open database. Sums up from now backwards; `since` says how far back it has come."""

    def __init__(self, db: sqlite3.Connection, wanted: Filter, now: float, seconds: float = SECONDS) -> None:
        self._db = db
        self._wanted = wanted
        self._now = now
        self._search = Search(db, wanted, now)
        self._until = time.monotonic() + seconds
        self.since: float | None = None  # None: all of it

    def hours(self, hours: int) -> list[dict[str, Any]]:
        """Tries by verdict in each of the last hours, oldest first; the running one is the last."""
        end = int(self._now // HOUR + 1) * HOUR
        begin = end - hours * HOUR
        told = {hour: dict.fromkeys(WORDS, 0) for hour in range(begin, end, HOUR)}
        known: dict[int, str] = {}
        for subject, hour, _, tries, *_ in self._totals(begin, end):
            if subject not in known:
                known[subject] = self._facts(subject, "k.verdict")[0]
            if known[subject] in WORDS and hour * HOUR in told:
                told[hour * HOUR][known[subject]] += tries
        for hour, tries in self._forgotten(begin):
            told[hour]["allow"] += tries
        return [{"hour": hour, **words} for hour, words in told.items()]

    def groups(self, by: str) -> list[dict[str, Any]]:
        """The largest first."""
        groups: dict[str, Group] = {}
        known: dict[int, tuple[str, str, str]] = {}
        for subject, _, _, tries, up, down, last in self._totals(0.0, self._now + HOUR):
            if subject not in known:
                known[subject] = self._facts(subject, f"{BY[by]}, k.verdict, k.phone")
            key, verdict, phone = known[subject]
            group = groups.get(key or "")
            if group is None:
                group = groups[key or ""] = Group(key or "")
            group.count += tries
            group.verdicts[verdict] += tries
            group.phones.add(phone)
            group.up += up
            group.down += down
            group.last = max(group.last, last)
        return [group.to_json() for group in sorted(groups.values(), key=lambda group: (-group.count, group.key))]

    def _totals(self, begin: float, end: float) -> Iterator[Total]:
        """In spans of time that grow; a span that was not finished in time is left out."""
        oldest = self._db.execute("SELECT min(last) FROM episodes").fetchone()[0]
        if oldest is None:
            return
        begin = max(begin, float(oldest))
        span, upper = 6.0 * HOUR, end
        while upper > begin:
            lower = max(begin, upper - span)
            some: list[Total] = []
            for total in self._search.totals(lower, upper, HOUR):
                some.append(total)
                if len(some) % LOOK == 0 and time.monotonic() > self._until:
                    self.since = upper
                    return
            yield from some
            upper, span = lower, span * 2
            if upper > begin and time.monotonic() > self._until:
                self.since = upper
                return

    def _facts(self, subject: int, columns: str) -> tuple[Any, ...]:
        select = f"SELECT {columns} FROM subjects s CROSS JOIN kinds k ON k.id = s.kind WHERE s.id = ?"  # noqa: S608
        found: tuple[Any, ...] = self._db.execute(select, (subject,)).fetchone()
        return found

    def _forgotten(self, begin: float) -> Iterator[tuple[int, int]]:
        """Allowed tries whose rows are gone: they can be told where only phones, verdicts and ages are asked for."""
        wanted = self._wanted
        verdicts, phones, lower = wanted.verdicts(), wanted.phones(), wanted.since(self._now)
        terms = wanted.expression.terms
        if any(term.negated or term.key not in {"phone", "verdict", "last"} for term in terms):
            return
        if verdicts is not None and "allow" not in verdicts:
            return
        for hour, phone, tries in self._db.execute(
            "SELECT hour, phone, sum(count) FROM counts WHERE hour >= ? GROUP BY 1, 2", (max(begin, lower or 0.0),)
        ):
            if (phones is None or phone in phones) and hour <= self._now:
                yield hour, tries
