"""A chain over real rows, and hands that reach into the file."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from judge import wait_for
from samples import NOW, row

from firewall.events import PolicyChanged, Trouble
from firewall.history import History, retention, seals
from firewall.history.rows import Shelf
from firewall.history.schema import connect
from firewall.inputs import Author
from rules.expression import parse_filter

HANDS = {
    "a verdict": "UPDATE kinds SET verdict = 'allow' WHERE verdict = 'ask'",
    "a name": "UPDATE subjects SET name = 'other.example'",
    "a count": "UPDATE episodes SET count = count + 1 WHERE id = 3",
    "a consent": "UPDATE kinds SET consent = 9",
    "a time": "UPDATE episodes SET last = last + 0.001 WHERE id = 3",
    "a row taken out": "DELETE FROM episodes WHERE id = 3",
    "a row put in": "INSERT INTO episodes SELECT 999, subject, kind, first, last, src, revision, count, 0, 0, tries FROM episodes LIMIT 1",
    "a note": "UPDATE notes SET who = 'nobody'",
    "a note taken out": "DELETE FROM notes",
    "a seal taken out": "DELETE FROM seals WHERE number = 2",
    "the newest seal but one": "UPDATE seals SET at = at + 1 WHERE number = 2",
    "an allowed row": "DELETE FROM episodes WHERE id = 2",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three minutes; ids 1 to 9 and a gap up to 1000."""
    path = tmp_path / "history.db"
    db = connect(path)
    shelf = Shelf(db)
    for minute in range(3):
        first = 1 + 3 * minute
        shelf.put([row(first), row(first + 1, verdict="allow"), row(first + 2, name=f"n{minute}.example")])
        db.execute("INSERT INTO notes (at, kind, text, who, uid) VALUES (?, 'policy', 'x', 'anna', 1000)", (NOW + minute,))
        assert seals.seal(db, 1_000 if minute == 2 else first + 2, NOW + 60 * minute) is not None
    db.close()
    return path


def verify(path: Path, expected: str = "") -> dict:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return list(seals.verify(db, expected))[-1]


def test_a_sound_chain(file: Path) -> None:
    told = verify(file)
    assert (told["minutes"], told["broken"], told["unsealed"], told["forgotten"]) == (3, [], 0, 0)
    assert "make it anew" in told["says"]
    assert verify(file, told["seal"])["broken"] == []
    assert "does not hold" in verify(file, "ab" * 32)["broken"][0]["what"]


@pytest.mark.parametrize("hand", HANDS)
def test_every_hand_is_seen(file: Path, hand: str) -> None:
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute(HANDS[hand])
        db.commit()
    assert verify(file)["broken"], hand


def test_the_first_broken_minute_is_named(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("UPDATE episodes SET count = 9 WHERE id = 5")
        db.commit()
    assert [(link["seal"], link["minute"]) for link in verify(file)["broken"]] == [(2, NOW + 60)]


def test_what_nobody_changed_stays_whole_when_it_is_forgotten(file: Path) -> None:
    newest = verify(file)["seal"]
    with contextlib.closing(connect(file)) as db:
        retention.forget(db, NOW + 60 + retention.KEEP_ALLOWED_SECONDS + 1)
        assert [n for (n,) in db.execute("SELECT id FROM episodes ORDER BY id")] == [1, 3, 4, 6, 7, 8, 9]
        assert verify(file, newest)["broken"] == []
        retention.forget(db, NOW + 60 + retention.KEEP_SECONDS + 1)
        assert [n for (n,) in db.execute("SELECT id FROM episodes ORDER BY id")] == [7, 9]
        told = verify(file, newest)
        assert (told["broken"], told["forgotten"], told["minutes"]) == ([], 2, 3)
        db.execute("UPDATE episodes SET count = 9 WHERE id = 7")
        assert verify(file)["broken"]


def test_the_program_tells_the_same(file: Path) -> None:
    done = subprocess.run([sys.executable, "-P", "-m", "firewall.history.seals", str(file), ""], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == verify(file)
    file.write_bytes(b"garbage" * 1000)
    done = subprocess.run([sys.executable, "-P", "-m", "firewall.history.seals", str(file), ""], capture_output=True, text=True, check=True)
    assert "not a database" in json.loads(done.stdout)["error"]


def test_rows_that_are_sealed_are_never_written_again(tmp_path: Path) -> None:
    store = History(tmp_path / "history.db")
    store.append([row(1), row(2)], [PolicyChanged(NOW, 4, 12, Author("anna", 1000)), Trouble(NOW, "x")], closed=1)

    def sealed() -> bool:
        store._sealed = -1e9  # a turn that is under way may overwrite it
        return store._link.rows == 1

    wait_for(sealed)
    store.append([row(1, count=50), row(2, count=60)])
    store.close()
    assert verify(tmp_path / "history.db")["broken"] == []
    assert {found.id: found.count for found in store.query(parse_filter(""), 9, NOW)} == {1: 1, 2: 60}
    assert any("1 rows" in note["text"] for note in store.notes(9))
    assert any((note["who"], note["uid"]) == ("anna", 1000) for note in store.notes(9))
