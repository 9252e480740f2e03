"""The second line: the screens there are, and what narrows the one that is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rich.cells import cell_len
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

if TYPE_CHECKING:
    from textual import events

    from tui.glyphs import Glyphs

PAGES: Final = {  # mode -> key and title
    "live": "1 Live", "asks": "2 Asks", "history": "3 History", "rules": "4 Rules", "consents": "5 Consents",
    "phones": "6 Phones",
}


class Tab(NamedTuple):
    page: str
    at: int  # the cell in which it begins
    text: str


def tabs(page: str, waiting: int, room: int, glyphs: Glyphs) -> list[Tab]:
    """As spacious as `room` cells allow; at last the other screens are only numbers. `waiting`: open questions."""
    number = "".join(glyphs.small[int(digit)] for digit in str(waiting)) if glyphs.small else f"({waiting})"
    marks = {"asks": number if waiting else ""}
    full = {mode: title + marks.get(mode, "") for mode, title in PAGES.items()}
    short = {mode: full[mode] if mode == page else title[0] + marks.get(mode, "") for mode, title in PAGES.items()}
    placed: list[Tab] = []
    for titles, gap in ((full, 3), (full, 2), (full, 1), (short, 2)):
        placed, at = [], 1
        for mode, text in titles.items():
            placed.append(Tab(mode, at, text))
            at += cell_len(text) + gap
        if at - gap <= room:
            break
    return placed


class Tabs(Static):
    class Chosen(Message):
        def __init__(self, page: str) -> None:
            super().__init__()
            self.page = page

    def __init__(self, page: str, glyphs: Glyphs) -> None:
        super().__init__(markup=False)
        self._page = page
        self._glyphs = glyphs
        self._aside = Content("")
        self._waiting = 0
        self._tabs: list[Tab] = []

    def on_mount(self) -> None:
        self.tell(self._aside)

    def on_resize(self) -> None:
        self.tell(self._aside)

    def count(self, waiting: int) -> None:
        """How many questions are open."""
        if waiting != self._waiting:
            self._waiting = waiting
            self.tell(self._aside)

    def tell(self, aside: Content) -> None:
        """What stands at the right end."""
        self._aside = aside
        width = self.size.width or 80
        taken = aside.cell_length + 2 if aside.cell_length else 0
        self._tabs = tabs(self._page, self._waiting, width - 1 - taken, self._glyphs)
        line = Content("")
        for page, at, text in self._tabs:
            asked = page == "asks" and self._waiting
            style = "$primary bold" if page == self._page else "$warning bold" if asked else "$muted"
            line = Content.assemble(line, " " * (at - line.cell_length), (text, style))
        free = width - line.cell_length - 1
        line = Content.assemble(line, " " * max(0, free - aside.cell_length), aside.truncate(max(0, free)))
        self.update(line, layout=False)  # always one

    def on_click(self, event: events.Click) -> None:
        for page, at, text in self._tabs:
            if at <= event.x < at + cell_len(text):
                self.post_message(self.Chosen(page))
