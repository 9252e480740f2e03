from __future__ import annotations

import socket
from pathlib import Path

import pytest

from firewall.notify import message, notify
from firewall.watchdog import Watchdog


class Bench:
    """A watchdog whose probe and gate say what the test wants."""

    def __init__(self) -> None:
        self.said: list[str | None] = []
        self.how = "STARTING", "the rules have not been loaded yet"
        self.told: list[str] = []
        self.notified: list[dict] = []
        self.dog = Watchdog(lambda: self.said.pop(0), lambda: self.how, self.told.append, lambda **words: self.notified.append(words))

    def turn(self, *said: str | None) -> list[dict]:
        self.notified.clear()
        for word in said:
            self.said.append(word)
            self.dog()
        return list(self.notified)


def test_fed_only_by_a_probe_that_came_back() -> None:
    bench = Bench()
    assert bench.turn(None) == []
    assert bench.turn("") == [{"WATCHDOG": 1, "STATUS": "STARTING the rules have not been loaded yet"}]
    bench.how = "ENFORCING", ""
    assert bench.turn("") == [{"WATCHDOG": 1, "STATUS": "ENFORCING", "READY": 1}]
    assert bench.turn("") == [{"WATCHDOG": 1, "STATUS": "ENFORCING"}]  # ready is said once
    assert bench.turn("the queue is full") == [{"STATUS": "ENFORCING, not fed: the queue is full"}]
    assert bench.dog.wrong == "the queue is full"


def test_a_gate_that_goes_on_not_answering_is_said_once() -> None:
    bench = Bench()
    bench.turn("", "lost", "lost")
    assert bench.told == []  # one may be lost
    bench.turn("lost", "lost", "lost", "lost")
    assert bench.told == ["the gate does not answer its own probe: lost"]
    bench.turn("")
    assert bench.dog.wrong == ""
    bench.turn("lost", "lost", "lost")
    assert len(bench.told) == 2


def test_a_locked_gate_is_ready_and_fed() -> None:
    bench = Bench()
    bench.how = "LOCKED", "stopped by anna"
    assert bench.turn("") == [{"WATCHDOG": 1, "STATUS": "LOCKED stopped by anna", "READY": 1}]


def test_the_patience_of_the_start_ends_with_it() -> None:
    told: list[dict] = []
    dog = Watchdog(lambda: "", lambda: ("ENFORCING", ""), print, lambda **words: told.append(words), "30000000")
    dog()
    dog()
    assert [words.get("WATCHDOG_USEC") for words in told] == ["30000000", None]


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_in_its_own_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, abstract: bool) -> None:
    name = f"@consentry-{tmp_path}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1))
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        assert notify(message(READY=1, STATUS="LOCKED a\nREADY=0"))  # no line of a reason becomes a word of its own
        assert listener.recv(999) == b"READY=1\nSTATUS=LOCKED a READY=0"


def test_nobody_has_to_listen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify(b"READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert not notify(b"READY=1")
