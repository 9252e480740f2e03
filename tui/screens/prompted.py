"""A page whose acts may ask for a word first: a table, everything about its row below, and a line that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widgets import Static

from tui.screens.filtered import Filtered
from tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.widget import Widget


class Prompted(Filtered):
    def __init__(self) -> None:
        super().__init__()
        self.in_full = Static("", id=self.MODE.removesuffix("s"), markup=False)
        self.prompt = Prompt()

    def body(self) -> Iterable[Widget]:
        yield from (self.table, self.filter_line, self.in_full, self.prompt)

    def read(self) -> object:
        """Ask the gateway anew."""
        raise NotImplementedError

    def on_screen_resume(self) -> None:
        if not self.prompt.display:
            self.table.focus()
        self.read()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in {*self.ACTS, "filter"} and self.prompt.display:
            return False
        return super().check_action(action, parameters)

    def on_prompt_closed(self) -> None:
        self.in_full.display = True
        self.table.focus()
        self.refresh_bindings()
