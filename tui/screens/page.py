"""What the screens have in common: the header, the tabs, and the keys that work."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.screen import Screen
from textual.widgets import Footer, Input

from tui.widgets.header import Header
from tui.widgets.tabs import Tabs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.app import ComposeResult
    from textual.widget import Widget

    from tui.app import Consentry


class Page(Screen[None]):
    """One of the screens behind a number. `HELP` is what `?` says about it: paragraphs."""

    MODE: ClassVar[str]
    HELP: ClassVar[str]

    @property
    def gate(self) -> Consentry:
        """The app, by its own type."""
        return cast("Consentry", self.app)

    def __init__(self) -> None:
        super().__init__()
        self.header = Header(self.gate.pulse, self.gate.glyphs)
        self.tabs = Tabs(self.MODE)

    def body(self) -> Iterable[Widget]:
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        yield self.header
        yield self.tabs
        yield from self.body()
        yield Footer(show_command_palette=False, compact=True)

    def tick(self) -> None:
        """Ten times a second while this page is to be seen: draw what has changed."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a filter is written, / is a letter."""
        if action == "filter" and isinstance(self.focused, Input):
            return False
        return super().check_action(action, parameters)

    def on_tabs_chosen(self, event: Tabs.Chosen) -> None:
        self.app.switch_mode(event.page)
