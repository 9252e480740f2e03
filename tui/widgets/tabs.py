"""The second line: the screens there are, and what narrows the one that is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

if TYPE_CHECKING:
    from textual import events

PAGES: Final = {  # mode -> key and title
    "live": "1 Live", "history": "3 History", "rules": "4 Rules", "phones": "6 Phones",
}
GAP: Final = 3


class Tabs(Static):
    class Chosen(Message):
        def __init__(self, page: str) -> None:
            super().__init__()
            self.page = page

    def __init__(self, page: str) -> None:
        super().__init__(markup=False)
        self._page = page
        self._aside = Content("")

    def on_mount(self) -> None:
        self.tell(self._aside)

    def on_resize(self) -> None:
        self.tell(self._aside)

    def tell(self, aside: Content) -> None:
        """What stands at the right end."""
        self._aside = aside
        line = Content(" ")
        for page, title in PAGES.items():
            line = Content.assemble(line, (title, "$primary bold" if page == self._page else "$muted"), " " * GAP)
        free = (self.size.width or 80) - line.cell_length - 1
        self.update(Content.assemble(line, " " * max(0, free - aside.cell_length), aside.truncate(max(0, free))))

    def on_click(self, event: events.Click) -> None:
        start = 1
        for page, title in PAGES.items():
            if start <= event.x < start + cell_len(title):
                self.post_message(self.Chosen(page))
            start += cell_len(title) + GAP
