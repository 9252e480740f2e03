"""Episodes as rows, in the live view and in the history."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding, BindingType

from firewall.episode import Episode
from firewall.text import inert
from tui.format import clock, count, cut, moment, place, size, what
from tui.widgets.table import GAP, Cell, Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui.glyphs import Glyphs

NARROWEST_TO: Final = 24  # cells of `to` that are not given away
# Cells; on wide screens, in the order in which they find room
EXTRA: Final = {"where": 16, "rule": 12, "service": 14, "via": 9, "down": 5}
RIGHT: Final = ("where", "up", "down", "via", "service", "rule")  # their order on the screen
COUNTRY: Final = 5  # cells of `where` that has no room for the operator


class EpisodeTable(Table[Episode]):
    """`span`: with first and last time, as the history shows them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "detail", "detail"), Binding("enter", "open", show=False), Binding("y", "copy", show=False),
    ]

    def __init__(self, glyphs: Glyphs, *, span: bool = False) -> None:
        super().__init__(mark=glyphs.mark)
        self._glyphs = glyphs
        self._span = span

    def key(self, row: Episode) -> int:
        return row.id

    def columns(self, width: int) -> Sequence[Column]:
        times = [Column("first", 9), Column("last", 9)] if self._span else [Column("time", 8)]
        left = [*times, Column("phone", 10), Column("verdict", 9), Column("n", 5, right=True)]
        given = {"where": COUNTRY, "up": 5}
        room = width - sum(column.width + GAP for column in left) - sum(cells + GAP for cells in given.values())
        for title, wanted in EXTRA.items():
            more = wanted - given[title] if title in given else wanted + GAP
            if self.screen.has_class("-wide") and room - more >= NARROWEST_TO:
                given[title] = wanted
                room -= more
        right = [Column(title, cells, right=title in {"up", "down"}) for title, cells in given.items()]
        right.sort(key=lambda column: RIGHT.index(column.title))
        return [*left, Column("to", max(1, room)), *right]

    def cells(self, row: Episode, columns: Sequence[Column]) -> Sequence[Cell]:
        quiet = row.verdict == "allow"
        style = "dim" if quiet else "row"
        now = time.time() if self._span else 0.0
        shape = self._glyphs.verdicts.get(row.verdict, " ")
        cells = []
        for title, width, _ in columns:
            match title:
                case "time":
                    text = clock(row.last)
                case "first" | "last":
                    text = moment(row.first if title == "first" else row.last, now)
                case "verdict":
                    cells.append(Cell(f"{shape} {row.verdict}", row.verdict if shape != " " else "row"))
                    continue
                case "n":
                    text = size(row.count, 1000) if row.count > 1 else ""
                case "to":
                    text = what(row, width, self._glyphs)
                case "up":
                    text = size(row.bytes_up)
                case "down":
                    text = size(row.bytes_down)
                case "where":
                    text = " ".join(place(row)) if width > COUNTRY else place(row)[0]
                case "via":
                    text = row.way
                case "service":
                    text = row.service
                case "rule":
                    text = row.rule
                case _:
                    text = row.phone
            cells.append(Cell(cut(inert(text), width, self._glyphs.ellipsis), style))
        return cells

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The last line has room for this key only on wide screens; it works on all."""
        if action == "detail":
            return self.screen.has_class("-wide")
        return super().check_action(action, parameters)

    def action_detail(self) -> None:
        self.action_open()

    def action_copy(self) -> None:
        """The names, or the addresses, as they may safely be pasted elsewhere: each once, a line for each."""
        if found := list(dict.fromkeys(inert(row.to) for row in self.chosen)):
            self.app.copy_to_clipboard("\n".join(found))
            text = found[0] if len(found) == 1 else count(len(found), "name")
            self.app.notify(f"copied {text}", timeout=2, markup=False)
