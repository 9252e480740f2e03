from __future__ import annotations

import pytest

from tui.glyphs import ASCII, UNICODE
from tui.widgets.tabs import PAGES, tabs


def line(room, page="live", waiting=0, glyphs=UNICODE):
    text = ""
    for tab in tabs(page, waiting, room, glyphs):
        text = text.ljust(tab.at) + tab.text
    return text


def test_as_spacious_as_there_is_room_for():
    assert line(79) == " 1 Live   2 Asks   3 History   4 Rules   5 Consents   6 Phones"
    assert line(57) == " 1 Live  2 Asks  3 History  4 Rules  5 Consents  6 Phones"
    assert line(52) == " 1 Live 2 Asks 3 History 4 Rules 5 Consents 6 Phones"
    assert line(40, "rules") == " 1  2  3  4 Rules  5  6"


def test_open_questions_are_counted():
    assert "2 Asks³   3 History" in line(79, waiting=3)
    assert "2 Asks¹²⁰" in line(79, waiting=120)
    assert "2 Asks(3)" in line(79, waiting=3, glyphs=ASCII)
    assert " 2³  3" in line(20, waiting=3)


@pytest.mark.parametrize("page", PAGES)
def test_all_are_there_however_narrow(page):
    assert [tab.page for tab in tabs(page, 12, 10, UNICODE)] == list(PAGES)
