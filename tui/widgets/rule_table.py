"""The rules as they are asked: the owner's from top to bottom, then the packs'."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from firewall.text import inert
from tui.format import cut, moment, size
from tui.widgets.table import GAP, Cell, Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui.glyphs import Glyphs


class RuleTable(Table[dict[str, Any]]):
    """Rows as the verb "rules" tells them."""

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self._glyphs = glyphs

    def key(self, row: dict[str, Any]) -> str:
        return str(row["id"])

    def columns(self, width: int) -> Sequence[Column]:
        left = [Column("#", 3, right=True), Column("action", 7)]
        right = [Column("hits", 6, right=True), Column("last", 9), Column("source", 20)]
        room = width - sum(column.width + GAP for column in (*left, *right))
        if room >= 70:
            note = room // 2
            room -= note + GAP
            right.append(Column("note", note))
        return [*left, Column("expression", max(1, room)), *right]

    def cells(self, row: dict[str, Any], columns: Sequence[Column]) -> Sequence[Cell]:
        action = str(row["action"])
        texts = {
            "#": str(row["position"]),
            "action": f"{self._glyphs.verdicts.get(action, ' ')} {action}",
            "expression": row["match"] or "everything",
            "hits": size(row["hits"], 1000),
            "last": moment(row["last"], time.time()) if row["last"] else "",
            "source": row["source"],
            "note": row["note"],
        }
        style = "row" if row["enabled"] else "dim"
        known = row["enabled"] and action in self._glyphs.verdicts
        return [
            Cell(
                cut(inert(texts[title]), width, self._glyphs.ellipsis),
                action if title == "action" and known else style,
            )
            for title, width, _ in columns
        ]
