"""The answer to "why?" about the row under the cursor: three lines below the table, or a pane beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from textual.content import Content
from textual.widgets import Static

from tui import story

if TYPE_CHECKING:
    from collections.abc import Callable

    from firewall.episode import Episode
    from tui.glyphs import Glyphs

PANE_LINES: Final = 8  # over which each line of what is marked may go on, in the pane


class Why(Static):
    def __init__(self, glyphs: Glyphs, marks: Callable[[int], Content | None]) -> None:
        """`marks`: what stands here instead while rows are marked, in so many cells."""
        super().__init__(markup=False)
        self._glyphs = glyphs
        self._marks = marks
        self._episode: Episode | None = None

    def on_resize(self) -> None:
        self.show(self._episode)

    def show(self, episode: Episode | None) -> None:
        self._episode = episode
        width, pane = self.size.width, self.size.height > 3
        if (told := self._marks(PANE_LINES * width if pane else width)) is not None:
            self.update(told)
        elif episode is None or not width:
            self.update(Content(""))
        elif pane:
            self.update(story.pane(episode, width, self._glyphs))
        else:
            self.update(story.three_lines(episode, width, self._glyphs))
