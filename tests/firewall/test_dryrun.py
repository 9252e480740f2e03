"""The worker of a dry run over a real history."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from samples import NOW, row

from firewall import dryrun
from firewall.dryrun import Worker
from firewall.history.rows import Shelf
from firewall.history.schema import connect
from rules.observation import Name, Source

DAY_AGO = NOW - 86_400


def of(name: str, number: int, **more):
    return row(number, name=name, names=(Name(name, Source.HTTP),), answered=((name,),), **more)


def build(path: Path, rows) -> Path:
    db = connect(path)
    db.execute("BEGIN")
    Shelf(db).put(rows)
    db.commit()
    db.close()
    return path


def ask(worker: Worker, file: Path, name: str, since: float = DAY_AGO) -> dict:
    after = f'[[rule]]\naction = "block"\nmatch = "name:{name}"\n'
    return worker.answer({"history": str(file), "since": since, "before": "", "after": after})


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """12,000 rows of a day: a hundred names again and again, three names of one row each; and one of the day before."""
    rows = [of(f"h{n % 100}.example", n, count=2, last=NOW - 7 * n) for n in range(1, 12_001)]
    rows += [of(f"rare{n}.example", 20_000 + n, last=NOW - 80_000) for n in range(3)]
    return build(tmp_path / "history.db", [*rows, of("yesterday.example", 30_000, last=DAY_AGO - 10)])


def test_a_whole_day_is_judged_each_thing_once(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dryrun, "CHUNK", 1_000)
    worker, judged = Worker(), []
    monkeypatch.setattr(dryrun, "one_row", lambda db, number, real=dryrun.one_row: judged.append(number) or real(db, number))
    told = ask(worker, day, "h7.example")
    assert (told["of"], told["changed"], told["rows"], told["complete"], told["trouble"]) == (24_003, 240, 12_003, True, "")
    assert [(one["what"], one["count"], one["last"]) for one in told["examples"]] == [("h7.example", 240, NOW - 49)]
    assert len(judged) == 103
    assert ask(worker, day, "rare1.example")["changed"] == 1
    assert len(judged) == 103  # and is remembered


def test_too_much_is_judged_from_the_most_frequent_on_and_said(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker()
    ask(worker, day, "x.example")
    clock = iter(range(10_000))
    monkeypatch.setattr(dryrun.time, "monotonic", lambda: next(clock) / 10)  # a tenth of a second for each thing
    worker._read_at = 0.0
    told = ask(worker, day, "rare1.example")
    assert (told["changed"], told["complete"]) == (0, False)
    assert 9_000 < told["of"] < 13_000
    assert told["of"] == 240 * (told["of"] // 240)
    assert told["trouble"] == f"only {told['of']:,} of 24,003 decisions could be judged in 5 s: the most frequent"


def test_what_is_read_in_part_is_said_and_read_on_by_the_next_question(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dryrun, "CHUNK", 5_000)
    worker, past = Worker(), [0.0]
    monkeypatch.setattr(dryrun.time, "monotonic", lambda real=dryrun.time.monotonic: real() + past[0])

    def slow(*args, real=dryrun.seen_before):
        past[0] += dryrun.READ_SECONDS
        return real(*args)

    monkeypatch.setattr(dryrun, "seen_before", slow)
    told = ask(worker, day, "rare1.example")
    assert (told["rows"], told["changed"], told["complete"]) == (5_000, 0, False)
    assert told["trouble"].startswith("only what was seen since ")
    monkeypatch.undo()
    told = ask(worker, day, "rare1.example")
    assert (told["rows"], told["changed"], told["trouble"]) == (12_003, 1, "")


def test_more_things_than_there_is_room_for_and_one_that_is_gone(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dryrun, "MOST_THINGS", 50)
    told = ask(Worker(), day, "h7.example")
    assert told["of"] == 12_000
    assert "only 12,000 of 24,003" in told["trouble"]
    monkeypatch.undo()
    worker = Worker()
    with contextlib.closing(sqlite3.connect(day)) as db, db:
        monkeypatch.setattr(dryrun, "seen_before", lambda *args, real=dryrun.seen_before: (real(*args), db.execute("DELETE FROM episodes WHERE id = 20001"), db.commit())[0])
        assert ask(worker, day, "rare1.example")["of"] == 24_002
    assert ask(Worker(), Path("/nonexistent/history.db"), "a.example")["trouble"].startswith("the history cannot be read")
