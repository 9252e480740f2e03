from __future__ import annotations

import pytest

from tui.bell import QUIET_SECONDS, Bell, settings


def test_it_rings_when_somebody_begins_to_wait(tmp_path):
    bell = Bell(tmp_path / "silent")
    assert [bell.hear(waiting, now) for waiting, now in ((2, 0.0), (2, 1.0), (3, 2.0), (1, 100.0), (2, 101.0))] == [False, False, True, False, True]


def test_a_phone_that_asks_without_end_is_no_alarm_clock(tmp_path):
    bell = Bell(tmp_path / "silent")
    assert sum(bell.hear(waiting, waiting / 10) for waiting in range(600)) == pytest.approx(60 / QUIET_SECONDS, abs=1)


def test_silence_is_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    bell = Bell(settings())
    bell.switch()
    assert bell.silent
    assert Bell(settings()).silent
    assert not any(bell.hear(waiting, waiting * 100) for waiting in range(3))
    bell.switch()
    assert not Bell(settings()).silent


def test_without_a_place_to_remember_it_still_is_silent(tmp_path):
    (tmp_path / "file").touch()
    bell = Bell(tmp_path / "file" / "silent")
    with pytest.raises(OSError):
        bell.switch()
    assert bell.silent
