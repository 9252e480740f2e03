"""The keys of a screen on its last line, made anew only when they are others: a look at them costs less than making."""

from __future__ import annotations

from typing import TYPE_CHECKING

import textual.widgets

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.binding import Binding
    from textual.screen import Screen


class Footer(textual.widgets.Footer):
    def __init__(self) -> None:
        super().__init__(show_command_palette=False, compact=True)
        self._shown: list[tuple[Binding, bool]] = []

    def compose(self) -> ComposeResult:
        self._shown = self._keys()
        yield from super().compose()

    def bindings_changed(self, screen: Screen[object]) -> None:
        if not self._bindings_ready or (self.is_attached and self._keys() != self._shown):
            super().bindings_changed(screen)

    def _keys(self) -> list[tuple[Binding, bool]]:
        return [(key.binding, key.enabled) for key in self.screen.active_bindings.values() if key.binding.show]
