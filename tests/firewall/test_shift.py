from __future__ import annotations

import time
from pathlib import Path

import pytest

from firewall import engine, shift
from firewall.shift import Follower, Shift, read, tell

HOUR, YEAR = 3_600.0, 31_536_000.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / shift.FILE


def test_later_is_later_for_all_clocks_and_earlier_for_that_of_the_wall(file: Path) -> None:
    assert read(file) == Shift(0, 0)
    assert tell(file, "+10m") == Shift(600, 600)
    assert tell(file, "+1h") == Shift(600 + HOUR, 600 + HOUR)
    assert tell(file, "-1y") == Shift(600 + HOUR, 600 + HOUR - YEAR)
    assert tell(file, "+1y", wall_only=True) == Shift(600 + HOUR, 600 + HOUR)
    assert tell(file, "reset") == Shift(600 + HOUR, 0)
    assert read(file) == Shift(600 + HOUR, 0)


@pytest.mark.parametrize("step", ["", "10m", "+m", "+10", "+10 m", "+1e9s", "-10mm", "tomorrow", "+101y", "-999999999y"])
def test_what_is_no_time_is_said_and_changes_nothing(file: Path, step: str) -> None:
    tell(file, "+1m")
    with pytest.raises(ValueError, match="time|years"):
        tell(file, step)
    assert read(file) == Shift(60, 60)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"boot": "x", "wall": 1}', '{"boot": null, "wall": 1}', "\0"])
def test_a_file_that_nobody_understands_is_none(file: Path, text: str) -> None:
    file.write_text(text)
    assert read(file) == Shift(0, 0)


def test_who_follows_sees_it_at_once_and_boot_time_never_goes_back(file: Path) -> None:
    follower = Follower()
    tell(file, "+1h")
    assert follower() == Shift(0, 0), "nobody has said that it is to follow a file"
    follower.follow(file)
    assert follower() == Shift(HOUR, HOUR)
    file.unlink()
    time.sleep(2 * shift.LOOK_SECONDS)
    assert follower() == Shift(HOUR, 0)


def test_the_clock_of_this_process(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = time.clock_gettime(time.CLOCK_BOOTTIME), time.time()
    tell(file, "+1y")
    now = engine.clock()
    assert 0 <= now.boot - here[0] < 60
    assert 0 <= now.wall - here[1] < 60
    follower = Follower()
    follower.follow(file)
    monkeypatch.setattr(engine, "shifted", follower)
    now = engine.clock()
    assert YEAR <= now.boot - here[0] < YEAR + 60
    assert YEAR <= engine.wall() - here[1] < YEAR + 60
