"""history.db: what happened. One writer thread behind one bounded queue; readers have connections of their own.

Trouble with the disk never reaches the gate: rows that cannot be written wait in memory, where queries find them; the
oldest are given up and counted, and it is said.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import sqlite3
import threading
import time
from collections import OrderedDict
from dataclasses import asdict, replace
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from firewall.episode import Episode
from firewall.events import PolicyChanged, PolicyKept, StateChanged, Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
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
DAMAGE: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}  # primary result codes

_PLAIN: Final = (
    "id", "first", "last", "phone", "verdict", "src", "dst", "dport", "proto", "name", "via", "service", "rule",
    "reason", "revision", "count", "bytes_up", "bytes_down",
)
_NESTED: Final = ("names", "answered", "tries")  # stored as JSON
_COLUMNS: Final = _PLAIN + _NESTED
_UPSERT: Final = (
    f"INSERT INTO episodes ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "  # noqa: S608
    "ON CONFLICT (id) DO UPDATE SET last = excluded.last, count = excluded.count, bytes_up = excluded.bytes_up, "
    "bytes_down = excluded.bytes_down, tries = excluded.tries"
)
_plain, _nested = attrgetter(*_PLAIN), attrgetter(*_NESTED)
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=asdict).encode  # as Episode.to_json has it


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
    """`append` never waits and never raises. All times are epoch seconds, also what `clock` tells."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self.trouble: str | None = None  # what the disk says, while it does
        self.lost = 0  # rows and notes given up since the last time this could be written down
        self._rows: OrderedDict[int, Episode] = OrderedDict()
        self._writing: OrderedDict[int, Episode] = OrderedDict()  # on their way into the file
        self._notes: list[tuple[float, str, str]] = []
        self._lock = threading.Lock()  # for the five above
        self._closing = threading.Event()
        self._damaged = threading.Event()  # a reader has met damage
        self._db: sqlite3.Connection | None = None
        self._pruned = 0.0
        self._try(self._open)
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    def next_id(self) -> int:
        """Above every id that is stored. Without a database it is taken from the clock, which is above as well."""
        try:
            with contextlib.closing(_reader(self._path)) as db:
                return int(db.execute("SELECT coalesce(max(id), 0) + 1 FROM episodes").fetchone()[0])
        except sqlite3.Error:
            return int(self._clock() * 1_000)

    def append(self, rows: Iterable[Episode], notes: Iterable[Event] = ()) -> None:
        """Rows are stored by their id: a newer state replaces the older one."""
        with self._lock:
            for row in rows:
                self._rows.pop(row.id, None)
                self._rows[row.id] = replace(row, tries=dict(row.tries))  # as it is now: the row may still grow
            self._notes.extend(note for event in notes if (note := _note(event)) is not None)
            self._give_up()

    def query(self, wanted: Filter, limit: int, now: float) -> list[Episode]:
        """The newest rows that match, newest first. For a thread of its own; raises HistoryError.

        Rows that are not written yet are found as well; while there is `trouble` it may be only them.
        """
        with self._lock:
            waiting = self._writing | self._rows
        newest = sorted((row for row in waiting.values() if wanted.matches(row, now)), key=_age, reverse=True)
        try:
            with contextlib.closing(_reader(self._path)) as db:
                stored = (row for row in _stored(db, wanted, now) if row.id not in waiting)
                return list(islice(heapq.merge(newest, stored, key=_age, reverse=True), limit))
        except sqlite3.Error as error:
            if _is_damage(error):
                self._damaged.set()
            elif self.trouble is not None:
                return newest[:limit]
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
        self._closing.set()
        self._thread.join(timeout=10)

    def _give_up(self) -> None:
        """What is too much to wait in memory: the oldest. Called with the lock held."""
        while len(self._rows) > MOST_WAITING:
            self._rows.popitem(last=False)
            self.lost += 1
        self.lost += max(0, len(self._notes) - MOST_WAITING)
        del self._notes[:-MOST_WAITING]

    # -- the writer thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing.wait(WRITE_SECONDS if self.trouble is None else RETRY_SECONDS):
            self._try(self._write)
        self._try(self._write)
        self._forget_file()

    def _try(self, step: Callable[[], None]) -> None:
        """Do it; what the disk refuses becomes `trouble`, and is tried again."""
        try:
            step()
        except Exception as error:  # noqa: BLE001  whatever it is, it is the history's trouble and not the gate's
            self.trouble = f"the history cannot be written: {error}"
            if self._db is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._db.rollback()
            if _is_damage(error):
                self._quarantine()
        else:
            self.trouble = None

    def _open(self) -> None:
        """No check of every page, which takes minutes at 2 GiB: damage is found by whoever first reads or writes it."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        db = sqlite3.connect(self._path, timeout=1.0, check_same_thread=False, isolation_level=None)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                raise sqlite3.OperationalError(f"a newer Consentry made it (schema {version} > {len(MIGRATIONS)})")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA secure_delete = ON")
            for number in range(version, len(MIGRATIONS)):
                db.execute("BEGIN IMMEDIATE")
                MIGRATIONS[number](db)
                db.execute(f"PRAGMA user_version = {number + 1}")
                db.commit()
        except BaseException:
            db.close()
            raise
        self._db = db

    def _forget_file(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _write(self) -> None:
        if self._damaged.is_set():
            self._damaged.clear()
            self._quarantine()
        if not self._path.exists():  # somebody removed it: what we write would vanish with it
            self._forget_file()
        if self._db is None:
            self._open()
        db = self._db
        assert db is not None
        with self._lock:
            rows = self._writing = self._rows
            notes, lost = self._notes, self.lost
            self._rows, self._notes = OrderedDict(), []
        try:
            if rows or notes or lost:
                insert = "INSERT INTO notes (at, kind, text) VALUES (?, ?, ?)"
                db.execute("BEGIN IMMEDIATE")
                db.executemany(_UPSERT, map(_values, rows.values()))
                db.executemany(insert, notes)
                if lost:
                    text = f"{lost} rows of the history could not be written and are lost"
                    db.execute(insert, (self._clock(), "trouble", text))
                db.commit()
        except sqlite3.Error:
            with self._lock:  # what came meanwhile is newer than what comes back
                self._rows = rows | self._rows
                self._notes = notes + self._notes
                self._give_up()
            raise
        except Exception:  # no database would take these: they must not stand in the way of those behind them
            with self._lock:
                self.lost += len(rows) + len(notes)
            raise
        else:
            with self._lock:
                self.lost -= lost
        finally:
            self._writing = OrderedDict()
        if time.monotonic() - self._pruned > PRUNE_SECONDS:
            self._prune(db)

    def _prune(self, db: sqlite3.Connection) -> None:
        """Forget some of what is too old, and of the oldest if it is too much; the rest at the next writing."""
        now = self._clock()
        one = "DELETE FROM episodes WHERE id IN (SELECT id FROM episodes WHERE {} ORDER BY last LIMIT ?)"
        db.execute("BEGIN IMMEDIATE")
        allowed = one.format("verdict = 'allow' AND last < ?")
        gone = [db.execute(allowed, (now - KEEP_ALLOWED_SECONDS, PRUNE_ROWS)).rowcount]
        gone.append(db.execute(one.format("last < ?"), (now - KEEP_SECONDS, PRUNE_ROWS)).rowcount)
        if _size(db) > LARGEST:
            gone.append(db.execute(one.format("1"), (PRUNE_ROWS,)).rowcount)
        db.execute("DELETE FROM notes WHERE at < ?", (now - KEEP_SECONDS,))
        db.commit()
        if max(gone) < PRUNE_ROWS:
            self._pruned = time.monotonic()

    def _quarantine(self) -> None:
        """What is no sound database is kept under another name; a fresh one is begun at the next try."""
        self._forget_file()
        aside = self._path.with_name(f"{self._path.name}.corrupt-{int(self._clock())}")
        with contextlib.suppress(OSError):
            self._path.rename(aside)
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            with self._lock:
                self._notes.append((self._clock(), "trouble", f"the history was damaged; it is kept as {aside.name}"))


def _reader(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)


def _is_damage(error: Exception) -> bool:
    """Whether the file is no sound database. Extended result codes carry the primary one in their low byte."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGE


def _size(db: sqlite3.Connection) -> int:
    """Bytes in use. The file itself never shrinks: pages of rows that were deleted stay in it for new ones."""
    words = ("page_count", "freelist_count", "page_size")
    pages, free, page = (int(db.execute(f"PRAGMA {word}").fetchone()[0]) for word in words)
    return (pages - free) * page


def _age(row: Episode) -> tuple[float, int]:
    return row.last, row.id


def _stored(db: sqlite3.Connection, wanted: Filter, now: float) -> Iterator[Episode]:
    """What matches, newest first. SQL leaves out what an index can tell; the filter judges the rest.

    One walk down an index for each phone, or else each verdict, that is wanted: asked for several at once, SQLite
    would sort all their rows to find the newest.
    """
    since, phones, verdicts = wanted.since(now), wanted.phones(), wanted.verdicts()
    conditions, values = ["last >= ?"], list[Any]([0.0 if since is None else since])
    if phones is not None and verdicts is not None:
        conditions.append(f"verdict IN ({', '.join('?' * len(verdicts))})")
        values += verdicts
    walks: list[list[str]] = [[]]
    if phones is not None:
        conditions.append("phone = ?")
        walks = [[phone] for phone in phones]
    elif verdicts is not None:
        conditions.append("verdict = ?")
        walks = [[verdict] for verdict in verdicts]
    columns, where = ", ".join(_COLUMNS), " AND ".join(conditions)
    select = f"SELECT {columns} FROM episodes WHERE {where} ORDER BY last DESC, id DESC"  # noqa: S608
    walked = (map(_episode, db.execute(select, values + walk)) for walk in walks)
    return (row for row in heapq.merge(*walked, key=_age, reverse=True) if wanted.matches(row, now))


def _values(row: Episode) -> tuple[Any, ...]:
    return (*_plain(row), *map(_json, _nested(row)))


def _episode(row: tuple[Any, ...]) -> Episode:
    told = dict(zip(_COLUMNS, row, strict=True))
    for column in _NESTED:
        told[column] = json.loads(told[column])
    return Episode.from_json(told)


def _note(event: Event) -> tuple[float, str, str] | None:
    match event:
        case PolicyChanged(at, revision, rules, who):
            return at, "policy", f"revision {revision} with {rules} rules, by {who.name}"
        case PolicyKept(at, revision, problems, who):
            return at, "refused", f"new rules by {who.name} were refused, revision {revision} stays: {problems[0]}"
        case StateChanged(at, state, reason):
            return at, "state", f"{state}: {reason}" if reason else str(state)
        case Trouble(at, text):
            return at, "trouble", text
    return None
