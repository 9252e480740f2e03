"""One rule as text: what it means and what is wrong with it while it is typed, and what it would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from rich.highlighter import Highlighter
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from firewall.text import inert
from rules import words
from rules.expression import ExpressionError
from rules.sentence import parse_sentence
from tui.completing import complete, offer, possible, unfinished
from tui.forecast import forecast
from tui.widgets.filter_line import pointing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.text import Text
    from textual.app import ComposeResult
    from textual.timer import Timer

    from rules.completion import Vocabulary
    from rules.sentence import Sentence
    from tui.glyphs import Glyphs

PAUSE: Final = 0.3  # seconds without a key, then the gateway is asked what the rule would do
EXAMPLE: Final = "block name:example.com phone:NAME"
KEYS: Final = "enter saves   esc leaves   tab completes   up down: rule, note, position"


class _Underline(Highlighter):
    """Below what is wrong."""

    def __init__(self) -> None:
        self.place: tuple[int, int] | None = None

    def highlight(self, text: Text) -> None:
        if self.place is not None:
            text.stylize("underline bold", *self.place)


class RuleEditor(Vertical):
    """Keeps what was typed until it is opened anew. `editing`: the rule as the gateway told it; None for a new one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "leave"),
        Binding("tab", "complete", show=False, priority=True),
        Binding("up", "field(-1)", show=False, priority=True),
        Binding("down,shift+tab", "field(1)", show=False, priority=True),
    ]

    class Typed(Message):
        """It can be tried as it stands."""

    class Entered(Message):
        """The owner wants it saved, and it can be."""

    class Left(Message):
        """The owner steps back."""

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self._glyphs = glyphs
        self._underline = _Underline()
        self._pause: Timer | None = None
        self._vocabulary: Vocabulary | None = None  # until it has come, no service is unknown
        self.editing: dict[str, Any] | None = None
        self.was = ""  # the rule's text as the owner saw it
        self._told: Mapping[str, Any] = {}  # the dry run of what is typed now
        self._complaint = ""
        self._reading = ""

    def compose(self) -> ComposeResult:
        yield Input(
            placeholder=EXAMPLE, compact=True, select_on_focus=False, highlighter=self._underline, id="rule-text"
        )
        yield Static("", markup=False, id="rule-mark")
        yield Static("", markup=False, id="rule-words")
        with Horizontal():
            yield Static("note ", markup=False)
            yield Input(placeholder="why, for whoever reads this later", compact=True, select_on_focus=False,
                        id="rule-note")
            yield Static(" at ", markup=False)
            yield Input(compact=True, select_on_focus=False, restrict=r"[0-9]{0,4}", id="rule-at")
        yield Static("", markup=False, id="rule-forecast")

    def on_mount(self) -> None:
        self.border_subtitle = KEYS
        self.display = False

    # -- what the screen says

    def open(self, rule: dict[str, Any] | None, at: int, text: str = "", *, note: bool = False) -> None:
        """Edit this rule, or write a new one that stands at this position. `note`: begin there."""
        self.rebase(rule)
        self._told, self._complaint = {}, ""
        self.display = True
        for field, value in (("text", self.was or text), ("note", str(rule["note"]) if rule else ""), ("at", str(at))):
            box = self._field(field)
            with box.prevent(Input.Changed):
                box.value = value
            box.cursor_position = len(value)
        self._field("note" if note else "text").focus()
        self._read()

    def rebase(self, rule: dict[str, Any] | None) -> None:
        """What is typed will change this rule; None: it will be a new one."""
        self.editing = rule
        self.was = f"{rule['action']} {rule['match']}".rstrip() if rule else ""
        self.border_title = f"edit {rule['position']}" if rule else "new rule"

    def close(self) -> None:
        self._wait(stop=True)
        self.display = False

    def learn(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        if self.display:
            self._read()

    def foretell(self, told: Mapping[str, Any]) -> None:
        """The answer of the dry run."""
        self._told, self._complaint = told, ""
        self._show()

    def complain(self, text: str) -> None:
        """Why it was not saved, or not tried. What is typed stays."""
        self._complaint = text
        self._show()

    @property
    def text(self) -> str:
        return self._field("text").value.strip()

    @property
    def note(self) -> str:
        return self._field("note").value.strip()

    @property
    def at(self) -> int | None:
        """The wanted position; None if none is written."""
        written = self._field("at").value
        return int(written) if written.strip("0") else None

    # -- keys

    def action_leave(self) -> None:
        self.post_message(self.Left())

    def action_field(self, by: int) -> None:
        fields = [self._field(name) for name in ("text", "note", "at")]
        at = next((at for at, box in enumerate(fields) if box.has_focus), 0)
        fields[(at + by) % len(fields)].focus()

    def action_complete(self) -> None:
        """As far as it is certain; asked again, the next of what is possible."""
        box = self._field("text")
        if not box.has_focus:
            self.action_field(1)
            return
        complete(box, possible(box, self._vocabulary, rule=True))

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._told, self._complaint = {}, ""
        self._read()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._read(final=True) is not None:
            self.post_message(self.Entered())

    # -- reading and showing

    def _field(self, name: str) -> Input:
        return self.query_one(f"#rule-{name}", Input)

    def _read(self, *, final: bool = False) -> Sentence | None:
        """What is typed, or None: then it says below why not. A word that can still become one is no mistake yet."""
        box, known = self._field("text"), self._vocabulary
        mark, rule = Content(""), None
        self._underline.place = None
        found = possible(box, known, rule=True)
        try:
            rule = parse_sentence(box.value, None if known is None else [id_ for id_, _ in known.services])
        except ExpressionError as error:
            if final or not unfinished(error, found):
                self._underline.place = (error.start, max(error.end, error.start + 1))
                mark = Content.assemble((self._below(box, error), "$error"))
        if not mark and found and box.has_focus:
            mark = offer(found, self._room, self._glyphs)
        self._reading = words.sentence(*rule, known.titles if known else None) if rule is not None else ""
        self.query_one("#rule-mark", Static).update(mark)
        box.refresh()
        self._wait(stop=final or rule is None)
        self._show()
        return rule

    @property
    def _room(self) -> int:
        return max(20, self.size.width)

    def _below(self, box: Input, error: ExpressionError) -> str:
        """Where the text has moved left, the mark moves with it."""
        moved = min(int(box.scroll_offset.x), error.start)
        place = (error.start - moved, max(error.end - moved, error.start - moved + 1))
        line = pointing(ExpressionError(error.message, *place, error.remedy), self._room)
        if len(line) <= self._room:
            return line
        mark, words = line[: place[1]], line[place[1] :]
        return f"{mark}\n{words.strip()}"

    def _wait(self, *, stop: bool) -> None:
        if self._pause is not None:
            self._pause.stop()
        self._pause = None if stop else self.set_timer(PAUSE, lambda: self.post_message(self.Typed()))

    def _show(self) -> None:
        reading = Content.assemble(("reads: ", "$muted"), inert(self._reading)) if self._reading else Content("")
        self.query_one("#rule-words", Static).update(reading)
        if self._complaint:
            below = Content.assemble((self._complaint, "$error"))
        elif self._told:
            below = forecast(self._told, self._room, self._glyphs)
        else:
            below = Content("")
        self.query_one("#rule-forecast", Static).update(below)
