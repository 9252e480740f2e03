"""history.db: what happened. One writer thread behind one bounded queue; readers have connections of their own.

Trouble with the disk never reaches the gate: rows that cannot be written wait in memory, where queries find them; the
oldest are given up and counted, and it is said.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import OrderedDict, deque
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from firewall import disk
from firewall.disk import Disk
from firewall.history import place, retention, rows, seals
from firewall.history.ballast import Ballast
from firewall.history.house import HouseTime
from firewall.history.noting import INSERT, Note, note
from firewall.history.schema import OLD_ROWS, connect, last_id, reader
from firewall.history.search import PAGE_SECONDS, Cursor, Page, Search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from firewall.episode import Episode
    from firewall.events import Event
    from rules.expression import Filter

WRITE_SECONDS: Final = 0.5
MOST_WAITING: Final = 10_000  # rows
RETRY_SECONDS: Final = 2.0
SEAL_SECONDS: Final = 60.0
PRUNE_SECONDS: Final = 60.0
REMEMBER_SECONDS: Final = 3_600.0  # between two looks at the newest seal by whoever remembers it
FULL_STEPS, FULL_ROWS = 10, 50  # how much goes at a time when the disk is full
SPARE_BYTES = 256 << 10  # of pages kept free in the file while the disk is nearly full
MOVED_ROWS: Final = 2_000  # of an older database, at a time
DAMAGE: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}  # primary result codes

TROUBLE: Final = "the history cannot be written: "
HEALED: Final = "the history could not be written for "
Hits = tuple[int, float]  # decisions by a rule, time of the last


class HistoryError(Exception):
    """The history cannot be read; the text says why."""


class History:
    """`append` never waits and never raises. All times are epoch seconds, also what `clock` tells.

    `trusted` says whether that clock may be believed: while it may not, nothing is forgotten because of its age.
    """

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.time, trusted: Callable[[], bool] = lambda: True,
        sealed: str = "", remember: Callable[[str], object] = lambda _: None,
    ) -> None:
        """`sealed`: what `remember` was told last, also by an earlier process; it is kept apart from this file."""
        self._path = path
        self._clock = clock
        self._trusted = trusted
        self._disk = Disk()
        self._refused: str | None = None  # what the disk says, while it does
        self.lost = 0  # rows and notes given up since the last time this could be written down
        self.happened: deque[str] = deque(maxlen=100)  # to the file, for whoever tells it on: screen and log
        self._rows: OrderedDict[int, Episode] = OrderedDict()
        self._writing: OrderedDict[int, Episode] = OrderedDict()  # on their way into the file
        self._notes: list[Note] = []
        self._closed = 0  # rows up to this id will not change any more
        self._hits: dict[str, Hits] = {}  # that are not written yet
        self._lock = threading.Lock()  # for the seven above
        self._closing = threading.Event()
        self._damaged = threading.Event()  # a reader has met damage
        self._db: sqlite3.Connection | None = None
        self._file: place.Opened | None = None  # that was opened last
        self._link = seals.remembered(sealed)  # the newest seal
        self._remember = remember
        self._remembered = -REMEMBER_SECONDS
        self._anew = False  # this process has begun another file
        self._shelf: rows.Shelf | None = None
        self._house: HouseTime | None = None
        self._ballast = Ballast(path)
        self._full = False
        self._since = 0.0  # when the trouble began, by a clock that never jumps
        self._moving = False  # rows of an older database
        self._sealed = self._pruned = 0.0
        self._try(self._open)
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str | None:
        """What keeps rows from being written, while it does: the disk refuses, or does not answer."""
        stuck = self._disk.stuck
        return f"{TROUBLE}{stuck}; rows wait in memory" if stuck else self._refused

    def next_id(self) -> int:
        """Above every id that is stored. Without a database it is taken from the clock, which is above as well."""
        try:
            with contextlib.closing(reader(self._path)) as db:
                return last_id(db) + 1
        except sqlite3.Error:
            return int(self._clock() * 1_000)

    def hits(self) -> dict[str, Hits]:
        """What is stored of each rule; nothing without a database. They are forgotten 90 days after the last hit."""
        with contextlib.suppress(HistoryError):
            found: dict[str, Hits] = self.read(rows.hits)
            return found
        return {}

    def append(
        self, changed: Iterable[Episode], notes: Iterable[Event] = (), closed: int = 0,
        hits: Mapping[str, Hits] = MappingProxyType({}),
    ) -> None:
        """Rows are stored by their id: a newer state replaces the older one, and so for `hits`. Up to the id `closed`
        no row will follow.
        """
        with self._lock:
            for row in changed:
                self._rows.pop(row.id, None)
                self._rows[row.id] = row.copy()
            self._notes.extend(filter(None, map(note, notes)))
            self._closed = max(self._closed, closed)
            self._hits.update(hits)
            self._give_up()

    def query(self, wanted: Filter, limit: int, now: float) -> list[Episode]:
        """The newest rows that match, newest first. For a thread of its own; raises HistoryError."""
        return self.page(wanted, limit, now, seconds=None).rows

    def page(
        self, wanted: Filter, limit: int, now: float, before: Cursor | None = None,
        seconds: float | None = PAGE_SECONDS,
    ) -> Page:
        """The newest rows that match and are older than `before`, newest first; after `seconds` those found so far.

        For a thread of its own; raises HistoryError. Rows that are not written yet are found as well; while there is
        `trouble` it may be only them.
        """
        with self._lock:
            waiting = self._writing | self._rows
        fresh = sorted((row for row in waiting.values() if wanted.matches(row, now)), key=_age, reverse=True)
        if before is not None:
            fresh = [row for row in fresh if _age(row) < before]
        try:
            with contextlib.closing(reader(self._path)) as db:
                db.execute("BEGIN")
                found = Search(db, wanted, now).page(limit, before, seconds, waiting)
        except sqlite3.Error as error:
            if _is_damage(error):
                self._damaged.set()
            elif self.trouble is not None or self._begins(error):
                return _merged(fresh, Page([], None), limit)
            raise HistoryError(f"{self._path}: {error}") from None
        return _merged(fresh, found, limit)

    def read(self, use: Callable[[sqlite3.Connection], Any]) -> Any:  # noqa: ANN401  whatever `use` makes of it
        """What `use` finds in one state of the database. For a thread of its own; raises HistoryError."""
        try:
            with contextlib.closing(reader(self._path)) as db:
                db.execute("BEGIN")
                return use(db)
        except sqlite3.Error as error:
            if _is_damage(error):
                self._damaged.set()
            raise HistoryError(f"{self._path}: {error}") from None

    def notes(self, limit: int) -> list[dict[str, Any]]:
        """The newest notes (edits, changes of state, troubles), newest first. Raises HistoryError."""
        with self._lock:
            waiting = [*reversed(self._notes)]
        told = [dict(zip(("at", "kind", "text", "who", "uid"), note, strict=True)) for note in waiting[:limit]]

        def stored(db: sqlite3.Connection) -> list[dict[str, Any]]:
            found = db.execute("SELECT at, kind, text, who, uid FROM notes ORDER BY id DESC LIMIT ?", (limit,))
            return [dict(zip(("at", "kind", "text", "who", "uid"), note, strict=True)) for note in found]

        try:
            return [*told, *self.read(stored)][:limit]
        except HistoryError as error:
            if self.trouble is None and not self._begins(error):
                raise
            return told

    def _begins(self, error: Exception) -> bool:
        """Whether a fresh database is just about to be there."""
        return not self._path.exists() or any(words in str(error) for words in ("no such table", "unable to open"))

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
        while not self._closing.wait(self._pause()):
            self._try(self._write)
        self._try(self._write)
        self._forget_file()

    def _pause(self) -> float:
        if self._refused is not None:
            return RETRY_SECONDS
        return WRITE_SECONDS / 10 if self._moving else WRITE_SECONDS

    def _try(self, step: Callable[[], None]) -> None:
        """Do it; what the disk refuses becomes `trouble`, and is tried again."""
        began = time.monotonic()
        try:
            with self._disk.busy():
                step()
        except Exception as error:  # noqa: BLE001  whatever it is, it is the history's trouble and not the gate's
            if self._refused is None:
                self._since = began
            self._refused = f"{TROUBLE}{error}"
            self._shelf = None  # what it remembers may have been rolled back
            if self._db is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._db.rollback()
            code = _code(error)
            self._full = self._full or code == sqlite3.SQLITE_FULL
            if code in DAMAGE:
                self._quarantine()
            elif code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}:
                self._forget_file()  # a fresh connection may do better: replaced, remounted
        else:
            self._refused = None
            if (seconds := time.monotonic() - began) >= disk.STUCK_SECONDS:
                text = f"{HEALED}{seconds:.0f} s: the disk did not answer"
                with self._lock:
                    self._notes.append((self._clock(), "trouble", text, "", None))

    def _open(self) -> None:
        self._db = db = connect(self._path)
        self._file = place.opened(self._path)
        if self._house is None and not self._anew and not seals.holds(db, self._link):
            self._lack(seals.last_link(db))
        self._link = seals.last_link(db, self._link)
        self._moving = bool(db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (OLD_ROWS,)).fetchone())
        self._closed = max(self._closed, last_id(db) if self._house is None else 0)  # an earlier process wrote those
        if self._house is None:
            mark = db.execute("SELECT value FROM marks WHERE word = 'time'").fetchone()
            since = mark[0] if mark else None
            self._house = HouseTime(since, self._clock(), time.monotonic(), trusted=self._trusted())

    def _forget_file(self) -> None:
        self._shelf = None
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _write(self) -> None:
        if self._damaged.is_set():
            self._damaged.clear()
            self._quarantine()
        elif self._file is not None and (became := place.became(self._path, self._file)):  # what we write would vanish
            place.clear(self._path)  # before it is closed
            self._forget_file()
            self._file = None
            self._begun_anew(f"the history's file {became}; what only it held is lost")
        elif self._db is not None:
            with contextlib.closing(reader(self._path)) as fresh:  # our own pages may hide what the file became
                last_id(fresh)
        if self._db is None:
            self._open()
        assert self._db is not None
        if self._full or (self._ballast.scarce() and retention.spare(self._db) < SPARE_BYTES):
            self._make_room(self._db)
        if self._shelf is None:
            self._shelf = rows.Shelf(self._db)
        closed = self._store(self._db, self._shelf)
        if self._moving:
            with _transaction(self._db):
                self._moving = rows.move(self._db, self._shelf, MOVED_ROWS)
            return
        self._keep_house(self._db, self._shelf, closed)

    def _store(self, db: sqlite3.Connection, shelf: rows.Shelf) -> int:
        """Write what waits. The answer: up to which id all rows are closed and written."""
        with self._lock:
            changed = self._writing = self._rows
            notes, lost, closed, hits = self._notes, self.lost, self._closed, self._hits
            self._rows, self._notes, self._hits = OrderedDict(), [], {}
        try:
            if changed or notes or lost or hits or self._refused:
                with _transaction(db):
                    late = shelf.put(changed.values())
                    db.executemany(INSERT, notes)
                    rows.put_hits(db, hits)
                    if self._refused:  # written down with the first that can be: that it is over is true then
                        seconds = time.monotonic() - self._since
                        text = f"{HEALED}{seconds:.0f} s: {self._refused.removeprefix(TROUBLE)}"
                        db.execute(INSERT, (self._clock(), "trouble", text, "", None))
                    if lost + late:
                        text = f"{lost + late} rows of the history could not be written and are lost"
                        db.execute(INSERT, (self._clock(), "trouble", text, "", None))
        except sqlite3.Error:
            with self._lock:  # what came meanwhile is newer than what comes back
                self._rows = changed | self._rows
                self._notes = notes + self._notes
                self._hits = hits | self._hits
                self._give_up()
            raise
        except Exception:  # no database would take these: they must not stand in the way of those behind them
            with self._lock:
                self.lost += len(changed) + len(notes)
            raise
        else:
            with self._lock:
                self.lost -= lost
        finally:
            self._writing = OrderedDict()
        return closed

    def _keep_house(self, db: sqlite3.Connection, shelf: rows.Shelf, closed: int) -> None:
        """Once a minute: seal what is closed, forget what is old."""
        assert self._house is not None
        now = self._house.now(self._clock(), time.monotonic(), trusted=self._trusted())
        if time.monotonic() - self._sealed >= SEAL_SECONDS or self._closing.is_set():
            with _transaction(db):
                link = seals.seal(db, closed, now, self._link)
                db.execute("INSERT OR REPLACE INTO marks VALUES ('time', ?)", (now,))
            if link is not None:
                self._link = link
                shelf.seal(link.rows)
            if link is None or link.rows >= closed:  # else there is more to seal
                self._sealed = time.monotonic()
        if time.monotonic() - self._pruned >= PRUNE_SECONDS:
            with _transaction(db):
                gone = retention.forget(db, now, largest=retention.LARGEST, step=retention.STEP_ROWS)
            shelf.forget()
            if gone < retention.STEP_ROWS:
                self._pruned = time.monotonic()
            self._ballast.put()
            place.clear_aside(self._path, now, retention.KEEP_ALLOWED_SECONDS)
        if time.monotonic() - self._remembered >= REMEMBER_SECONDS or self._closing.is_set():
            self._keep_seal(db)

    def _keep_seal(self, db: sqlite3.Connection) -> None:
        """Apart from this file, so that one that ends earlier is known for it: only what survives a power cut."""
        if self._link.number == 0:
            return
        _, log, moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if log == moved:  # all of it stands in the file, synced
            self._remember(str(self._link))
            self._remembered = time.monotonic()

    def _make_room(self, db: sqlite3.Connection) -> None:
        """On a full disk nothing can be written, not even that something is to go: a spare file makes way for that."""
        self._shelf = None
        if self._full:
            self._ballast.drop()
        for _ in range(FULL_STEPS):
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            with _transaction(db):
                retention.mark_oldest(db)
                retention.sweep(db, FULL_ROWS)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._full = False

    def _quarantine(self) -> None:
        """What is no sound database is kept for a day under another name; a fresh one is begun at the next try."""
        self._forget_file()
        self._file = None
        with contextlib.suppress(OSError):
            aside = place.put_aside(self._path, self._clock())
            self._begun_anew(f"the history was damaged; it is kept for a day as {aside.name}")

    def _begun_anew(self, text: str) -> None:
        """A chain of seals that has lost its file goes on in the next one, less one seal: what was there is missing."""
        self._link = self._link._replace(number=self._link.number + 1)
        self._anew = True
        self._tell(text)

    def _lack(self, found: seals.Link) -> None:
        """What was sealed last is not in the file that this process finds, which ends with `found`."""
        lost = f"seal {self._link.number}, its newest then, is not in it"
        if found.number >= self._link.number:
            self._link = found._replace(number=found.number + 1)
        self._tell(f"the history's file was removed, emptied or replaced while no gate ran: {lost}")

    def _tell(self, text: str) -> None:
        self._sealed = -SEAL_SECONDS  # that it is so is sealed at once
        self.happened.append(text)
        with self._lock:
            self._notes.append((self._clock(), "trouble", text, "", None))


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.commit()
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.rollback()
        raise


def _code(error: Exception) -> int:
    """SQLite's primary result code: extended ones carry it in their low byte. 0 for what is no error of SQLite's."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _is_damage(error: Exception) -> bool:
    return _code(error) in DAMAGE


def _age(row: Episode) -> tuple[float, int]:
    return row.last, row.id


def _merged(fresh: list[Episode], found: Page, limit: int) -> Page:
    """Rows of both, newest first. Where the stored ones end early, fresh ones that are older wait for the next page."""
    if found.more is not None:
        fresh = [row for row in fresh if _age(row) > found.more]
    both = sorted([*fresh, *found.rows], key=_age, reverse=True)
    if len(both) <= limit:
        return Page(both, found.more)
    return Page(both[:limit], Cursor(both[limit - 1].last, both[limit - 1].id))
