"""history.db: what happened. One writer thread behind one bounded queue; readers have connections of their own.

Trouble with the disk never reaches the gate: rows that cannot be written wait in memory, the oldest are given up and
counted, and it is said.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from firewall.episode import Episode
from firewall.events import PolicyChanged, PolicyKept, StateChanged, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from firewall.events import Event
    from rules.expression import Filter

WRITE_SECONDS: Final = 0.5
MOST_WAITING: Final = 10_000  # rows
RETRY_SECONDS: Final = 2.0
KEEP_SECONDS: Final = 90 * 86_400
KEEP_ALLOWED_SECONDS: Final = 86_400  # the gateway is no spy: what was allowed is forgotten after a day
LARGEST: Final = 2 << 30  # bytes; beyond it the oldest rows go
PRUNE_SECONDS: Final = 60.0
PRUNE_ROWS: Final = 5_000  # at a time, so that writing never waits long

_COLUMNS: Final = (
    "id", "first", "last", "phone", "verdict", "src", "dst", "dport", "proto", "name", "names", "answered", "via",
    "service", "rule", "reason", "revision", "count", "bytes_up", "bytes_down", "tries",
)
_UPSERT: Final = (
    f"INSERT INTO episodes ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "  # noqa: S608
    "ON CONFLICT (id) DO UPDATE SET last = excluded.last, count = excluded.count, bytes_up = excluded.bytes_up, "
    "bytes_down = excluded.bytes_down, tries = excluded.tries"
)


def _first_schema(db: sqlite3.Connection) -> None:
    db.execute(
        "CREATE TABLE episodes (id INTEGER PRIMARY KEY, first REAL NOT NULL, last REAL NOT NULL, phone TEXT NOT NULL, "
        "verdict TEXT NOT NULL, src TEXT NOT NULL, dst TEXT NOT NULL, dport INTEGER NOT NULL, proto TEXT NOT NULL, "
        "name TEXT NOT NULL, names TEXT NOT NULL, answered TEXT NOT NULL, via TEXT NOT NULL, service TEXT NOT NULL, "
        "rule TEXT NOT NULL, reason TEXT NOT NULL, revision INTEGER NOT NULL, count INTEGER NOT NULL, "
        "bytes_up INTEGER NOT NULL, bytes_down INTEGER NOT NULL, tries TEXT NOT NULL)"
    )
    db.execute("CREATE INDEX by_last ON episodes (last)")
    db.execute("CREATE INDEX by_verdict ON episodes (verdict, last)")
    db.execute("CREATE INDEX by_phone ON episodes (phone, last)")
    db.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL)")


MIGRATIONS: Final = (_first_schema,)  # the n-th brings a database from version n to n + 1


class HistoryError(Exception):
    """The history cannot be read; the text says why."""


class History:
    """`append` never waits and never raises. All times are epoch seconds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.trouble: str | None = None  # what the disk says, while it does
        self.lost = 0  # rows given up because they could not be written
        self._rows: OrderedDict[int, tuple[Any, ...]] = OrderedDict()
        self._notes: list[tuple[float, str, str]] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._db: sqlite3.Connection | None = None
        self._pruned = 0.0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._try(self._open)
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    def next_id(self) -> int:
        """Above every id that is stored. Without a database it is taken from the clock, which is above as well."""
        try:
            with contextlib.closing(_reader(self._path)) as db:
                return int(db.execute("SELECT coalesce(max(id), 0) + 1 FROM episodes").fetchone()[0])
        except sqlite3.Error:
            return int(time.time() * 1_000)

    def append(self, rows: Iterable[Episode], notes: Iterable[Event] = ()) -> None:
        """Rows are stored by their id: a newer state replaces the older one."""
        with self._lock:
            for row in rows:
                self._rows.pop(row.id, None)
                self._rows[row.id] = _values(row)
            while len(self._rows) > MOST_WAITING:
                self._rows.popitem(last=False)
                self.lost += 1
            self._notes.extend(note for event in notes if (note := _note(event)) is not None)
            del self._notes[:-MOST_WAITING]

    def query(self, wanted: Filter, limit: int, now: float) -> list[Episode]:
        """The newest rows that match, newest first. For a thread of its own; raises HistoryError."""
        try:
            with contextlib.closing(_reader(self._path)) as db:
                found: list[Episode] = []
                for row in _select(db, wanted, now):
                    episode = _episode(row)
                    if wanted.matches(episode, now):
                        found.append(episode)
                        if len(found) == limit:
                            break
                return found
        except sqlite3.Error as error:
            raise HistoryError(f"{self._path}: {error}") from None

    def notes(self, limit: int) -> list[dict[str, Any]]:
        """The newest notes (edits, changes of state, troubles), newest first. Raises HistoryError."""
        try:
            with contextlib.closing(_reader(self._path)) as db:
                rows = db.execute("SELECT at, kind, text FROM notes ORDER BY id DESC LIMIT ?", (limit,))
                return [{"at": at, "kind": kind, "text": text} for at, kind, text in rows]
        except sqlite3.Error as error:
            raise HistoryError(f"{self._path}: {error}") from None

    def close(self) -> None:
        """Write what waits, and end."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout=10)

    # -- the writer thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(WRITE_SECONDS if self.trouble is None else RETRY_SECONDS)
            self._try(self._write)
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()

    def _try(self, step: Any) -> None:  # noqa: ANN401  a method without arguments
        """Do it; what the disk refuses becomes `trouble`, and is tried again."""
        try:
            step()
        except (sqlite3.Error, OSError) as error:
            self.trouble = f"the history cannot be written: {error}"
            if self._db is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._db.rollback()
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                self._quarantine()
        else:
            self.trouble = None

    def _open(self) -> None:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        db = sqlite3.connect(self._path, timeout=1.0, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA secure_delete = ON")
            problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise sqlite3.DatabaseError(problem)
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                raise sqlite3.OperationalError(f"a newer Consentry made it (schema {version} > {len(MIGRATIONS)})")
            for number in range(version, len(MIGRATIONS)):
                db.execute("BEGIN IMMEDIATE")
                MIGRATIONS[number](db)
                db.execute(f"PRAGMA user_version = {number + 1}")
                db.commit()
        except BaseException:
            db.close()
            raise
        self._db = db

    def _write(self) -> None:
        if self._db is None:
            self._open()
        db = self._db
        assert db is not None
        with self._lock:
            rows, self._rows = self._rows, OrderedDict()
            notes, self._notes = self._notes, []
        try:
            if rows or notes:
                db.execute("BEGIN IMMEDIATE")
                db.executemany(_UPSERT, rows.values())
                db.executemany("INSERT INTO notes (at, kind, text) VALUES (?, ?, ?)", notes)
                if self.lost:
                    text = f"{self.lost} rows of the history could not be written and are lost"
                    db.execute("INSERT INTO notes (at, kind, text) VALUES (?, 'trouble', ?)", (time.time(), text))
                db.commit()
                self.lost = 0
        except sqlite3.Error:
            with self._lock:  # what came meanwhile is newer than what comes back
                self._rows = OrderedDict((*rows.items(), *self._rows.items()))
                self._notes = notes + self._notes
            raise
        if time.monotonic() - self._pruned > PRUNE_SECONDS:
            self._prune(db)

    def _prune(self, db: sqlite3.Connection) -> None:
        """Forget what is too old, and the oldest if it is too much."""
        self._pruned = time.monotonic()
        now = time.time()
        one = "DELETE FROM episodes WHERE id IN (SELECT id FROM episodes WHERE {} ORDER BY last LIMIT ?)"
        allowed = one.format("verdict = 'allow' AND last < ?")
        db.execute(allowed, (now - KEEP_ALLOWED_SECONDS, PRUNE_ROWS))
        db.execute(one.format("last < ?"), (now - KEEP_SECONDS, PRUNE_ROWS))
        if self._path.stat().st_size > LARGEST:
            db.execute(one.format("1"), (PRUNE_ROWS,))
        db.execute("DELETE FROM notes WHERE at < ?", (now - KEEP_SECONDS,))
        db.commit()

    def _quarantine(self) -> None:
        """What is no sound database is kept under another name; a fresh one is begun at the next try."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None
        aside = self._path.with_name(f"{self._path.name}.corrupt-{int(time.time())}")
        with contextlib.suppress(OSError):
            self._path.rename(aside)
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            with self._lock:
                self._notes.append((time.time(), "trouble", f"the history was damaged; it is kept as {aside.name}"))


def _reader(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)


def _select(db: sqlite3.Connection, wanted: Filter, now: float) -> Iterator[tuple[Any, ...]]:
    """A superset of what matches, newest first: only what an index can tell is left to SQL."""
    conditions, values = ["1"], list[Any]()
    since, phones, verdicts = wanted.since(now), wanted.phones(), wanted.verdicts()
    if since is not None:
        conditions.append("last >= ?")
        values.append(since)
    for column, words in (("phone", phones), ("verdict", verdicts)):
        if words is not None:
            conditions.append(f"{column} IN ({', '.join('?' * len(words))})")
            values += sorted(words)
    columns, where = ", ".join(_COLUMNS), " AND ".join(conditions)
    yield from db.execute(f"SELECT {columns} FROM episodes WHERE {where} ORDER BY last DESC, id DESC", values)  # noqa: S608


def _values(row: Episode) -> tuple[Any, ...]:
    told = row.to_json()
    for column in ("names", "answered", "tries"):
        told[column] = json.dumps(told[column], ensure_ascii=False, separators=(",", ":"))
    return tuple(told[column] for column in _COLUMNS)


def _episode(row: tuple[Any, ...]) -> Episode:
    told = dict(zip(_COLUMNS, row, strict=True))
    for column in ("names", "answered", "tries"):
        told[column] = json.loads(told[column])
    return Episode.from_json(told)


def _note(event: Event) -> tuple[float, str, str] | None:
    match event:
        case PolicyChanged(at, revision, rules, who):
            return at, "policy", f"revision {revision} with {rules} rules, by {who}"
        case PolicyKept(at, revision, problems, who):
            return at, "refused", f"new rules by {who} were refused, revision {revision} stays: {problems[0]}"
        case StateChanged(at, state, reason):
            return at, "state", f"{state}: {reason}" if reason else str(state)
        case Trouble(at, text):
            return at, "trouble", text
    return None
