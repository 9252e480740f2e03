from __future__ import annotations

import pytest
from textual.app import App

from tui.widgets.table import Cell, Column, Table


class Words(Table):
    def key(self, row):
        return row

    def columns(self, width):
        return [Column("word", width)]

    def cells(self, row, columns):
        return [Cell(row)]


class Host(App):
    def __init__(self):
        super().__init__()
        self.opened = []

    def compose(self):
        yield Words()

    def on_table_opened(self):
        self.opened.append(self.query_one(Words).pointed)


@pytest.fixture
async def host():
    app = Host()
    async with app.run_test(size=(30, 6)) as pilot:  # five rows are seen
        app.query_one(Words).focus()
        yield app, app.query_one(Words), pilot


def rows(first, last):
    return [f"w{number}" for number in range(first, last, -1)]


async def line(pilot, table, word):
    """The screen line of a row."""
    await pilot.pause()
    strips = table.app.screen._compositor.render_strips()
    return next(y for y, strip in enumerate(strips) if "".join(s.text for s in strip).split()[:1] == [word])


async def test_until_it_is_moved_the_cursor_rests_on_the_newest(host):
    _, table, _ = host
    table.show(rows(9, 0))
    table.show(rows(12, 0))
    assert table.pointed == "w12"
    assert table.above == 0


async def test_the_cursor_stays_on_its_row_and_the_row_on_its_line(host):
    _, table, pilot = host
    table.show(rows(9, 0))
    await pilot.press("down", "down")
    assert await line(pilot, table, "w7") == 3
    table.show(rows(30, 0))
    assert table.pointed == "w7"
    assert await line(pilot, table, "w7") == 3
    assert table.above == 21


async def test_g_goes_back_to_the_newest(host):
    _, table, pilot = host
    table.show(rows(9, 0))
    await pilot.press("G")
    assert table.pointed == "w1"
    await pilot.press("g")
    table.show(rows(10, 0))
    assert table.pointed == "w10"
    assert table.above == 0


async def test_a_row_that_is_gone_leaves_the_cursor_where_it_was(host):
    _, table, pilot = host
    table.show(rows(9, 0))
    await pilot.press("down", "down")
    table.show(["a", "b", "c", "d"])
    assert table.pointed == "c"
    table.show(["a"])
    assert table.pointed == "a"
    table.show([])
    assert table.pointed is None
    await pilot.press("down", "enter", "G", "pagedown")
    assert table.pointed is None


async def test_pages(host):
    _, table, pilot = host
    table.show(rows(20, 0))
    await pilot.press("pagedown")
    assert table.pointed == "w15"
    await pilot.press("pageup", "up")
    assert table.pointed == "w20"


async def test_a_click_points_and_another_opens(host):
    app, table, pilot = host
    table.show(rows(9, 0))
    await pilot.pause()
    await pilot.click(Words, offset=(3, 3))
    assert (table.pointed, app.opened) == ("w7", [])
    await pilot.click(Words, offset=(3, 3))
    await pilot.pause()
    assert app.opened == ["w7"]
    await pilot.click(Words, offset=(3, 0))
    assert table.pointed == "w7"


async def test_an_empty_table_teaches(host):
    _, table, pilot = host
    table.show([])
    table.teach("No phone has spoken yet.")
    await pilot.pause()
    strips = table.app.screen._compositor.render_strips()
    assert any("No phone has spoken yet." in "".join(s.text for s in strip) for strip in strips)


async def test_space_marks_rows_and_marks_stay_with_them(host):
    _, table, pilot = host
    table.mark = "*"
    table.show(rows(9, 0))
    await pilot.press("space", "space", "down", "space")
    assert table.marked == table.chosen == ["w9", "w8", "w6"]
    table.show(rows(12, 6))  # w6 is gone
    assert table.marked == ["w9", "w8"]
    await pilot.press("g")
    await pilot.pause()
    strips = ["".join(s.text for s in strip) for strip in table.app.screen._compositor.render_strips()]
    assert [strip.split()[0] for strip in strips[1:5]] == ["w12", "w11", "w10", "*w9"]
    table.point("w9")
    await pilot.press("space")
    assert table.marked == ["w8"]
    table.unmark()
    assert table.marked == []
    assert table.chosen == [table.pointed] == ["w8"]


async def test_where_nothing_can_be_done_with_several_rows_none_is_marked(host):
    _, table, pilot = host
    table.show(rows(9, 0))
    await pilot.press("space")
    assert table.marked == []
    assert table.pointed == "w9"
