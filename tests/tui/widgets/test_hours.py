from tui.glyphs import UNICODE
from tui.widgets.hours import bars, per_hour

NOW = 1_763_700_000.0 - 1_763_700_000 % 3_600 + 1_800


def test_refused_tries_are_counted_in_the_hour_of_their_last_one(episode):
    rows = [
        episode(1, verdict="ask", count=3, at=NOW), episode(2, verdict="block", count=2, at=NOW - 3_600), episode(3, at=NOW),
        episode(4, verdict="block", at=NOW - 24 * 3_600), episode(5, verdict="held", at=NOW), episode(6, verdict="ask", at=NOW - 23 * 3_600),
    ]
    hours = per_hour(rows, NOW)
    assert (hours[23], hours[22], hours[0]) == (3, 2, 1)
    assert sum(hours) == 6


def test_bars_are_as_high_as_their_hours():
    top, bottom, axis = bars([0] * 21 + [1, 8, 16], NOW, UNICODE).plain.splitlines()
    assert top.rstrip() == " " + " " * 69 + "██"
    assert bottom.rstrip() == " " + " " * 63 + "▁▁ ██ ██"
    assert axis.count(":00") == 8


def test_a_quiet_day_has_no_bars():
    assert "█" not in bars([0] * 24, NOW, UNICODE).plain
