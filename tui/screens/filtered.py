"""A page whose list can be narrowed in the language of the rules: `/` on all lists that show no flows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input

from firewall.text import inert
from rules.row_filter import RowFilter
from tui.format import cut
from tui.screens.page import Page
from tui.widgets.filter_line import FilterLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rules.row_filter import Row
    from tui.widgets.filtered_table import FilteredTable

WORDS = 28  # cells of a filter beside the tabs


class Filtered(Page):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("slash", "filter", "filter")]
    ACTS: ClassVar[frozenset[str]]  # whose keys are letters while something is written
    TERMS: ClassVar[Sequence[str]]  # which its rows know
    table: FilteredTable

    def __init__(self) -> None:
        super().__init__()
        self.filter_line = FilterLine(self.gate.glyphs, terms=self.TERMS)
        self._words = ""  # the filter as it was written; "": everything is shown
        self._aside = Content("")
        self._lesson = ""

    def row(self, told: dict[str, Any]) -> Row:
        """What it answers to a filter."""
        raise NotImplementedError

    def on_mount(self) -> None:
        self.filter_line.display = False

    def tell(self, aside: Content, lesson: str) -> None:
        """What stands beside the tabs, and where rows would. A filter has its own words for both."""
        self._aside, self._lesson = aside, lesson
        table = self.table
        if self._words and table.told:
            words = cut(inert(self._words), WORDS, self.gate.glyphs.ellipsis)
            aside = Content.assemble((f"filtered, {table.matching} of {len(table.told)}: / {words}", "$warning"))
            lesson = f"Nothing here matches {inert(self._words)}\nesc shows all."
        self.tabs.tell(aside)
        table.teach(lesson)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in self.ACTS and isinstance(self.focused, Input):
            return False
        return super().check_action(action, parameters)

    # -- the line

    def action_filter(self) -> None:
        self.filter_line.display = True
        self.filter_line.edit()
        self.learn(self.filter_line)

    def action_back(self) -> None:
        """What is marked in sight is let go of, then everything is shown; then another screen."""
        if self.filter_line.display or (self._words and not self.table.marked):
            self.filter_line.text = ""
            self._close_filter()
        else:
            super().action_back()

    def _close_filter(self) -> None:
        self.filter_line.display = False
        self.table.focus()

    def on_filter_line_changed(self, event: FilterLine.Changed) -> None:
        self._use(event)

    def on_filter_line_entered(self, event: FilterLine.Entered) -> None:
        self._use(event)
        self._close_filter()

    def _use(self, event: FilterLine.Changed) -> None:
        wanted = RowFilter(event.wanted) if event.wanted else None
        self._words = event.text if wanted else ""
        self.table.narrow((lambda told: wanted.matches(self.row(told), time.time())) if wanted else None)
        self.tell(self._aside, self._lesson)

    def on_filter_line_left(self) -> None:
        self.action_back()
