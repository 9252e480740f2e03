"""Consents as rows: those that hold, with a bar that shrinks; below them those that ended, with why."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.binding import Binding, BindingType

from firewall.text import inert
from tui import consenting
from tui.format import cut, cut_name, moment, size
from tui.widgets.ask_table import divider
from tui.widgets.filtered_table import FilteredTable
from tui.widgets.table import GAP, Cell, Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui.glyphs import Glyphs

DIVIDER: Final[dict[str, Any]] = {"id": -1}
MOST_ENDED: Final = 500  # rows; the history has all
BAR: Final = 6  # cells
WHY: Final = 16  # "revoked by anna"
LEFT: Final = BAR + 1 + 13


class ConsentTable(FilteredTable):
    """Rows as the verb "consents" tells them."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "open", "flows")]

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(mark=glyphs.mark)
        self._glyphs = glyphs
        self._told_at = 0.0

    def tell(self, consents: list[dict[str, Any]], at: float) -> None:
        """`at`: monotonic time at which the gateway said so. The newest of each kind is on top."""
        self._told_at = at
        self.take(sorted(consents, key=lambda one: (one["given"], one["id"]), reverse=True))

    def arranged(self, rows: list[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        active = [one for one in rows if one["state"] != consenting.ENDED]
        over = [one for one in rows if one["state"] == consenting.ENDED]
        over.sort(key=consenting.ended, reverse=True)
        return [*active, *([DIVIDER] if over else ()), *over[:MOST_ENDED]]

    @property
    def passed(self) -> float:
        """Seconds since the gateway said what is left."""
        return time.monotonic() - self._told_at

    @property
    def consent(self) -> dict[str, Any] | None:
        """The one under the cursor."""
        return None if self.pointed is DIVIDER else self.pointed

    def key(self, row: dict[str, Any]) -> int:
        return int(row["id"])

    def restful(self, row: dict[str, Any]) -> bool:
        return row is not DIVIDER

    def markable(self, row: dict[str, Any]) -> bool:
        return row is not DIVIDER and row["state"] != consenting.ENDED

    def columns(self, width: int) -> Sequence[Column]:
        wide = self.screen.has_class("-wide")
        left = [Column("phone", 14)]
        used = ("flows", "up", "down") if wide else ("up",)
        right = [Column("left", LEFT), *(Column(title, 5, right=True) for title in used)]
        if wide:
            right.append(Column("given", 9))
        room = width - sum(column.width + GAP for column in (*left, *right)) - GAP
        why = max(WHY, room * 2 // 5)
        return [*left, Column("may reach", max(1, room - why)), *right, Column("by, why ended", max(1, why))]

    def cells(self, row: dict[str, Any], columns: Sequence[Column]) -> Sequence[Cell]:
        if row is DIVIDER:
            return divider(" ended ", columns, self._glyphs)
        now, ellipsis = time.time(), self._glyphs.ellipsis
        style = "dim" if row["state"] == consenting.ENDED else "row"
        cells = []
        for title, width, _ in columns:
            colour = style
            match title:
                case "phone":
                    text = f"{self._glyphs.verdicts['consent']} {consenting.whom(row)}"
                    colour = "consent" if style == "row" else style
                case "may reach":
                    what = consenting.what(row)
                    text = cut_name(what, width, ellipsis) if row["kind"] == "name" else what
                case "left":
                    text = self._left(row, now)
                    colour = {"suspended": "ask", "active": "consent"}.get(row["state"], style)
                case "flows":
                    text = size(row["flows"], 1000)
                case "up" | "down":
                    text = size(row[title])
                case "given":
                    text = moment(row["given"], now)
                case _:
                    text = str(row["why"] if style == "dim" else row["who"])
            cells.append(Cell(cut(inert(text), width, ellipsis), colour))
        return cells

    def _left(self, row: dict[str, Any], now: float) -> str:
        if row["state"] == consenting.ENDED:
            at = consenting.ended(row)
            return f"ended {moment(at, now)}" if at else "ended"
        if row["state"] == consenting.SUSPENDED:
            return consenting.remaining(row, self.passed)
        bar = consenting.bar(consenting.share(row, self.passed), BAR, self._glyphs)
        return f"{bar} {consenting.remaining(row, self.passed)}"
