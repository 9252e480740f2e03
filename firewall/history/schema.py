"""The tables of history.db, and how older ones become these.

kinds     who, what verdict, by which rule or consent, in which country, which signs: as long as a row is of it
subjects  distinct things: a kind, a far end, its names. A filter, but for `last:`, is judged once for each
keys      names, addresses, ports and networks of the subjects, in an order that finds them by prefix and range
episodes  when, how often, how many bytes; each of one subject
notes     edits, changes of state, troubles: single facts, with who did it
seals     a chain of hashes over closed episodes and notes, about one a minute (seals.py)
marks     single numbers: the house's time, how far forgetting is, hits and last hit of each rule
counts    what is left of allowed rows after a day: per hour, phone and organisation
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

OLD_ROWS: Final = "old_episodes"  # what version 1 left, until it has been moved (rows.move)
LOG_PAGES: Final = 250  # of the write-ahead log, until it goes into the file: on a full disk little is needed then


def _first(db: sqlite3.Connection) -> None:
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


def _subjects_and_seals(db: sqlite3.Connection) -> None:
    for index in ("by_verdict", "by_phone", "by_last"):
        db.execute(f"DROP INDEX {index}")
    db.execute(f"ALTER TABLE episodes RENAME TO {OLD_ROWS}")
    kind = "phone, team, verdict, service, rule, proto, via, country, operator_country, operator"
    db.execute(f"CREATE TABLE kinds (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, {kind})")
    db.execute(
        "CREATE TABLE subjects (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, kind INTEGER NOT NULL, "
        "dst TEXT NOT NULL, dport INTEGER NOT NULL, name TEXT NOT NULL, names TEXT NOT NULL, answered TEXT NOT NULL, "
        "asn INTEGER, organisation TEXT NOT NULL, reason TEXT NOT NULL)"
    )
    db.execute("CREATE TABLE keys (key BLOB, subject INTEGER, PRIMARY KEY (key, subject)) WITHOUT ROWID")
    db.execute(
        "CREATE TABLE episodes (id INTEGER PRIMARY KEY, subject INTEGER NOT NULL, kind INTEGER NOT NULL, "
        "first REAL NOT NULL, last REAL NOT NULL, src TEXT NOT NULL, revision INTEGER NOT NULL, "
        "count INTEGER NOT NULL, bytes_up INTEGER NOT NULL, bytes_down INTEGER NOT NULL, tries TEXT NOT NULL)"
    )
    db.execute("CREATE INDEX by_last ON episodes (last, id, subject)")
    db.execute("CREATE INDEX by_kind ON episodes (kind, last, id, subject)")
    db.execute("CREATE INDEX by_subject ON episodes (subject, last, id)")
    db.execute("ALTER TABLE notes ADD COLUMN who TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE notes ADD COLUMN uid INTEGER")
    db.execute(
        "CREATE TABLE seals (number INTEGER PRIMARY KEY, at REAL NOT NULL, rows INTEGER NOT NULL, "
        "notes INTEGER NOT NULL, allowed BLOB NOT NULL, others BLOB NOT NULL, noted BLOB NOT NULL, "
        "seal BLOB NOT NULL, gone INTEGER NOT NULL)"
    )
    db.execute("CREATE INDEX by_gone ON seals (gone, number)")
    db.execute(
        "CREATE TABLE counts (hour INTEGER, phone TEXT, organisation TEXT, count INTEGER NOT NULL, "
        "bytes_up INTEGER NOT NULL, bytes_down INTEGER NOT NULL, PRIMARY KEY (hour, phone, organisation)) WITHOUT ROWID"
    )
    db.execute("CREATE TABLE marks (word TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID")


def _consents(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE kinds ADD COLUMN consent INTEGER NOT NULL DEFAULT 0")


def _signs(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE kinds ADD COLUMN signs TEXT NOT NULL DEFAULT ''")


# The n-th brings a database from version n to n + 1.
MIGRATIONS: Final = (_first, _subjects_and_seals, _consents, _signs)


def connect(path: Path) -> sqlite3.Connection:
    """The writer's connection to a database of today's form. Raises sqlite3.Error or OSError.

    No check of every page, which takes minutes at 2 GiB: damage is found by whoever first reads or writes it.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # a file that is there is not opened: see `reader`
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, timeout=1.0, check_same_thread=False, isolation_level=None)
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise sqlite3.OperationalError(f"a newer Consentry made it (schema {version} > {len(MIGRATIONS)})")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA secure_delete = ON")
        db.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        db.execute(f"PRAGMA journal_size_limit = {LOG_PAGES * 4096}")
        if version < len(MIGRATIONS):
            db.execute("BEGIN IMMEDIATE")  # for all of them: whoever reads meanwhile finds one form or the other
            for migration in MIGRATIONS[version:]:
                migration(db)
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
            db.commit()
    except BaseException:
        db.close()
        raise
    return db


def reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises sqlite3.Error.

    Nobody opens the file in any other way: closing it again would drop the locks of every connection (fcntl(2)).
    """
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0, check_same_thread=False)


def last_id(db: sqlite3.Connection) -> int:
    """The highest id that a row has or had."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    places = (("episodes", "id"), (OLD_ROWS, "id"), ("seals", "rows"))
    found = (db.execute(f"SELECT max({column}) FROM {table}").fetchone()[0]  # noqa: S608
             for table, column in places if table in tables)
    return max((int(number) for number in found if number is not None), default=0)
