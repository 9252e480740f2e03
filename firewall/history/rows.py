"""Episodes as rows: what of them stands in which table, and back."""

from __future__ import annotations

import json
from hashlib import blake2b
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from firewall.episode import Episode
from firewall.history.schema import OLD_ROWS
from rules.matchers.addr import AddrMatcher
from rules.matchers.history import NONE, ToMatcher
from rules.matchers.name import NameMatcher
from rules.matchers.port import PortMatcher
from rules.networks import beside, embedded
from rules.observation import Name, Place, Sign, Source

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from rules.matchers import Matcher

# What `whole` selects. A seal hashes exactly this, in this order, without what is empty at its end: a change here is a
# new form of the seals.
COLUMNS: Final = (
    "e.id", "e.first", "e.last", "k.phone", "k.team", "k.verdict", "k.service", "k.rule", "k.proto", "k.via",
    "k.country", "k.operator_country", "k.operator", "s.dst", "s.dport", "s.name", "s.names", "s.answered", "s.asn",
    "s.organisation", "s.reason", "e.src", "e.revision", "e.count", "e.bytes_up", "e.bytes_down", "e.tries",
    "k.consent", "k.signs",
)
ADDED: Final = 2  # of the last columns: rows that have nothing in them are what they were before there were any
VERDICT: Final = COLUMNS.index("k.verdict")
WHOLE: Final = (
    f"SELECT {', '.join(COLUMNS)} FROM episodes e CROSS JOIN subjects s ON s.id = e.subject "  # noqa: S608
    "CROSS JOIN kinds k ON k.id = s.kind "
)
CACHED: Final = 20_000  # subjects whose numbers the writer remembers

_KIND: Final = "INSERT INTO kinds VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SUBJECT: Final = "INSERT INTO subjects VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT: Final = (
    "INSERT INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
    "last = excluded.last, count = excluded.count, "
    "bytes_up = excluded.bytes_up, bytes_down = excluded.bytes_down, tries = excluded.tries"
)
_UPDATE: Final = "UPDATE episodes SET last = ?, count = ?, bytes_up = ?, bytes_down = ?, tries = ? WHERE id = ?"
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Shelf:
    """Puts rows into one open database, and remembers what stands there. After an error a new one is needed."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._kinds: dict[tuple[Any, ...], int] = {}
        self._subjects: dict[tuple[Any, ...], tuple[int, int]] = {}
        self._there: set[int] = set()  # rows that may still grow
        self.sealed = int(db.execute("SELECT coalesce(max(rows), 0) FROM seals").fetchone()[0])

    def put(self, rows: Iterable[Episode]) -> int:
        """Within a transaction. Rows that a seal covers never change: the answer is how many were such."""
        new, grown, refused = [], [], 0
        for row in rows:
            if row.id <= self.sealed:
                refused += 1
            elif row.id in self._there:
                grown.append((row.last, row.count, row.bytes_up, row.bytes_down, _json(row.tries), row.id))
            else:
                subject, kind = self._subject(row)
                new.append((
                    row.id, subject, kind, row.first, row.last, row.src, row.revision, row.count, row.bytes_up,
                    row.bytes_down, _json(row.tries),
                ))
        self._db.executemany(_INSERT, new)
        self._db.executemany(_UPDATE, grown)
        self._there.update(values[0] for values in new)
        return refused

    def seal(self, rows: int) -> None:
        """Up to this id they are sealed."""
        self.sealed = rows
        self._there = {number for number in self._there if number > rows}

    def forget(self) -> None:
        """Kinds and subjects have been removed from the database."""
        self._kinds.clear()
        self._subjects.clear()

    def _subject(self, row: Episode) -> tuple[int, int]:
        place = row.place
        kind = (
            row.phone, row.group, row.verdict, row.service, row.rule, row.proto, row.via, place.country,
            place.operator_country, row.operator, row.consent, ",".join(row.signs),
        )
        rest = (row.dst, row.dport, row.name, row.names, row.answered, place.asn, place.organisation, row.reason)
        known = self._subjects.get((kind, rest))
        if known is None:
            number = self._kinds.get(kind)
            if number is None:
                number = self._kinds[kind] = self._find("kinds", _KIND, kind)[0]
            stored = (number, *rest[:3], _json([name._asdict() for name in row.names]), _json(row.answered), *rest[5:])
            subject, added = self._find("subjects", _SUBJECT, stored)
            if added:
                self._db.executemany("INSERT OR IGNORE INTO keys VALUES (?, ?)", [
                    (key, subject) for key in keys(row.dst, row.dport, hosts(row.names, row.answered))
                ])
            if len(self._subjects) >= CACHED:
                self._subjects.clear()
            known = self._subjects[kind, rest] = subject, number
        return known

    def _find(self, table: str, insert: str, values: tuple[Any, ...]) -> tuple[int, bool]:
        """The number of these values, and whether they are new."""
        meant = values if table != "kinds" else as_it_was(values)
        digest = blake2b(_json(meant).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        found = self._db.execute(f"SELECT id FROM {table} WHERE digest = ?", (digest,)).fetchone()  # noqa: S608
        if found:
            return int(found[0]), False
        return int(self._db.execute(insert, (digest, *values)).lastrowid or 0), True


def episode(row: tuple[Any, ...]) -> Episode:
    """From what WHOLE selects."""
    (number, first, last, phone, group, verdict, service, rule, proto, via, country, operator_country, operator, dst,
     dport, name, names, answered, asn, organisation, reason, src, revision, count, up, down, tries, consent,
     signs) = row
    return Episode(
        number, phone, src, dst, dport, proto, name,
        tuple(Name(one["name"], Source(one["source"])) for one in json.loads(names)),
        tuple(map(tuple, json.loads(answered))), via, service, verdict, rule, reason, revision, count, first, last,
        up, down, {int(second): tried for second, tried in json.loads(tries).items()}, group,
        Place(country, operator_country, asn, organisation), operator, consent,
        tuple(map(Sign, signs.split(","))) if signs else (),
    )


def as_it_was(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Without the empty ones of the columns that were added, so that digests stay what they were."""
    end = len(row)
    while end > len(row) - ADDED and not row[end - 1]:
        end -= 1
    return row[:end]


# -- keys --------------------------------------------------------------------------------------------------------------


def keys(dst: str, dport: int, hosts: Iterable[str]) -> set[bytes]:
    """Under what a subject is found. Names stand reversed, so that a domain and all below it are one range."""
    found = {_name_key(host) for host in hosts}
    if dst:
        addr = ip_address(dst).packed
        found.add(_addr_key(addr))
        if len(addr) == 16:
            found.update(_addr_key(inner) for inner in (embedded(addr), *beside(addr)) if inner is not None)
    if dport:
        found.add(_port_key(dport))
    return found


def hosts(names: Iterable[Name], answered: Iterable[Iterable[str]]) -> set[str]:
    return {name.name for name in names}.union(*answered)


def hits(db: sqlite3.Connection) -> dict[str, tuple[int, float]]:
    """Rule -> decisions by it, and when the last was."""
    select = (
        "SELECT substr(n.word, 6), n.value, l.value FROM marks n JOIN marks l ON l.word = 'last ' || substr(n.word, 6) "
        "WHERE n.word > 'hits ' AND n.word < 'hits!'"
    )
    return {rule: (int(count), last) for rule, count, last in db.execute(select)}


def put_hits(db: sqlite3.Connection, hits: Mapping[str, tuple[int, float]]) -> None:
    """Within a transaction. Whole numbers each time, so that writing them twice does no harm."""
    marks: list[tuple[str, float]] = [(f"hits {rule}", count) for rule, (count, _) in hits.items()]
    marks += [(f"last {rule}", last) for rule, (_, last) in hits.items()]
    db.executemany("INSERT OR REPLACE INTO marks VALUES (?, ?)", marks)


def forget_hits(db: sqlite3.Connection, before: float) -> None:
    """Of rules that nothing has met since then; most are no longer there."""
    old = [rule for rule, (_, last) in hits(db).items() if last < before]
    db.executemany("DELETE FROM marks WHERE word IN (?, ?)", [(f"hits {rule}", f"last {rule}") for rule in old])


def forget_subject(db: sqlite3.Connection, subject: int) -> None:
    """If no row is of it any more, what it said is forgotten as well."""
    if db.execute("SELECT 1 FROM episodes WHERE subject = ? LIMIT 1", (subject,)).fetchone():
        return
    found = db.execute("SELECT dst, dport, names, answered FROM subjects WHERE id = ?", (subject,)).fetchone()
    if found:
        dst, dport, names, answered = found
        known = {one["name"] for one in json.loads(names)}.union(*json.loads(answered))
        found_under = [(key, subject) for key in keys(dst, dport, known)]
        db.executemany("DELETE FROM keys WHERE key = ? AND subject = ?", found_under)
        db.execute("DELETE FROM subjects WHERE id = ?", (subject,))


def ranges(matcher: Matcher) -> list[tuple[bytes, bytes]] | None:
    """Subjects that match have a key in one of these (both ends belong to them); None if keys cannot tell."""
    if isinstance(matcher, NameMatcher):
        spans = []
        for value in matcher.values:
            key = _name_key(value.removeprefix("="))
            spans.append((key, key if value.startswith("=") else key[:-1] + b".\xff"))
        return spans
    if isinstance(matcher, ToMatcher) and NONE not in matcher.values:
        return [(key, key) for key in map(_to_key, matcher.values)]
    if isinstance(matcher, AddrMatcher):
        return [(_addr_key(first), _addr_key(last)) for first, last in matcher.networks]
    if isinstance(matcher, PortMatcher):
        return [(_port_key(first), _port_key(last)) for first, last in matcher.ranges]
    return None


def _name_key(name: str) -> bytes:
    return b"n" + ".".join(reversed(name.split("."))).encode("utf-8", "surrogatepass") + b"."


def _to_key(shown: str) -> bytes:
    """No name can be read as an address (rules.matchers.name)."""
    try:
        return _addr_key(ip_address(shown).packed)
    except ValueError:
        return _name_key(shown)


def _addr_key(addr: bytes) -> bytes:
    return (b"4" if len(addr) == 4 else b"6") + addr


def _port_key(port: int) -> bytes:
    return b"p" + port.to_bytes(2)


# -- rows of version 1 -------------------------------------------------------------------------------------------------

_OLD: Final = (
    "id", "phone", "src", "dst", "dport", "proto", "name", "names", "answered", "via", "service", "verdict", "rule",
    "reason", "revision", "count", "first", "last", "bytes_up", "bytes_down", "tries",
)


def move(db: sqlite3.Connection, shelf: Shelf, most: int) -> bool:
    """Within a transaction: some more of the old rows, oldest first. Whether any are left."""
    select = f"SELECT {', '.join(_OLD)} FROM {OLD_ROWS} ORDER BY id LIMIT ?"  # noqa: S608
    found = []
    for values in db.execute(select, (most,)):
        told = dict(zip(_OLD, values, strict=True))
        found.append(Episode.from_json(told | {key: json.loads(told[key]) for key in ("names", "answered", "tries")}))
    shelf.put(found)
    if found:
        db.execute(f"DELETE FROM {OLD_ROWS} WHERE id <= ?", (found[-1].id,))  # noqa: S608
    if len(found) == most:
        return True
    db.execute(f"DROP TABLE {OLD_ROWS}")
    return False
