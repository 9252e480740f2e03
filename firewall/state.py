"""state.db: what must survive a power cut. Phones, modes, consents, open questions, and every text the rules ever had.

Every write is on the disk when its method returns (synchronous=FULL); what cannot be written raises StateError and has
not happened. History, which may lose its last seconds, is history.db's business.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from firewall.consents import Consent, Life
from firewall.disk import Disk
from rules.consent import Kind, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from firewall.inputs import Author

UNDERWAY: Final = "underway"  # the word of an edit that firewall.underway knows; gone with the revision that it became
KEEP_ENDED: Final = 366 * 86_400.0  # seconds that consents which are over are kept
KEEP_NEWEST: Final = 1_000  # of them, however old: a clock that jumps forgets no more than is too much
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


def _consents_and_questions(db: sqlite3.Connection) -> None:
    db.execute(
        "CREATE TABLE consents (id INTEGER PRIMARY KEY AUTOINCREMENT, slot INTEGER NOT NULL, team TEXT NOT NULL, "
        "phone TEXT NOT NULL, kind TEXT NOT NULL, what TEXT NOT NULL, life TEXT NOT NULL, given REAL NOT NULL, "
        "who TEXT NOT NULL, uid INTEGER, screen TEXT NOT NULL, until REAL, ended REAL NOT NULL, why TEXT NOT NULL, "
        "ender TEXT NOT NULL, boot_id TEXT NOT NULL, boot REAL NOT NULL, wall REAL NOT NULL, trusted INTEGER NOT NULL, "
        "flows INTEGER NOT NULL, up INTEGER NOT NULL, down INTEGER NOT NULL)"
    )
    db.execute("CREATE INDEX by_end ON consents (ended, id)")
    db.execute("CREATE TABLE questions (id INTEGER PRIMARY KEY, told TEXT NOT NULL)")


MIGRATIONS: Final = (_first_schema, _consents_and_questions)  # the n-th brings a database from version n to n + 1


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


@dataclass(frozen=True, slots=True)
class StoredConsent:
    """A consent, with the moment at which it was stored: what was left of it then is `consent.until - boot`."""

    consent: Consent
    boot_id: str  # of the machine's run from its boot on; boot times of another one mean nothing
    boot: float  # seconds, CLOCK_BOOTTIME
    wall: float  # epoch seconds
    trusted: bool  # whether `wall` could be believed
    ender: str = ""  # who ended it; "" if nobody did
    flows: int = 0  # that passed because of it
    up: int = 0  # bytes of these flows, with headers
    down: int = 0


class State:
    """Open once in a process. Methods may be called from any thread, and wait for the disk: a few milliseconds."""

    def __init__(self, path: Path) -> None:
        """Raises StateError."""
        self._path = path
        self._lock = threading.Lock()
        self._disk = Disk()
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

    @property
    def stuck(self) -> str:
        """What is to be said of a write that neither ends nor fails; "" while there is none."""
        stuck = self._disk.stuck
        return f"{self._path.name} cannot be written: {stuck}; what is edited or answered now waits" if stuck else ""

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

    def save_phones(self, phones: Iterable[StoredPhone], forgotten: Iterable[int] = (), heir: int = 0) -> None:
        """All of it or, with StateError, nothing. `heir`: slot of the phone that gets the forgotten ones' consents."""
        with self._told(), self._transaction() as db:
            _save_phones(db, tuple(phones), tuple(forgotten), heir)

    def word(self, word: str, otherwise: str = "") -> str:
        """One of the few single facts (the mode). Raises StateError."""
        with self._told(), self._lock:
            found = self._db.execute("SELECT value FROM words WHERE word = ?", (word,)).fetchone()
            return str(found[0]) if found else otherwise

    def set_word(self, word: str, value: str) -> None:
        """Raises StateError."""
        with self._told(), self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO words VALUES (?, ?)", (word, value))

    # -- consents and questions --------------------------------------------------------------------------------------

    def consents(self) -> tuple[StoredConsent, ...]:
        """Those that were not over when they were stored, by id. Raises StateError."""
        return self._consents("WHERE ended = 0 ORDER BY id")

    def ended_consents(self, limit: int) -> tuple[StoredConsent, ...]:
        """The newest of those that are over, newest first. Raises StateError."""
        return self._consents("WHERE ended != 0 ORDER BY ended DESC, id DESC LIMIT ?", (limit,))

    def add_consents(self, new: Iterable[StoredConsent]) -> tuple[int, ...]:
        """The ids that they got, never given before; who has one keeps it. All of it or, with StateError, nothing."""
        with self._told(), self._transaction() as db:
            return tuple(_put(db, one) for one in new)

    def save_consents(self, known: Iterable[StoredConsent]) -> None:
        """As they are now; those that ended long ago are forgotten. All of it or, with StateError, nothing."""
        with self._told(), self._transaction() as db:
            for one in known:
                _put(db, one)
                if one.consent.ended:
                    keep = "SELECT id FROM consents WHERE ended != 0 ORDER BY ended DESC LIMIT ?"
                    forget = f"DELETE FROM consents WHERE ended != 0 AND ended < ? AND id NOT IN ({keep})"  # noqa: S608
                    db.execute(forget, (one.consent.ended - KEEP_ENDED, KEEP_NEWEST))

    def _consents(self, where: str, values: tuple[object, ...] = ()) -> tuple[StoredConsent, ...]:
        with self._told(), self._lock:
            select = f"SELECT id, {', '.join(_COLUMNS)} FROM consents {where}"  # noqa: S608
            return tuple(_from_row(*row) for row in self._db.execute(select, values))

    def questions(self) -> tuple[tuple[int, str], ...]:
        """(id, what firewall.questions made of it). Raises StateError."""
        with self._told(), self._lock:
            return tuple(self._db.execute("SELECT id, told FROM questions ORDER BY id"))

    def save_questions(self, changed: Iterable[tuple[int, str]], gone: Iterable[int]) -> None:
        """All of it or, with StateError, nothing."""
        with self._told(), self._transaction() as db:
            db.executemany("INSERT OR REPLACE INTO questions VALUES (?, ?)", changed)
            db.executemany("DELETE FROM questions WHERE id = ?", ((number,) for number in gone))

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
        self, number: int, at: float, who: Author, act: str, digest: str, text: str, undoes: int | None = None,
        phones: tuple[StoredPhone, ...] = (),
    ) -> None:
        """With the phones that the same act has changed. All of it or, with StateError, nothing."""
        with self._told(), self._transaction() as db:
            _save_phones(db, phones)
            db.execute("DELETE FROM words WHERE word = ?", (UNDERWAY,))
            values = (number, at, who.name, who.uid, act, digest, text, undoes)
            db.execute("INSERT OR REPLACE INTO revisions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
            db.execute("UPDATE revisions SET text = NULL WHERE number <= ?", (number - KEEP_REVISIONS,))

    # ------------------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._disk.busy():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.commit()
            except BaseException:
                self._db.rollback()
                raise

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise StateError(f"{self._path}: {error}") from None


def _save_phones(
    db: sqlite3.Connection, phones: tuple[StoredPhone, ...], forgotten: tuple[int, ...] = (), heir: int = 0
) -> None:
    for slot in () if heir else forgotten:
        _end_consents(db, slot)
    for phone in phones:  # a place that another phone has now
        had = {mac for (mac,) in db.execute("SELECT mac FROM macs WHERE slot = ?", (phone.slot,))}
        if had and had.isdisjoint(phone.macs):
            _end_consents(db, phone.slot)
    for slot in (*forgotten, *(phone.slot for phone in phones)):
        db.execute("DELETE FROM phones WHERE slot = ?", (slot,))
        db.execute("DELETE FROM macs WHERE slot = ?", (slot,))
    for slot in forgotten if heir else ():
        db.execute("UPDATE consents SET slot = ? WHERE slot = ? AND ended = 0", (heir, slot))
    for phone in phones:
        values = (phone.slot, phone.name, phone.group, phone.mode, phone.named, phone.first, phone.last)
        db.execute("INSERT INTO phones VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        db.executemany("INSERT OR REPLACE INTO macs VALUES (?, ?)", [(mac, phone.slot) for mac in phone.macs])


def _end_consents(db: sqlite3.Connection, slot: int) -> None:
    """With the phone, in the same transaction: whoever gets its place next has nothing of it."""
    end = "UPDATE consents SET ended = unixepoch(), why = ?, ender = ? WHERE slot = ? AND ended = 0"
    db.execute(end, ("the phone was forgotten", "the gate", slot))


_COLUMNS: Final = (
    "slot", "team", "phone", "kind", "what", "life", "given", "who", "uid", "screen", "until", "ended", "why", "ender",
    "boot_id", "boot", "wall", "trusted", "flows", "up", "down",
)


def _put(db: sqlite3.Connection, one: StoredConsent) -> int:
    """Insert, or replace the one of its id. Its id."""
    number = one.consent.id
    if number:
        update = f"UPDATE consents SET {', '.join(f'{column} = ?' for column in _COLUMNS)} WHERE id = ?"  # noqa: S608
        db.execute(update, (*_to_row(one), number))
        return number
    insert = f"INSERT INTO consents ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
    return int(db.execute(insert, _to_row(one)).lastrowid or 0)


def _to_row(one: StoredConsent) -> tuple[object, ...]:
    told = one.consent
    return (
        told.slot, told.group, told.phone, str(told.subject.kind), told.subject.what, str(told.life), told.given,
        told.who, told.uid, told.screen, told.until, told.ended, told.why, one.ender,
        one.boot_id, one.boot, one.wall, one.trusted, one.flows, one.up, one.down,
    )


def _from_row(number: int, *row: Any) -> StoredConsent:  # noqa: ANN401  what the columns hold
    """Raises sqlite3.DataError for words that no schema of ours has."""
    slot, group, phone, kind, what, life, given, who, uid, screen, until, ended, why, ender, boot_id, *rest = row
    boot, wall, trusted, flows, up, down = rest
    try:
        subject, life = Subject(Kind(kind), what), Life(life)
    except ValueError as error:
        raise sqlite3.DataError(f"consent {number}: {error}") from None
    consent = Consent(
        number, slot, group, phone, subject, life, given, who, uid, screen, until, ended=ended, why=why
    )
    return StoredConsent(consent, boot_id, boot, wall, bool(trusted), ender, flows, up, down)
