"""One line to be answered: a word that is asked for, or an act that is to be confirmed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from tui.widgets.said import Said

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.app import ComposeResult


class Prompt(Vertical, can_focus=True):
    """What an act will do stands in it before it is done."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "leave", key_display="esc"),
        Binding("enter", "enter", "do it"),
    ]

    class Closed(Message):
        """It is answered, or the owner has stepped back."""

    def __init__(self) -> None:
        super().__init__(id="prompt")
        self._then: Callable[[str], object] | None = None

    def compose(self) -> ComposeResult:
        yield Static("", markup=False)
        yield Input(compact=True, select_on_focus=False)

    def on_mount(self) -> None:
        self.display = False

    @property
    def box(self) -> Input:
        return self.query_one(Input)

    def ask(self, words: str, text: str, then: Callable[[str], object], known: Sequence[str] = ()) -> None:
        """For a word, which begins as `text`. `words` are inert; `then` is called with what was typed."""
        self._open(words, then)
        self.box.suggester = SuggestFromList(known) if known else None
        self.box.value = text
        self.box.cursor_position = len(text)
        self.box.display = True
        self.box.focus()

    def confirm(self, words: str, then: Callable[[str], object]) -> None:
        """For enter. `words` are inert and say what it does."""
        self._open(f"{words}\nenter does it, esc leaves.", then)
        self.box.display = False
        self.focus()

    def _open(self, words: str, then: Callable[[str], object]) -> None:
        for said in self.screen.query(Said):
            said.hush()  # it would lie over what is asked
        self.query_one(Static).update(Content(words))
        self._then = then
        self.display = True

    def action_leave(self) -> None:
        self._close()

    def action_enter(self) -> None:
        self._answer("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._answer(event.value.strip())

    def _answer(self, text: str) -> None:
        then = self._then
        self._close()
        if then is not None:
            then(text)

    def _close(self) -> None:
        self.display = False
        self._then = None
        self.post_message(self.Closed())
