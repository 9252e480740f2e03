"""The phones as rows: who they are, and what they did today."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.binding import Binding, BindingType

from firewall.text import inert
from tui.format import cut, moment, size
from tui.widgets.filtered_table import FilteredTable
from tui.widgets.table import GAP, Cell, Column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tui.glyphs import Glyphs

TODAY: Final = ("allow", "ask", "block", "watch")
EXTRA: Final = {"first": 9, "address": 15}  # cells; on wide screens, in the order in which they find room
NARROWEST_VENDOR: Final = 16


def watched(phone: Mapping[str, Any], gate_mode: str) -> bool:
    """Whether nothing of it is refused: by its own mode, else by the gate's."""
    return (phone["mode"] or gate_mode) == "watch"


class PhoneTable(FilteredTable):
    """Rows as the verb "phones" tells them."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "open", "today")]

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(mark=glyphs.mark)
        self._glyphs = glyphs
        self._gate_mode = "enforce"
        self._most = dict.fromkeys(TODAY, 0)

    def tell(self, phones: list[dict[str, Any]], gate_mode: str) -> None:
        self._gate_mode = gate_mode
        self._most = {word: max((phone["today"].get(word, 0) for phone in phones), default=0) for word in TODAY}
        self.take(phones)

    def key(self, row: dict[str, Any]) -> int:
        return int(row["slot"])

    def columns(self, width: int) -> Sequence[Column]:
        left = [Column("phone", 12), Column("group", 7), Column("mode", 7)]
        today = [Column(word, 5, right=True) for word in TODAY]
        seen = [Column("last", 9)]
        room = width - sum(column.width + GAP for column in (*left, *today, *seen))
        for title, cells in EXTRA.items():
            if self.screen.has_class("-wide") and room - cells - GAP >= NARROWEST_VENDOR:
                room -= cells + GAP
                seen = [Column(title, cells), *seen] if title == "first" else [*seen, Column(title, cells)]
        return [*left, Column("vendor", max(1, room)), *today, *seen]

    def cells(self, row: dict[str, Any], columns: Sequence[Column]) -> Sequence[Cell]:
        cells = []
        now = time.time()
        for title, width, _ in columns:
            style = "row" if row["named"] else "ask"
            match title:
                case "phone":
                    text = row["name"]
                case "group":
                    text = row["group"]
                case "mode":
                    watch = watched(row, self._gate_mode)
                    style = "watch" if watch else "dim"
                    text = f"{self._glyphs.verdicts['watch']} watch" if watch else "enforce"
                case "vendor":
                    text, style = "random" if row["random"] else row["vendor"] or "unknown", "dim"
                case "first" | "last":
                    text, style = moment(row[title], now), "dim"
                case "address":
                    text, style = next(iter(row["addresses"]), ""), "dim"
                case word:
                    number = row["today"].get(word, 0)
                    text, style = f"{self._bar(word, number)}{size(number, 1000):>4}", word if number else "dim"
            cells.append(Cell(cut(inert(text), width, self._glyphs.ellipsis), style))
        return cells

    def _bar(self, word: str, number: int) -> str:
        """One cell, against the phone that has most of it today."""
        ramp = self._glyphs.ramp
        return ramp[-(-number * len(ramp) // self._most[word]) - 1] if number else " "
