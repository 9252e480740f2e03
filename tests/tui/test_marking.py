from __future__ import annotations

from tui import marking
from tui.glyphs import ASCII, UNICODE


def test_how_many_which_and_what_the_keys_do():
    lines = marking.in_full(["anna: a.example", "tv: b.example"], 0, "x revokes them", 40, UNICODE).plain.split("\n")
    assert lines == ["▸ 2 marked", "anna: a.example, tv: b.example", "x revokes them; esc lets go of all"]


def test_it_is_as_wide_as_there_is_room():
    lines = marking.in_full(["[b]x[/b]"] * 30, 0, "d disables them", 30, ASCII).plain.split("\n")
    assert lines[0] == "> 30 marked"
    assert all(len(line) <= 30 for line in lines)
    assert lines[1].startswith("[b]x[/b], ")


def test_what_is_marked_and_hidden_is_said():
    lines = marking.in_full(["anna: a.example"], 2, "x revokes them", 80, UNICODE).plain.split("\n")
    assert lines == ["▸ 3 marked, 2 of them hidden: nothing is done with those", "anna: a.example", "x revokes them; esc lets go of these"]
    lines = marking.in_full([], 2, "x revokes them", 80, UNICODE).plain.split("\n")
    assert lines == ["▸ 2 marked, all of them hidden: nothing is done with those", "", "esc shows them"]
