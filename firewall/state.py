"""state.db: what must survive a power cut. Phones, modes, and every text the owner's rules ever had.

Every write is on the disk when its method returns (synchronous=FULL); what cannot be written raises StateError and has
not happened. History, which may lose its last seconds, is history.db's business.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from firewall.inputs import Author

KEEP_REVISIONS: Final = 1_000  # texts of rules.toml; their numbers and digests are kept for ever


def _first_schema(db: sqlite3.Connection) -> None:
    db.execute(
        "CREATE TABLE phones (slot INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, team TEXT NOT NULL, "
        "mode TEXT NOT NULL, named INTEGER NOT NULL, first REAL NOT NULL, last REAL NOT NULL)"
    )
    db.execute("CREATE TABLE macs (mac BLOB PRIMARY KEY, slot INTEGER NOT NULL) WITHOUT ROWID")
    db.execute("CREATE TABLE words (word TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
    db.execute(
        "CREATE TABLE revisions (number INTEGER PRIMARY KEY, at REAL NOT NULL, who TEXT NOT NULL, uid INTEGER, "
        "act TEXT NOT NULL, digest TEXT NOT NULL, text TEXT, undoes INTEGER)"
    )


MIGRATIONS: Final = (_first_schema,)  # the n-th brings a database from version n to n + 1


class StateError(Exception):
    """The state cannot be read or written; the text says which file, and why."""


@dataclass(frozen=True, slots=True)
class StoredPhone:
    """A phone as its owner knows it. Times are epoch seconds."""

    slot: int  # 1 to 1022: its number in the packet mark
    name: str
    group: str
    mode: str  # "watch" or "enforce" for this phone; "" as all the others
    named: bool  # by a person
    first: float
    last: float
    macs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Revision:
    """One state of the rules that was in use."""

    number: int
    at: float  # epoch seconds
    who: str
    uid: int | None
    act: str  # in words: "added block name:example.com"
    digest: str  # of the compiled policy
    text: str | None  # of rules.toml; None if it is no longer kept
    undoes: int | None  # the revision that this one took back


class State:
    """Open once in a process. Methods may be called from any thread, and wait for the disk: a few milliseconds."""

    def __init__(self, path: Path) -> None:
        """Raises StateError."""
        self._path = path
        self._lock = threading.Lock()
        with self._told():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # never opened past SQLite: closing would drop its locks
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(path, timeout=2.0, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                raise sqlite3.OperationalError(f"a newer Consentry made it (schema {version} > {len(MIGRATIONS)})")
            for number in range(version, len(MIGRATIONS)):
                with self._transaction() as db:
                    MIGRATIONS[number](db)
                    db.execute(f"PRAGMA user_version = {number + 1}")
            if self._db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("it is damaged")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # -- phones and modes --------------------------------------------------------------------------------------------

    def phones(self) -> tuple[StoredPhone, ...]:
        """Raises StateError."""
        with self._told(), self._lock:
            macs: dict[int, list[bytes]] = {}
            for mac, slot in self._db.execute("SELECT mac, slot FROM macs ORDER BY mac"):
                macs.setdefault(slot, []).append(mac)
            rows = self._db.execute("SELECT slot, name, team, mode, named, first, last FROM phones ORDER BY slot")
            return tuple(
                StoredPhone(slot, name, group, mode, bool(named), first, last, tuple(macs.get(slot, ())))
                for slot, name, group, mode, named, first, last in rows
            )

    def save_phones(self, phones: Iterable[StoredPhone], forgotten: Iterable[int] = ()) -> None:
        """All of it or, with StateError, nothing."""
        with self._told(), self._transaction() as db:
            phones = tuple(phones)
            for slot in (*forgotten, *(phone.slot for phone in phones)):
                db.execute("DELETE FROM phones WHERE slot = ?", (slot,))
                db.execute("DELETE FROM macs WHERE slot = ?", (slot,))
            for phone in phones:
                values = (phone.slot, phone.name, phone.group, phone.mode, phone.named, phone.first, phone.last)
                db.execute("INSERT INTO phones VALUES (?, ?, ?, ?, ?, ?, ?)", values)
                db.executemany("INSERT OR REPLACE INTO macs VALUES (?, ?)", [(mac, phone.slot) for mac in phone.macs])

    def word(self, word: str, otherwise: str = "") -> str:
        """One of the few single facts (the mode). Raises StateError."""
        with self._told(), self._lock:
            found = self._db.execute("SELECT value FROM words WHERE word = ?", (word,)).fetchone()
            return str(found[0]) if found else otherwise

    def set_word(self, word: str, value: str) -> None:
        """Raises StateError."""
        with self._told(), self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO words VALUES (?, ?)", (word, value))

    # -- revisions ---------------------------------------------------------------------------------------------------

    def revisions(self, limit: int = KEEP_REVISIONS) -> tuple[Revision, ...]:
        """The newest first. Raises StateError."""
        with self._told(), self._lock:
            rows = self._db.execute(
                "SELECT number, at, who, uid, act, digest, text, undoes FROM revisions ORDER BY number DESC LIMIT ?",
                (limit,),
            )
            return tuple(Revision(*row) for row in rows)

    def revision(self, number: int) -> Revision | None:
        """Raises StateError."""
        with self._told(), self._lock:
            row = self._db.execute(
                "SELECT number, at, who, uid, act, digest, text, undoes FROM revisions WHERE number = ?", (number,)
            ).fetchone()
            return Revision(*row) if row else None

    def add_revision(
        self, number: int, at: float, who: Author, act: str, digest: str, text: str, undoes: int | None = None
    ) -> None:
        """Raises StateError."""
        with self._told(), self._transaction() as db:
            values = (number, at, who.name, who.uid, act, digest, text, undoes)
            db.execute("INSERT OR REPLACE INTO revisions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
            db.execute("UPDATE revisions SET text = NULL WHERE number <= ?", (number - KEEP_REVISIONS,))

    # ------------------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.rollback()
                raise
            self._db.commit()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise StateError(f"{self._path}: {error}") from None
