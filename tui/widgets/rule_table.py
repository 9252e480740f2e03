"""The rules as they are asked: the owner's from top to bottom, then the packs'."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from firewall.text import inert
from tui.format import cut, moment, size
from tui.widgets.filtered_table import FilteredTable
from tui.widgets.table import GAP, Cell, Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui.glyphs import Glyphs

DIVIDER: Final[dict[str, Any]] = {"id": "--"}  # no id of a rule: stands between the owner's and the packs'
PACK, DATE = 11, 9  # cells of a pack's name, and of its month
NOTE_FROM: Final = 60  # cells for the expression, from which on it shares with the note


def sentence(rule: dict[str, Any]) -> str:
    """As the language writes it."""
    return f"{rule['action']} {rule['match']}".rstrip()


class RuleTable(FilteredTable):
    """Rows as the verb "rules" tells them, with a line between the owner's and the packs'."""

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(mark=glyphs.mark)
        self._glyphs = glyphs

    def arranged(self, rows: list[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        mine = sum(bool(rule["mine"]) for rule in rows)
        divider = [DIVIDER] if 0 < mine < len(rows) else []
        return [*rows[:mine], *divider, *rows[mine:]]

    @property
    def mine(self) -> int:
        """How many of the rules are the owner's."""
        return sum(bool(rule["mine"]) for rule in self.told)

    @property
    def rule(self) -> dict[str, Any] | None:
        """The rule under the cursor."""
        return None if self.pointed is DIVIDER else self.pointed

    def key(self, row: dict[str, Any]) -> str:
        return str(row["id"])

    def restful(self, row: dict[str, Any]) -> bool:
        return row is not DIVIDER

    def columns(self, width: int) -> Sequence[Column]:
        left = [Column("#", 3, right=True), Column("action", 7)]
        right = [Column("state", 6), Column("hits", 5, right=True), Column("last", 8), Column("source", PACK)]
        room = width - sum(column.width + GAP for column in (*left, *right))
        if room >= NOTE_FROM:
            right[-1] = Column("source", PACK + DATE)
            room -= DATE
            note = room // 2
            room -= note + GAP
            right.append(Column("note", note))
        return [*left, Column("expression", max(1, room)), *right]

    def cells(self, row: dict[str, Any], columns: Sequence[Column]) -> Sequence[Cell]:
        if row is DIVIDER:
            return self._divider(columns)
        action = str(row["action"])
        hidden = bool(row.get("hidden_by"))
        hides = [one["id"] for one in self.told if one.get("hidden_by") == row["id"]]
        why = f"(never: {row['hidden_by']} is asked first) " if hidden else ""
        note = why + (f"(hides {', '.join(hides)}) " if hides else "") + str(row["note"])
        texts = {
            "#": str(row["position"]),
            "action": f"{self._glyphs.verdicts.get(action, ' ')} {action}",
            "expression": row["match"] or "everything",
            "state": "off" if not row["enabled"] else "hidden" if hidden else "",
            "hits": size(row["hits"], 1000),
            "last": _last(row["last"]),
            "source": row["source"],
            "note": note,
        }
        if columns[-1].width == PACK:
            texts["source"] = str(row["source"]).partition(" ")[0]
        style = "row" if row["enabled"] else "dim"
        return [
            Cell(cut(inert(texts[title]), width, self._glyphs.ellipsis), self._style(title, row, style, hidden=hidden))
            for title, width, _ in columns
        ]

    def _style(self, title: str, row: dict[str, Any], style: str, *, hidden: bool) -> str:
        if title == "expression" and hidden:
            return "struck"
        if title == "state" and hidden:
            return "ask"
        known = row["enabled"] and str(row["action"]) in self._glyphs.verdicts
        return str(row["action"]) if title == "action" and known else style

    def _divider(self, columns: Sequence[Column]) -> Sequence[Cell]:
        line = self._glyphs.line
        words = {"action": " packs ", "#": line * 3}
        return [Cell((words.get(title, "") + line * width)[:width], "dim") for title, width, _ in columns]


def _last(at: float | None) -> str:
    """In eight cells."""
    return moment(at, time.time()).replace(" ", "", 1)[:8] if at else ""
