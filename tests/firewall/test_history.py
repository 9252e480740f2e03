"""Real SQLite, real files, a real full disk."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from judge import TooLate, in_time

from firewall import disk, history
from firewall.episode import Episode
from firewall.events import PolicyChanged, Trouble
from firewall.history import History, HistoryError, seals
from firewall.history.house import HouseTime
from firewall.history.schema import reader
from firewall.inputs import Author
from rules.expression import parse_filter
from rules.observation import Name, Source

NOW = time.time()


def row(number: int, **more) -> Episode:
    values = {
        "id": number, "phone": "phone1", "src": "10.77.0.10", "dst": "42.62.48.9", "dport": 80, "proto": "tcp", "name": "a.example",
        "names": (Name("a.example", Source.HTTP),), "answered": (("a.example",),), "via": "http", "service": "", "verdict": "ask", "rule": "xiaomi/1",
        "reason": "because", "revision": 3, "count": 1, "first": NOW - 1, "last": NOW, "tries": {0: 1},
    }
    return Episode(**(values | more))


def eventually(what, seconds: float = 60.0):
    until = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > until:
            raise TooLate(f"nothing within {seconds} s")
        time.sleep(0.02)
    return found


def done(store: History, *words: str) -> None:
    """Its writer has sealed, or pruned, with all that was said before this call: the second time it began after that."""
    for word in 2 * words:
        setattr(store, word, -1e9)
        eventually(lambda word=word: getattr(store, word) > 0)


@pytest.fixture(autouse=True)
def brisk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its writer writes as often as rows are waited for here; how soon it does by itself is tested by two."""
    if "within_two_seconds" not in request.node.name:
        monkeypatch.setattr(history, "WRITE_SECONDS", 0.05)
        monkeypatch.setattr(history, "RETRY_SECONDS", 0.2)


@pytest.fixture
def store(tmp_path: Path):
    opened = History(tmp_path / "history.db")
    yield opened
    opened.close()


def ids(store: History, text: str = "", limit: int = 100) -> list[int]:
    return [found.id for found in store.query(parse_filter(text), limit, NOW)]


def test_a_row_is_there_within_two_seconds_and_comes_back_whole(store: History) -> None:
    store.append([row(1)])
    eventually(lambda: ids(store), 2.0)
    assert store.query(parse_filter(""), 1, NOW) == [row(1)]


def test_ids_go_on_where_they_were(store: History, tmp_path: Path) -> None:
    assert store.next_id() == 1
    store.append([row(7)])
    store.close()
    assert History(tmp_path / "history.db").next_id() == 8


def test_a_newer_state_replaces_the_older(store: History) -> None:
    store.append([row(1)])
    store.append([row(1, count=5)])
    eventually(lambda: ids(store))
    store.append([row(1, count=9, bytes_up=7)])
    eventually(lambda: store.query(parse_filter(""), 1, NOW)[0].count == 9)
    assert ids(store) == [1]


def test_filters_newest_first_and_limits(store: History) -> None:
    store.append([
        row(1, last=NOW - 3), row(2, phone="tv", last=NOW - 2), row(3, verdict="allow", last=NOW - 1), row(4, last=NOW - 7200),
        row(5, names=(Name("b.example", Source.SNI),), answered=(), name="b.example", last=NOW),
    ])
    eventually(lambda: len(ids(store)) == 5)
    assert ids(store) == [5, 3, 2, 1, 4]
    assert ids(store, limit=2) == [5, 3]
    assert ids(store, "verdict:refused last:1h") == [5, 2, 1]
    assert ids(store, "phone:tv") == [2]
    assert ids(store, "-phone:tv verdict:ask name:b.example") == [5]
    assert ids(store, "addr:42.62.48.0/24 name:a.example last:1h") == [3, 2, 1]


def test_a_row_is_found_before_it_is_written_and_counts_once(store: History) -> None:
    store.append([row(1), row(2, verdict="allow", last=NOW - 5)])
    assert ids(store) == [1, 2]
    assert ids(store, "verdict:ask") == [1]
    eventually(lambda: not store._rows)
    store.append([row(2, verdict="allow", last=NOW + 1, count=2)])
    assert ids(store) == [2, 1]


def test_a_row_that_grows_on_is_kept_as_it_was(store: History) -> None:
    growing = row(1)
    store.append([growing])
    growing.count, growing.tries[5] = 99, 98
    assert store.query(parse_filter(""), 1, NOW) == [row(1)]


def test_what_was_appended_last_is_written_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    for number in range(1, 30):
        store = History(file)
        time.sleep(0.001 * (number % 3))  # the writer is somewhere else each time
        store.append([row(number)])
        store.close()
        with contextlib.closing(sqlite3.connect(file)) as db:
            assert db.execute("SELECT max(id) FROM episodes").fetchone() == (number,)


def test_three_hundred_a_second_are_there_within_two_seconds(store: History) -> None:
    late = []
    for tenth in range(20):
        store.append([row(30 * tenth + n, last=NOW + tenth) for n in range(1, 31)])
        until = time.monotonic() + 0.1
        late.append(30 * tenth + 30 - len(ids(store, limit=1000)))
        time.sleep(max(0.0, until - time.monotonic()))
    assert max(late) == 0
    eventually(lambda: not store._rows and not store._writing, 2.0)
    with contextlib.closing(sqlite3.connect(store._path)) as db:
        assert db.execute("SELECT count(*) FROM episodes").fetchone() == (600,)


def test_a_path_with_odd_characters(tmp_path: Path) -> None:
    store = History(tmp_path / "50% of #1?" / "history.db")
    store.append([row(1)])
    store.close()
    assert ids(store) == [1]


def test_notes_are_kept(store: History) -> None:
    store.append([], [PolicyChanged(NOW, 4, 12, Author("anna")), Trouble(NOW, "somebody flushed")])
    notes = eventually(lambda: store.notes(10))
    assert [(note["kind"], note["text"]) for note in notes] == [("trouble", "somebody flushed"), ("policy", "revision 4 with 12 rules, by anna")]


def test_the_file_is_its_owners_alone(store: History, tmp_path: Path) -> None:
    assert (tmp_path / "history.db").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", [b"this is no database at all" * 100, "leaf"])
def test_a_damaged_file_is_kept_aside_and_a_fresh_one_begun(tmp_path: Path, damage) -> None:
    file = tmp_path / "history.db"
    (tmp_path / "history.db.corrupt-7").write_bytes(b"of long ago")
    if damage == "leaf":
        first = History(file)
        first.append([row(n, name=f"n{n}.example") for n in range(1, 3000)])
        first.close()
        sqlite3.connect(file).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
        data = bytearray(file.read_bytes())
        data[4096 * 20 : 4096 * 60] = b"\xa5" * (4096 * 40)
        file.write_bytes(data)
    else:
        file.write_bytes(damage)
    store = History(file)
    store.append([row(1)])
    eventually(lambda: [path.name for path in tmp_path.glob("history.db.corrupt-*")] not in ([], ["history.db.corrupt-7"]))
    eventually(lambda: store.trouble is None and ids(store) == [1], 8)
    (aside,) = tmp_path.glob("history.db.corrupt-*")  # the newest alone
    assert any(note["text"] == f"the history was damaged; it is kept for a day as {aside.name}" for note in store.notes(5))
    done(store, "_pruned")
    assert aside.exists()
    aside.rename(aside.with_name(f"history.db.corrupt-{int(NOW) - 86_500}"))
    done(store, "_pruned")
    eventually(lambda: not list(tmp_path.glob("history.db.corrupt-*")))
    store.close()


def test_damage_that_a_query_meets_first(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    store = History(file)
    store.append([row(n, name=f"n{n}.example") for n in range(1, 3000)])
    store.close()
    data = bytearray(file.read_bytes())
    leaves = [at for at in range(0, len(data), 4096) if data[at] == 0x0D and b"because" in data[at : at + 4096]]
    assert leaves
    for at in leaves:  # of the subjects, which no writer has a need to read
        data[at : at + 4096] = b"\xa5" * 4096
    file.write_bytes(data)
    store = History(file)
    with pytest.raises(HistoryError, match="malformed"):
        ids(store, limit=10_000)
    eventually(lambda: list(tmp_path.glob("history.db.corrupt-*")))
    eventually(lambda: store.notes(1))
    assert ids(store) == []
    store.close()


def test_whoever_looks_while_a_file_is_begun_anew_finds_no_error(store: History, tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    for _ in range(2):
        eventually(file.exists)
        file.unlink()
        until = time.monotonic() + 30
        while not file.exists() or not store.notes(1):  # of the one before they are gone, and this is one
            assert ids(store) == []
            assert time.monotonic() < until
        for _ in range(20):
            assert ids(store) == []


@pytest.mark.parametrize(("stroke", "said"), [("half", "the history was damaged"), ("log", "could not be written"), ("logs", "could not be written")])
def test_a_file_that_is_cut_short_or_loses_its_log_under_a_running_gate_heals(store: History, tmp_path: Path, stroke: str, said: str) -> None:
    """b19 and b21 of threats-and-tests.md: whoever looks meanwhile is told, and what comes next is there."""
    store.append([row(n, name=f"n{n}.example") for n in range(1, 3000)])
    eventually(lambda: not store._rows and not store._writing)
    file = tmp_path / "history.db"
    if stroke == "half":
        with file.open("r+b") as damaged:
            damaged.truncate(file.stat().st_size // 2)
    for ending in {"half": (), "log": ("wal",), "logs": ("wal", "shm")}[stroke]:
        file.with_name(f"history.db-{ending}").unlink()
    store.append([row(7000)])

    def healed() -> bool:
        with contextlib.suppress(HistoryError):
            return not store._rows and 7000 in ids(store) and store.trouble is None
        return False

    eventually(healed)
    eventually(lambda: any(said in note["text"] for note in store.notes(5)))


@pytest.mark.parametrize("became", ["removed", "emptied", "emptied, log and all", "replaced by another"])
def test_a_file_that_somebody_took_away_is_begun_anew_and_that_is_said(store: History, tmp_path: Path, monkeypatch, became: str) -> None:
    """b20 of threats-and-tests.md: SQLite itself would go on without a word, and write into a log that nobody finds."""
    store.append([row(1)], closed=1)
    done(store, "_sealed")
    eventually(lambda: not store._rows and not store._writing)
    monkeypatch.setattr(history, "SEAL_SECONDS", 1e9)  # but for the seal that is made at once
    file = tmp_path / "history.db"
    if became == "removed":
        for one in tmp_path.iterdir():
            one.unlink()
    elif became == "replaced by another":
        History(tmp_path / "other.db").close()
        (tmp_path / "other.db").rename(file)
    else:
        with file.open("r+b") as emptied:
            emptied.truncate()
        if "log" in became:
            with (tmp_path / "history.db-wal").open("r+b") as log:
                log.truncate()
    store.append([row(2)], closed=2)
    text = f"the history's file was {became.partition(',')[0]}; what only it held is lost"
    eventually(lambda: list(store.happened) == [text])
    eventually(lambda: not store._rows and store.trouble is None)
    store.append([row(3)])
    store.close()
    assert ids(store) == [3, 2]
    assert [note["text"] for note in store.notes(5)] == [text]
    with contextlib.closing(reader(file)) as db:
        told = list(seals.verify(db))[-1]
    assert [link["what"] for link in told["broken"]] == ["seals 1 to 2 are missing"]  # the second is that of what was too new to be sealed
    assert told["unsealed"] == 1


def test_an_older_copy_in_the_place_of_the_file_is_no_whole_chain(store: History, tmp_path: Path) -> None:
    """A backup that is restored, or what somebody would rather have forgotten: what came after the copy is missing."""
    def sealed(upto: int) -> bool:
        store._sealed = -1e9
        return store._link.rows == upto

    file, copy = tmp_path / "history.db", tmp_path / "copy.db"
    store.append([row(1)], closed=1)
    eventually(lambda: sealed(1))
    with contextlib.closing(reader(file)) as db, contextlib.closing(sqlite3.connect(copy)) as kept:
        db.backup(kept)
    store.append([row(2)], closed=2)
    eventually(lambda: sealed(2))
    copy.rename(file)
    eventually(lambda: list(store.happened) == ["the history's file was replaced by another; what only it held is lost"])
    store.append([row(3)], closed=3)
    eventually(lambda: sealed(3))
    store.close()
    assert ids(store) == [3, 1]
    with contextlib.closing(reader(file)) as db:
        told = list(seals.verify(db))[-1]
    assert [link["what"] for link in told["broken"]] == ["seals 2 to 3 are missing"]


@pytest.mark.parametrize("became", ["removed", "emptied", "an older copy", "made anew by somebody"])
def test_what_became_of_the_file_while_no_gate_ran_is_said_and_verified(tmp_path: Path, became: str) -> None:
    """The newest seal is remembered apart from the file."""
    file, told = tmp_path / "history.db", []
    History(file).close()
    for upto in (1, 2):
        store = History(file, sealed=told[-1] if told else "", remember=told.append)
        store.append([row(upto)], closed=upto)
        store.close()
        assert list(store.happened) == []
        (tmp_path / f"copy-{upto}").write_bytes(file.read_bytes())
    assert [text.split()[0] for text in told] == ["1", "2"]
    file.unlink()
    match became:
        case "emptied":
            file.touch()
        case "an older copy":
            (tmp_path / "copy-1").rename(file)
        case "made anew by somebody":
            History(file).close()
            for upto in (1, 2, 3):
                other = History(file)
                other.append([row(upto)], closed=upto)
                other.close()
    store = History(file, sealed=told[-1], remember=told.append)
    eventually(lambda: len(told) == 3)  # that it is so is sealed at once
    store.close()
    text = "the history's file was removed, emptied or replaced while no gate ran: seal 2, its newest then, is not in it"
    assert list(store.happened) == [text]
    assert text in [note["text"] for note in store.notes(5)]
    with contextlib.closing(reader(file)) as db:
        broken = [link["what"] for link in list(seals.verify(db))[-1]["broken"]]
    assert broken == [{"an older copy": "seal 2 is missing", "made anew by somebody": "seal 4 is missing"}.get(became, "seals 1 to 2 are missing")]
    store = History(file, sealed=told[-1])  # it is said once
    store.close()
    assert list(store.happened) == []


def test_what_is_remembered_is_a_seal_or_nothing(tmp_path: Path) -> None:
    link = seals.NONE._replace(number=7, seal=bytes(range(32)))
    assert seals.remembered(str(link)) == link
    assert {seals.remembered(text) for text in ("", "7", "x " + "ab" * 32, "7 " + "zz" * 32, "-1 " + "ab" * 32)} == {seals.NONE}


def test_a_disk_that_hangs_is_said_and_noted_and_stops_nobody(tmp_path: Path, monkeypatch) -> None:
    """Its writer opens a pipe that nobody reads: that neither ends nor fails."""
    monkeypatch.setattr(disk, "STUCK_SECONDS", 0.3)
    monkeypatch.setattr("firewall.history.PRUNE_SECONDS", 0.0)
    pipe = tmp_path / "history.db.part"  # of the spare file
    os.mkfifo(pipe)
    store = History(tmp_path / "history.db")
    try:
        store.append([row(1)])
        eventually(lambda: store.trouble)
        assert re.fullmatch("the history cannot be written: the disk has not answered for \\d+ s; rows wait in memory", store.trouble)
        store.append([row(2)])
        assert sorted(ids(store)) == [1, 2]
        with pipe.open("rb") as end:
            while end.read(1 << 16):
                pass
        eventually(lambda: any("the disk did not answer" in note["text"] for note in store.notes(10)))
        eventually(lambda: store.read(lambda db: db.execute("SELECT count(*) FROM episodes").fetchone()[0]) == 2)
    finally:
        store.close()


def test_no_place_for_the_file_stops_nobody(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(history, "RETRY_SECONDS", 0.05)
    (tmp_path / "state").write_text("a file where the directory should be")
    store = History(tmp_path / "state" / "history.db")
    assert "cannot be written" in store.trouble
    assert store.next_id() > NOW * 1000 - 1
    store.append([row(1)])
    assert ids(store) == [1]  # from memory
    (tmp_path / "state").unlink()
    eventually(lambda: store.trouble is None)
    store.close()
    assert ids(store) == [1]
    (note,) = store.notes(5)  # that it was so is not forgotten
    assert note["kind"] == "trouble"
    assert re.match(r"the history could not be written for \d+ s: .*(directory|File exists)", note["text"])


def test_a_row_that_no_database_takes_does_not_stand_in_the_way(store: History) -> None:
    store.append([row(1, reason="\ud800")])
    eventually(lambda: store.trouble)
    store.append([row(2)])
    eventually(lambda: store.trouble is None, 8)
    assert ids(store) == [2]
    assert eventually(lambda: store.notes(1))[0]["text"].startswith("1 rows")


def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    db = sqlite3.connect(file)
    db.execute("PRAGMA user_version = 99")
    db.close()
    store = History(file)
    store.append([row(1)])
    assert "newer" in eventually(lambda: store.trouble)
    store.close()
    assert sqlite3.connect(file).execute("PRAGMA user_version").fetchone() == (99,)
    assert not list(tmp_path.glob("*.corrupt-*"))


def test_while_the_disk_refuses_rows_wait_and_are_counted(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(history, "MOST_WAITING", 50)
    monkeypatch.setattr(history, "RETRY_SECONDS", 0.1)
    store = History(tmp_path / "history.db")
    blocker = sqlite3.connect(tmp_path / "history.db")
    blocker.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    for n in range(1, 101):
        store.append([row(n)])
    in_time(time.monotonic() - began, 1.0)  # nobody waits for the disk
    assert "locked" in eventually(lambda: store.trouble)
    blocker.rollback()
    blocker.close()
    eventually(lambda: store.trouble is None and len(ids(store)) >= 50)
    assert 100 in ids(store)
    lost = eventually(lambda: [note for note in store.notes(5) if "lost" in note["text"]])
    assert lost
    store.close()


def test_old_rows_and_the_privacy_of_what_was_allowed(store: History, monkeypatch) -> None:
    for at, rows in ((91, [row(1)]), (2, [row(2, verdict="allow", count=7, bytes_up=5), row(3)]), (0, [row(4)])):
        store._clock = lambda at=at: NOW - at * 86400
        store._house = HouseTime(None, store._clock(), time.monotonic())
        store.append(rows, [Trouble(store._clock(), "x")], closed=rows[-1].id)
        done(store, "_sealed")
    done(store, "_pruned")
    store.append([row(5)])
    assert ids(store) == [5, 4, 3]
    with contextlib.closing(sqlite3.connect(store._path)) as db:
        assert db.execute("SELECT phone, count, bytes_up FROM counts").fetchall() == [("phone1", 7, 5)]
        assert db.execute("SELECT count(*) FROM subjects").fetchone() == (1,)
        assert db.execute("SELECT verdict FROM kinds").fetchall() == [("ask",)]
        assert db.execute("SELECT count(*) FROM notes").fetchone() == (2,)


def test_a_clock_that_is_not_trusted_forgets_nothing_and_seals_nothing_in_the_future(tmp_path: Path, monkeypatch) -> None:
    """A box without a clock of its own boots a day ahead: what is young stays, and a trusted clock takes over again."""
    path, trusted = tmp_path / "history.db", [False]
    first = History(path, clock=lambda: NOW)
    first.append([row(1, verdict="allow")], closed=1)
    eventually(lambda: first._sealed > 0)
    first.close()
    store = History(path, clock=lambda: NOW + 2 * 86_400, trusted=lambda: trusted[0])
    store.append([row(2)], closed=2)
    done(store, "_sealed", "_pruned")
    assert sorted(ids(store)) == [1, 2]
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT max(at) FROM seals").fetchone()[0] < NOW + 60
    trusted[0] = True
    done(store, "_pruned")
    eventually(lambda: ids(store) == [2])
    store.close()


def test_forgetting_goes_on_in_small_steps(store: History, monkeypatch) -> None:
    monkeypatch.setattr(history.retention, "STEP_ROWS", 10)
    store._clock = lambda: NOW - 91 * 86400
    store._house = HouseTime(None, store._clock(), time.monotonic())
    store.append([row(n) for n in range(1, 36)] + [row(100)], closed=35)
    done(store, "_sealed")
    store._clock = time.time
    store._house = HouseTime(None, NOW, time.monotonic())
    done(store, "_pruned")
    eventually(lambda: ids(store) == [100])


def test_of_too_much_the_oldest_rows_go_and_no_more(store: History, monkeypatch) -> None:
    """Deleted rows leave pages behind and the file as large as it was: that must not count, or everything would go."""
    monkeypatch.setattr(history, "WRITE_SECONDS", 0.02)
    monkeypatch.setattr(history.retention, "LARGEST", 900_000)
    monkeypatch.setattr(history.retention, "STEP_ROWS", 100)
    monkeypatch.setattr(history.seals, "MOST_ROWS", 50)
    store.append([row(n, last=NOW - 5000 + n, reason=f"{n:04} " * 80) for n in range(1, 2001)], closed=2000)
    done(store, "_sealed")
    size = store._path.stat().st_size + store._path.with_name("history.db-wal").stat().st_size
    assert size > 1_000_000
    done(store, "_pruned")
    left = ids(store, limit=3000)
    assert 300 < len(left) < 1500
    assert left == list(range(2000, 2000 - len(left), -1))


def test_a_full_disk_heals(tmp_path: Path) -> None:
    """On a tmpfs of 1 MiB of our own: rows are refused, said, and written when there is room again."""
    code = f"""
import sys, time; sys.path[:0] = {sys.path!r}
from pathlib import Path
from firewall import history; history.RETRY_SECONDS = 0.1
import importlib.util
spec = importlib.util.spec_from_file_location("t", {__file__!r}); t = importlib.util.module_from_spec(spec); spec.loader.exec_module(t)
ballast = Path("ballast"); ballast.write_bytes(bytes(700_000))
store = history.History(Path("history.db"))
for n in range(1, 3000): store.append([t.row(n, reason="x" * 200)])
t.eventually(lambda: store.trouble, 10)
print(store.trouble)
ballast.unlink()
store.append([t.row(5000)])
with store._lock: store._rows = type(store._rows)(list(store._rows.items())[-200:])
t.eventually(lambda: store.trouble is None and 5000 in t.ids(store, limit=10), 10)
print("healed"); store.close()
"""
    script = f"mount -t tmpfs -o size=1m tmpfs {tmp_path} && cd {tmp_path} && exec {sys.executable} -c '{code}'"
    done = subprocess.run(["unshare", "-m", "bash", "-c", script.replace("'" + code + "'", '"$CODE"')], env={"CODE": code, "PATH": "/usr/bin:/bin:/usr/sbin"}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
    assert "full" in done.stdout
    assert done.stdout.endswith("healed\n")


def test_kill_9_loses_the_last_moments_at_most(tmp_path: Path) -> None:
    code = f"""
import sys, time; sys.path[:0] = {sys.path!r}
import importlib.util
spec = importlib.util.spec_from_file_location("t", {__file__!r}); t = importlib.util.module_from_spec(spec); spec.loader.exec_module(t)
from pathlib import Path
store = t.History(Path({str(tmp_path / 'history.db')!r}))
n = 0
while True:
    n += 1; store.append([t.row(n)]); print(n, time.time(), flush=True); time.sleep(0.005)
"""
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline()  # it writes now
    time.sleep(2.5)
    writer.kill()
    told = [line.split() for line in writer.communicate()[0].splitlines() if line.count(" ") == 1]
    last = float(told[-1][1])
    due = max(int(number) for number, at in told if float(at) < last - 2.0)
    db = sqlite3.connect(tmp_path / "history.db")
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert db.execute("SELECT max(id) FROM episodes").fetchone()[0] >= due > 0
    db.close()
