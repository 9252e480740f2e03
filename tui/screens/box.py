"""A text over the screen it was called from. The header stays in sight."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.widgets.footer import Footer
from tui.widgets.header import Header
from tui.widgets.said import Said

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.content import Content

    from tui.app import Consentry


class Box(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter", "dismiss", "back", key_display="esc"),
        Binding("u", "undo", show=False),
    ]
    TITLE = ""

    @property
    def gate(self) -> Consentry:
        """The app, by its own type."""
        return cast("Consentry", self.app)

    def compose(self) -> ComposeResult:
        yield Header(self.gate.pulse, self.gate.glyphs)
        with VerticalScroll():
            yield Static("", markup=False)
        yield Said()
        yield Footer()

    def action_undo(self) -> None:
        self.gate.step("undo")

    def show(self, text: Content) -> None:
        self.query_one("VerticalScroll > Static", Static).update(text)
