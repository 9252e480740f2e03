"""The line in which a filter is written; what is wrong with it stands below, under the character."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from firewall.text import inert
from rules.completion import Vocabulary
from rules.expression import IN_FILTERS, Expression, ExpressionError, parse_narrowing
from tui.completing import complete, offer, possible, unfinished

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from rules.completion import Completion
    from tui.glyphs import Glyphs

EXAMPLE: Final = "a word, or verdict:refused phone:NAME name:DOMAIN last:1h"


def pointing(error: ExpressionError, width: int) -> str:
    """The error, with a mark below its place, and before or behind that what it is."""
    mark = "^" * max(1, error.end - error.start)
    words = inert(error.message) + (f" ({inert(error.remedy)})" if error.remedy else "")
    if error.start + len(mark) + 1 + len(words) > width and len(words) < error.start:
        return f"{words:>{error.start - 1}} {mark}"
    return " " * error.start + f"{mark} {words}"


class FilterLine(Vertical):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back"),
        Binding("tab", "complete", "complete", priority=True),
    ]

    class Changed(Message):
        """It can be used as it stands; `wanted` is None if it is empty."""

        def __init__(self, text: str, wanted: Expression | None) -> None:
            super().__init__()
            self.text = text
            self.wanted = wanted

    class Entered(Changed):
        """The owner is done with it."""

    class Left(Message):
        """The owner steps back."""

    def __init__(self, glyphs: Glyphs, text: str = "", terms: Sequence[str] = ()) -> None:
        """`terms`: what the rows of a list know, which may be asked for beside bare words; none: all."""
        super().__init__()
        self._terms = terms
        self._glyphs = glyphs
        self._text = text
        self._vocabulary = Vocabulary()
        self._offers = False  # below stands what tab would write

    def compose(self) -> ComposeResult:
        example = f"a word, or {' '.join(f'{term}:' for term in self._terms)}" if self._terms else EXAMPLE
        yield Input(self._text, placeholder=example, compact=True, select_on_focus=False)
        yield Static("", markup=False)

    @property
    def text(self) -> str:
        return self.query_one(Input).value

    @text.setter
    def text(self, text: str) -> None:
        self.query_one(Input).value = text

    def edit(self) -> None:
        self.query_one(Input).focus()

    def learn(self, vocabulary: Vocabulary) -> None:
        """What the gateway knows by name."""
        self._vocabulary = vocabulary

    def action_complete(self) -> None:
        box = self.query_one(Input)
        complete(box, self._possible(box))

    def _possible(self, box: Input) -> list[Completion]:
        return possible(box, self._vocabulary, rule=False, terms=self._terms)

    def _begins_term(self, box: Input) -> bool:
        """Whether the word at the cursor may become a term: until it is one, or entered, it is not looked for."""
        word = box.value[: box.cursor_position].rpartition(" ")[2].removeprefix("-")
        return bool(word) and any(term.startswith(word) for term in IN_FILTERS)

    def _parse(self, text: str) -> Expression:
        """Raises ExpressionError."""
        return parse_narrowing(text, self._terms or IN_FILTERS)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._read(event.value, self.Changed)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._read(event.value, self.Entered)

    def on_input_blurred(self, event: Input.Blurred) -> None:
        event.stop()
        if self._offers:
            self.complain("")

    def action_leave(self) -> None:
        self.post_message(self.Left())

    def complain(self, text: str) -> None:
        """What is wrong; "" if nothing is."""
        self._offers = False
        self.query_one(Static).update(Content.assemble((text, "$error")))

    def _read(self, text: str, message: type[FilterLine.Changed]) -> None:
        box = self.query_one(Input)
        found = self._possible(box) if text.strip() else []
        try:
            wanted = self._parse(text) if text.strip() else None
        except ExpressionError as error:
            if message is self.Entered or not unfinished(error, found):
                self.complain(pointing(error, self.size.width - 2))
                return
        else:
            self.complain("")
            if message is self.Entered or not self._begins_term(box):
                self.post_message(message(text.strip(), wanted))
        if found and box.has_focus and message is self.Changed:
            self.query_one(Static).update(offer(found, self.size.width - 2, self._glyphs))
            self._offers = True
