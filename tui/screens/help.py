"""What this screen shows, which keys work on it, and what the shapes mean; then what runs here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content

from firewall.text import inert
from tui.format import count
from tui.screens.box import Box
from tui.theme import COLOURS
from tui.widgets.tabs import PAGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WORDS: Final = {
    "block": "refused by a rule",
    "ask": "refused, and asked: your consent would open it",
    "allow": "let through",
    "consent": "let through, as you consented to it",
    "watch": "would be refused, and passes: you only watch here",
    "held": "waits for its name; nothing has left yet",
}
KEYS: Final = {  # docs/tui.md has the same
    "live": "enter detail   a allow   b block   c consent   f freeze   space mark   / filter   "
    "y copy the name   u undo   U redo   g newest   G oldest   esc without filter",
    "asks": "enter c answer   z not now   b never   space mark   / filter   m bell on, off   u undo   U redo   "
    "g G first, last   esc back to Live",
    "history": "enter detail   a allow   b block   c consent   space mark   / filter   s group   e export   "
    "o notes   v verify   y copy the name   u undo   U redo   g G first, last   esc back",
    "rules": "n new   e enter edit   t note   J K down, up   d disable, enable   x delete   space mark   / filter   "
    "u undo   U redo   g G first, last   esc back to Live",
    "consents": "enter what it let pass   x revoke   c give again   t the clock is right   space mark   / filter   "
    "u undo   U redo   g G first, last   esc back to Live",
    "phones": "enter what it did   n name   p group   w watch, enforce   W the whole gate   j join   x forget   "
    "space mark   / filter   u undo   U redo   g G first, last   esc back to Live",
}


class Help(Box):
    BINDINGS = [Binding("question_mark", "dismiss", show=False)]

    def __init__(self, page: str, text: str) -> None:
        super().__init__()
        self._page = page
        self._text = text

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).border_title = f"help: {PAGES[self._page][2:]}"
        lines = [Content(line) for line in self._text.splitlines()]
        keys = f"{KEYS[self._page]}\n{'   '.join(PAGES.values())}   q {self.gate.leaving}"
        lines += [Content(""), Content.assemble(("Keys", "bold")), Content(keys)]
        lines += [Content(""), Content.assemble(("Verdicts", "bold"))]
        for word, meaning in WORDS.items():
            shape = self.gate.glyphs.verdicts[word]
            lines.append(Content.assemble((f"{shape} {word:<7}", f"{COLOURS[word]} bold"), f" {meaning}"))
        lines += [Content(""), Content.assemble(("Here runs", "bold")), *map(Content, self._about())]
        lines += places(self.gate.pulse.status(time.monotonic()) or {})
        self.show(Content("\n").join(lines))

    def _about(self) -> list[str]:
        status = self.gate.pulse.status(time.monotonic())
        if status is None:
            return [f"no gateway answers at {self.gate.socket}"]
        return [
            f"Consentry {inert(status['version'])}{', the lab' if status['lab'] else ''}   gateway pid {status['pid']}",
            f"phones on {inert(status['lan'])}, internet on {inert(status['wan'])}, {inert(status['queue']['kind'])}",
            f"rules   {inert(status['rules'])}   revision {status['revision']}",
            f"socket  {inert(status['socket'])}",
        ]


def places(status: Mapping[str, Any]) -> Iterator[Content]:
    """The databases of countries and networks, and how old they are; none if the gate does not tell."""
    bases = status.get("places", ())
    if bases:
        yield from (Content(""), Content.assemble(("What it knows of places", "bold")))
    for base in bases:
        age = f"{count(base['age_days'], 'day')} old" if base["built"] else "missing"
        old = ": clouds may have moved" if base["stale"] else ""
        wrong = f"; {inert(base['trouble'])}" if base["trouble"] else ""
        style = "$warning" if base["stale"] or base["trouble"] or not base["built"] else ""
        yield Content.assemble((f"{inert(base['what'])}: ", "$muted"), (f"{age}{old}{wrong}  ", style),
                               (inert(base["file"]), "$muted"))
    if bases:
        yield Content("Your own files replace them (docs/rules.md says where). Whose data it is: consentry about")
