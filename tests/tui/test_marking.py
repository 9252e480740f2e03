from __future__ import annotations

from tui import marking
from tui.glyphs import ASCII, UNICODE


def test_how_many_which_and_what_the_keys_do():
    lines = marking.in_full(["anna: a.example", "tv: b.example"], "x revokes them", 40, UNICODE).plain.split("\n")
    assert lines == ["▸ 2 marked", "anna: a.example, tv: b.example", "x revokes them; esc lets go of all"]


def test_it_is_as_wide_as_there_is_room():
    lines = marking.in_full(["[b]x[/b]"] * 30, "d disables them", 30, ASCII).plain.split("\n")
    assert lines[0] == "> 30 marked"
    assert all(len(line) <= 30 for line in lines)
    assert lines[1].startswith("[b]x[/b], ")
