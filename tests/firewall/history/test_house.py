from __future__ import annotations

import pytest

from firewall.history.house import DOUBT, LEAP, HouseTime

DAY, YEAR = 86_400.0, 365 * 86_400.0


def test_it_follows_the_wall_clock() -> None:
    house = HouseTime(None, 1_000_000.0, 5.0)
    assert house.now(1_000_060.0, 65.0, trusted=True) == 1_000_060.0
    assert house.now(1_000_090.0 + DAY, 90.0, trusted=True) == 1_000_090.0 + DAY  # it slept


@pytest.mark.parametrize("jump", [YEAR, -10 * YEAR, LEAP + 100])
def test_a_jump_is_not_believed_until_a_day_has_passed(jump: float) -> None:
    house = HouseTime(None, 1_000_000.0, 0.0)
    for hour in range(1, 24):
        assert house.now(1_000_000.0 + jump + hour * 3_600, hour * 3_600.0, trusted=True) == 1_000_000.0 + hour * 3_600
        assert house.doubts
    assert house.now(1_000_000.0 + jump + 2 * DOUBT, 2 * DOUBT, trusted=True) == 1_000_000.0 + jump + 2 * DOUBT


def test_a_jump_that_is_taken_back_leaves_no_trace() -> None:
    house = HouseTime(None, 1_000_000.0, 0.0)
    house.now(1_000_000.0 + YEAR, 10.0, trusted=True)
    assert house.now(1_000_020.0, 20.0, trusted=True) == 1_000_020.0
    assert not house.doubts


def test_a_jump_while_the_box_was_off_is_not_believed_either() -> None:
    assert HouseTime(1_000_000.0, 1_000_000.0 + YEAR, 0.0).doubts
    assert HouseTime(1_000_000.0, 0.0, 0.0).doubts
    assert not HouseTime(1_000_000.0, 1_000_000.0 + LEAP - 1, 0.0).doubts


def test_an_untrusted_clock_is_never_believed() -> None:
    house = HouseTime(None, 1_000_000.0, 0.0)
    for day in range(1, 5):
        assert house.now(1_000_000.0 + YEAR, day * DAY, trusted=False) == 1_000_000.0 + day * DAY
    house = HouseTime(1_000_000.0, 1_000_000.0 + DAY, 0.0, trusted=False)  # nor at the start, however plausible it is
    assert house.doubts
    assert house.now(1_000_060.0 + DAY, 60.0, trusted=False) == 1_000_060.0
    assert house.now(1_000_090.0 + DAY, 90.0, trusted=True) == 1_000_090.0 + DAY
