from __future__ import annotations

import contextlib
import socket
import sqlite3
import time
from collections import deque
from pathlib import Path

from firewall.episodes import Episodes
from firewall.events import FlowDecided, State, StateChanged, Trouble
from firewall.history import History, retention
from firewall.history.rows import hits
from firewall.inputs import FlowKey
from firewall.recorder import Recorder
from rules.observation import Name, Observation, Source
from rules.verdict import Decision, Verdict

PHONE, THERE = socket.inet_aton("10.77.0.10"), socket.inet_aton("198.51.100.9")


class Shelf:
    """Stands where the history does."""

    trouble = None

    def __init__(self) -> None:
        self.rows, self.notes = [], []
        self.happened = deque()

    def hits(self):
        return {"m1": (7, 12.0)}

    def append(self, rows, notes=(), closed=0, hits=None) -> None:
        self.rows += [(row.id, row.count) for row in rows]
        self.notes += notes


def decided(name: str) -> FlowDecided:
    seen = Observation("phone1", "tcp", THERE, 443, said=(Name(name, Source.SNI),))
    return FlowDecided(time.time(), PHONE, FlowKey(6, PHONE, 1, THERE, 443), seen, Decision(Verdict.ASK, "xiaomi/2", "why", "", 1))


def build() -> tuple[Recorder, Shelf, list]:
    shelf, published = Shelf(), []
    return Recorder(Episodes(1), shelf, published.append), shelf, published


def test_what_changed_is_handed_over_once_in_its_newest_state() -> None:
    recorder, shelf, published = build()
    recorder.record([decided("a.example"), decided("a.example"), decided("b.example")])
    assert (shelf.rows, published) == ([], [])  # nothing but folding in the hot path
    recorder.flush()
    recorder.flush()
    assert shelf.rows == [(1, 2), (2, 1)]
    assert [item["episode"]["name"] for item in published] == ["a.example", "b.example"]


def test_while_nobody_follows_nothing_is_made_for_them_and_the_history_has_it_all_the_same() -> None:
    shelf, published, there = Shelf(), [], []
    recorder = Recorder(Episodes(1), shelf, published.append, followed=lambda: bool(there))
    recorder.record([decided("a.example")])
    recorder.flush()
    assert (shelf.rows, published) == ([(1, 1)], [])
    there.append("anna")
    recorder.record([decided("a.example")])
    recorder.flush()
    assert [item["episode"]["count"] for item in published] == [2]


def test_hits_and_flows_per_second_are_counted() -> None:
    recorder, _, _ = build()
    recorder.record([decided("a.example")] * 3)
    assert recorder.hits["xiaomi/2"][0] == 3
    recorder._second -= 1
    assert recorder.per_second()[-1] == 3
    assert len(recorder.per_second()) == 60


def test_what_became_of_the_historys_file_is_on_the_screen_and_in_the_log_once() -> None:
    shelf, logged = Shelf(), []
    recorder = Recorder(Episodes(1), shelf, [].append, log=logged.extend)
    shelf.happened.append("the history's file was emptied")
    recorder.flush()
    recorder.flush()
    assert recorder.trouble == "the history's file was emptied"
    assert [event.text for event in logged] == ["the history's file was emptied"]
    assert shelf.notes == []  # the history has noted it already


def test_hits_survive_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    for start in (0, 3, 6):
        history = History(file)
        recorder = Recorder(Episodes(history.next_id()), history, [].append)
        assert recorder.hits.get("xiaomi/2", (0, 0.0))[0] == start
        recorder.record([decided("a.example")] * 3)
        last = recorder.hits["xiaomi/2"][1]
        recorder.flush()
        history.close()
        assert history.hits() == {"xiaomi/2": (start + 3, last)}
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        retention.forget(db, last + retention.KEEP_SECONDS - 1)
        assert hits(db) == {"xiaomi/2": (9, last)}
        retention.forget(db, last + retention.KEEP_SECONDS + 1)
        assert hits(db) == {}
    file.unlink()
    assert history.hits() == {}


def test_states_and_troubles_are_notes_and_seen_at_once() -> None:
    recorder, shelf, _ = build()
    recorder.record([StateChanged(12.0, State.ENFORCING, ""), Trouble(13.0, "somebody flushed")])
    assert (recorder.since, recorder.trouble) == (12.0, "somebody flushed")
    recorder.flush()
    assert len(shelf.notes) == 2
    recorder._trouble_at -= 61
    assert recorder.trouble is None
    shelf.trouble = "the disk is full"
    assert recorder.trouble == "the disk is full"
