"""state.db with real files: what was said to be stored is there after a crash, what cannot be stored has not happened."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from firewall import disk, state
from firewall.inputs import Author
from firewall.state import State, StateError, StoredPhone

ANNA = StoredPhone(7, "anna", "kids", "watch", True, 1.0, 2.0, (b"\2\0\0\0\1\1", b"\2\0\0\0\1\2"))
TV = StoredPhone(8, "tv", "strict", "", False, 1.5, 2.5, (b"\2\0\0\0\1\3",))


def test_phones_come_back_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "below" / "state.db"
    State(file).save_phones((ANNA, TV))
    again = State(file)
    assert again.phones() == (ANNA, TV)
    assert file.stat().st_mode & 0o777 == 0o600
    again.save_phones((StoredPhone(7, "anna", "kids", "", True, 1.0, 3.0, (*ANNA.macs, *TV.macs)),), forgotten=(8,))
    (joined,) = State(file).phones()
    assert joined.macs == (*ANNA.macs, *TV.macs)


def test_two_phones_with_one_name_are_refused_whole(tmp_path: Path) -> None:
    known = State(tmp_path / "state.db")
    known.save_phones((ANNA,))
    with pytest.raises(StateError, match=r"state\.db: UNIQUE"):
        known.save_phones((TV, StoredPhone(9, "anna", "", "", True, 0.0, 0.0, ())))
    assert known.phones() == (ANNA,)


def test_words_and_revisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "KEEP_REVISIONS", 3)
    known = State(tmp_path / "state.db")
    assert known.word("mode", "enforce") == "enforce"
    known.set_word("mode", "watch")
    for number in range(1, 6):
        known.add_revision(number, float(number), Author("anna", 1000), f"act {number}", f"d{number}", f"text {number}", undoes=number - 1 or None)
    again = State(tmp_path / "state.db")
    assert again.word("mode") == "watch"
    newest = again.revisions()[0]
    assert (newest.number, newest.who, newest.uid, newest.act, newest.text, newest.undoes) == (5, "anna", 1000, "act 5", "text 5", 4)
    old = again.revision(2)
    assert old is not None
    assert (old.text, old.digest) == (None, "d2")  # that there was one is known for ever
    assert again.revision(99) is None


@pytest.mark.parametrize("content", [b"garbage, and more of it" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_what_is_no_database_is_said_and_left_alone(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "state.db"
    file.write_bytes(content)
    with pytest.raises(StateError, match=r"state\.db: "):
        State(file)
    assert file.read_bytes() == content


def test_a_newer_schema_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    State(file).close()
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StateError, match="a newer Consentry"):
        State(file)


def test_a_locked_database_is_said_and_nothing_has_happened(tmp_path: Path) -> None:
    known = State(tmp_path / "state.db")
    with sqlite3.connect(tmp_path / "state.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match="locked"):
            known.set_word("mode", "watch")
        other.execute("ROLLBACK")
    known.set_word("mode", "enforce")
    assert known.word("mode") == "enforce"


def test_a_commit_that_fails_is_over(tmp_path: Path) -> None:
    made = State(tmp_path / "state.db")
    made._db.execute("PRAGMA foreign_keys = ON")
    made._db.execute("CREATE TABLE late (word REFERENCES words (word) DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(sqlite3.IntegrityError), made._transaction() as db:
        db.execute("INSERT INTO late VALUES ('no such word')")  # looked at when it is committed
    made.set_word("next", "one")
    assert made.word("next", "") == "one"


def test_a_write_that_neither_ends_nor_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "STUCK_SECONDS", 0.0)
    kept = State(tmp_path / "state.db")
    reached, go_on = threading.Event(), threading.Event()
    kept._db.set_trace_callback(lambda _: (reached.set(), go_on.wait(60)))
    thread = threading.Thread(target=kept.set_word, args=("mode", "watch"))
    thread.start()
    assert reached.wait(60)
    assert kept.stuck == "state.db cannot be written: the disk has not answered for 0 s; what is edited or answered now waits"
    go_on.set()
    thread.join()
    assert (kept.stuck, kept.word("mode")) == ("", "watch")
    kept.close()


def test_what_was_said_to_be_stored_survives_kills(tmp_path: Path) -> None:
    """Each round a process is killed while it stores; everything that it had acknowledged is there."""
    code = """
import sys
from pathlib import Path
from firewall.state import State
state = State(Path(sys.argv[1]))
for number in range(100000):
    state.set_word("n", str(number)); print(number, flush=True)
"""
    file = tmp_path / "state.db"
    for _ in range(5):
        child = subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(20)]
        os.kill(child.pid, signal.SIGKILL)
        said += child.stdout.readlines()
        child.stdout.close()
        child.wait()
        acknowledged = int([line for line in said if line.endswith("\n")][-1])
        assert int(State(file).word("n")) >= acknowledged
