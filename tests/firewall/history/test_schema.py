"""A database of version 1, as issue 3 left it, becomes one of today's with every row."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

from judge import wait_for
from samples import NOW, row

from firewall.history import History, schema, seals
from firewall.history.rows import Shelf
from rules.expression import parse_filter
from rules.observation import Sign


def test_version_2_knew_no_consents_and_its_seals_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with contextlib.closing(schema.connect(path)) as db:
        Shelf(db).put([row(1), row(2, verdict="allow")])
        assert seals.seal(db, 2, NOW) is not None
        db.execute("ALTER TABLE kinds DROP COLUMN signs")
        db.execute("ALTER TABLE kinds DROP COLUMN consent")
        db.execute("PRAGMA user_version = 2")
    store = History(path)
    wait_for(lambda: not store._moving)
    store.append([row(3), row(4, verdict="consent", consent=7)], closed=4)
    store.close()
    with contextlib.closing(schema.reader(path)) as db:
        told = list(seals.verify(db))[-1]
        assert (told["broken"], told["sealed"], told["minutes"]) == ([], 4, 2)
        assert db.execute("SELECT count(*) FROM kinds").fetchone()[0] == 3  # what was there is used on
    assert [(one.id, one.consent) for one in sorted(History(path).query(parse_filter(""), 9, NOW), key=lambda one: one.id)] == [(1, 0), (2, 0), (3, 0), (4, 7)]


def test_version_3_knew_no_signs_and_its_seals_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    tunnel, hidden = row(4, signs=(Sign.TUNNEL, Sign.HIDDEN)), row(5, consent=7, signs=(Sign.HIDDEN,))
    with contextlib.closing(schema.connect(path)) as db:
        Shelf(db).put([row(1), row(2, verdict="consent", consent=7)])
        assert seals.seal(db, 2, NOW) is not None
        db.execute("ALTER TABLE kinds DROP COLUMN signs")
        db.execute("PRAGMA user_version = 3")
    store = History(path)
    wait_for(lambda: not store._moving)
    store.append([row(3), tunnel, hidden, row(6, consent=7, verdict="consent")], closed=6)
    assert store.query(parse_filter("via:tunnel"), 9, NOW) == [tunnel]
    assert {one.id for one in store.query(parse_filter("-via:hidden"), 9, NOW)} == {1, 2, 3, 6}
    store.close()
    with contextlib.closing(schema.reader(path)) as db:
        told = list(seals.verify(db))[-1]
        assert (told["broken"], told["sealed"], told["minutes"]) == ([], 6, 2)
        assert db.execute("SELECT count(*) FROM kinds").fetchone()[0] == 4  # what was there is used on


def test_rows_of_version_1_are_all_there_and_are_sealed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("firewall.history.MOVED_ROWS", 40)
    path = tmp_path / "history.db"
    old = [row(n, last=NOW - n, phone=f"p{n % 3}", verdict="allow" if n % 2 else "ask", bytes_up=n) for n in range(1, 101)]
    with contextlib.closing(sqlite3.connect(path)) as db:
        schema.MIGRATIONS[0](db)
        db.execute("PRAGMA user_version = 1")
        for one in old:
            told = one.to_json()
            for new in ("place", "group", "consent", "signs"):
                del told[new]
            values = [json.dumps(value) if isinstance(value, (dict, list, tuple)) else value for value in told.values()]
            db.execute(f"INSERT INTO episodes ({', '.join(told)}) VALUES ({', '.join('?' * len(told))})", values)
        db.execute("INSERT INTO notes (at, kind, text) VALUES (1.0, 'trouble', 'long ago')")
        db.commit()
    store = History(path)
    assert store.next_id() == 101
    store.append([row(101, last=NOW + 1)])
    found = wait_for(lambda: len(rows := store.query(parse_filter(""), 1_000, NOW)) == 101 and not store._moving and rows)
    assert found[1:] == old
    assert store.notes(1)[0]["text"] == "long ago"
    store.append([], closed=101)
    store.close()
    with contextlib.closing(schema.reader(path)) as db:
        told = list(seals.verify(db))[-1]
        assert (told["broken"], told["sealed"], told["complete"], told["unsealed"]) == ([], 101, True, 0)
    assert History(path).next_id() == 102
