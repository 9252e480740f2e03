"""What the screens have in common: the header, the tabs, and the keys that work."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer

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
    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark", "help", "help")]

    @property
    def gate(self) -> Consentry:
        """The app, by its own type."""
        return cast("Consentry", self.app)

    def body(self) -> Iterable[Widget]:
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        yield Header(self.gate.pulse, self.gate.glyphs)
        yield Tabs(self.MODE)
        yield from self.body()
        yield Footer(show_command_palette=False, compact=True)

    def tick(self) -> None:
        """Ten times a second while this page is to be seen: draw what has changed."""

    def on_tabs_chosen(self, event: Tabs.Chosen) -> None:
        self.app.switch_mode(event.page)

    def action_help(self) -> None:
        from tui.screens.help import Help  # noqa: PLC0415  the first frame does not wait for it

        self.app.push_screen(Help(self.MODE, self.HELP))
