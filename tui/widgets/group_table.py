"""Groups of rows: what they share, how often, and a bar."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType

from firewall.text import inert
from tui.format import cut, moment, size
from tui.widgets.table import GAP, Cell, Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui.glyphs import Glyphs

BAR = 14  # cells


class GroupTable(Table[dict[str, Any]]):
    """Rows as the verb "history.groups" tells them, the largest first."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "open", "rows")]

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self._glyphs = glyphs

    def key(self, row: dict[str, Any]) -> str:
        return str(row["key"])

    def columns(self, width: int) -> Sequence[Column]:
        numbers = [Column(title, 5, right=True) for title in ("n", "refus", "watch", "allow", "phone")]
        right = [*numbers, Column("last", 9)]
        room = width - sum(column.width + GAP for column in (*right, Column("", BAR)))
        return [Column("what", max(1, room)), Column("", BAR), *right]

    def cells(self, row: dict[str, Any], columns: Sequence[Column]) -> Sequence[Cell]:
        most = max(1, *(one["count"] for one in self.rows))
        refused = "ask" if row["refused"] else "dim"
        texts = [
            (row["title"] or "none", "row"),
            (self._glyphs.ramp[-1] * -(-row["count"] * BAR // most), refused),
            (size(row["count"], 1000), "row"),
            (size(row["refused"], 1000), refused),
            (size(row["watched"], 1000), "watch" if row["watched"] else "dim"),
            (size(row["allowed"], 1000), "dim"),
            (str(row["phones"]), "dim"),
            (moment(row["last"], time.time()), "dim"),
        ]
        cut_to = zip(texts, columns, strict=False)  # before the first resize there are none
        return [Cell(cut(inert(text), column.width, self._glyphs.ellipsis), style) for (text, style), column in cut_to]
