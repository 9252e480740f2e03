"""A table of all that the gateway has told, of which a filter may leave some out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui.widgets.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class FilteredTable(Table[dict[str, Any]]):
    """What is hidden keeps its mark, and is not acted upon."""

    def __init__(self, *, mark: str = "") -> None:
        super().__init__(mark=mark)
        self.told: list[dict[str, Any]] = []  # with those that are hidden
        self.matching = 0  # of them
        self._passes: Callable[[dict[str, Any]], bool] | None = None

    def arranged(self, rows: list[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        """With lines between them, where there are any."""
        return rows

    def take(self, rows: list[dict[str, Any]]) -> None:
        """In the order in which they stand."""
        self.told = rows
        hidden: list[dict[str, Any]] = []
        matching = rows
        if passes := self._passes:
            matching = [row for row in rows if passes(row)]
            hidden = [row for row in rows if not passes(row)]
        self.matching = len(matching)
        self.show(self.arranged(matching), hidden)
        self.follows = False  # the cursor goes with its row from the start

    def narrow(self, passes: Callable[[dict[str, Any]], bool] | None) -> None:
        """Leave out what does not pass; None: nothing."""
        self._passes = passes
        self.take(self.told)
