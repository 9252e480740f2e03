"""Open questions as rows; those that were put off below them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.binding import Binding, BindingType

from firewall.text import inert
from tui import asking
from tui.format import cut, cut_name, moment, size
from tui.widgets.filtered_table import FilteredTable
from tui.widgets.table import GAP, Cell, Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui.glyphs import Glyphs

DIVIDER: Final[dict[str, Any]] = {"id": -1}
EXTRA: Final = {"readable": 18, "group": 10}  # cells; on wide screens, in the order in which they find room
NARROWEST_WANTS: Final = 26


class AskTable(FilteredTable):
    """Rows as the verb "asks" tells them: the newest question on top, where it stays however often it is tried."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "open", "answer")]

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(mark=glyphs.mark)
        self._glyphs = glyphs

    def tell(self, questions: list[dict[str, Any]]) -> None:
        self.take(sorted(questions, key=lambda one: (one["first"], one["id"]), reverse=True))

    def arranged(self, rows: list[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        later = [one for one in rows if one["put_off"]]
        waiting = [one for one in rows if not one["put_off"]]
        return [*waiting, *([DIVIDER] if later else ()), *later]

    @property
    def question(self) -> dict[str, Any] | None:
        """The one under the cursor."""
        return None if self.pointed is DIVIDER else self.pointed

    def key(self, row: dict[str, Any]) -> int:
        return int(row["id"])

    def restful(self, row: dict[str, Any]) -> bool:
        return row is not DIVIDER

    def columns(self, width: int) -> Sequence[Column]:
        left = [Column("phone", 12)]
        right = [Column("n", 5, right=True), Column("where", 16), Column("last", 9)]
        room = width - sum(column.width + GAP for column in (*left, *right))
        for title, cells in EXTRA.items():
            if self.screen.has_class("-wide") and room - cells - GAP >= NARROWEST_WANTS:
                room -= cells + GAP
                right.insert(-1, Column(title, cells))
        return [*left, Column("wants", max(1, room)), *right]

    def cells(self, row: dict[str, Any], columns: Sequence[Column]) -> Sequence[Cell]:
        if row is DIVIDER:
            return divider(" put off ", columns, self._glyphs)
        now, ellipsis = time.time(), self._glyphs.ellipsis
        style = "dim" if row["put_off"] else "row"
        cells = []
        for title, width, _ in columns:
            match title:
                case "phone":
                    text = f"{self._glyphs.verdicts['ask']} {row['phone']}"
                case "wants":
                    named = row["kind"] == "name"
                    text = cut_name(inert(row["title"]), width, ellipsis) if named else row["title"]
                case "n":
                    text = size(row["count"], 1000)
                case "where":
                    text = asking.place(row)
                case "readable" | "group":
                    text = str(row.get(title) or "")
                case _:
                    text = moment(row["last"], now)
            colour = "ask" if title == "phone" and style == "row" else style
            cells.append(Cell(cut(inert(text), width, ellipsis), colour))
        return cells


def divider(words: str, columns: Sequence[Column], glyphs: Glyphs) -> Sequence[Cell]:
    """A line with words near its beginning."""
    texts = (glyphs.line + words, *[""] * (len(columns) - 1))
    pairs = zip(texts, columns, strict=True)
    return [Cell((text + glyphs.line * column.width)[: column.width], "dim") for text, column in pairs]
