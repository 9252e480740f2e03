from tui.glyphs import ASCII, UNICODE
from tui.widgets.hours import bars

BEGIN = 1_763_700_000 - 1_763_700_000 % 3_600


def hours(**last):
    quiet = {"allow": 9, "ask": 0, "block": 0, "watch": 0}
    return [{"hour": BEGIN + at * 3_600, **quiet, **(last if at == 23 else {})} for at in range(24)]


def test_each_hour_has_a_bar_for_blocked_asked_and_watched():
    top, bottom, axis = bars(hours(block=16, ask=8, watch=1), UNICODE).plain.splitlines()
    assert top.rstrip() == " " * 70 + "█"
    assert bottom.rstrip() == " " * 70 + "██▁"
    assert axis.count(":00") == 8
    assert axis.endswith("✖?◐")
    assert len(axis) <= 80


def test_a_quiet_day_has_no_bars():
    assert not bars(hours(), UNICODE).plain.splitlines()[0].strip()
    assert bars([], ASCII).plain


def test_bars_without_unicode():
    assert bars(hours(block=1), ASCII).plain.isascii()
