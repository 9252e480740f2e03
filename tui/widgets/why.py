"""The answer to "why?" about the row under the cursor: three lines below the table, or a pane beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from tui import story

if TYPE_CHECKING:
    from firewall.episode import Episode
    from tui.glyphs import Glyphs


class Why(Static):
    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(markup=False)
        self._glyphs = glyphs
        self._episode: Episode | None = None

    def on_resize(self) -> None:
        self.show(self._episode)

    def show(self, episode: Episode | None) -> None:
        self._episode = episode
        width = self.size.width
        if episode is None or not width:
            self.update(Content(""))
        elif self.size.height > 3:
            self.update(story.pane(episode, width, self._glyphs))
        else:
            self.update(story.three_lines(episode, width, self._glyphs))
