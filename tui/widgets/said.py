"""What the last act did, or why it was refused: over the last line above the keys, for some seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from textual.content import Content
from textual.widgets import Static

if TYPE_CHECKING:
    from textual.timer import Timer

SECONDS: Final = 8.0


class Said(Static):
    """Lies over what is below it, so that nothing moves when it comes and goes."""

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._timer: Timer | None = None

    def on_mount(self) -> None:
        self.display = False

    def say(self, text: str, *, trouble: bool = False) -> None:
        """`text` is inert already. Trouble stays twice as long."""
        if self._timer is not None:
            self._timer.stop()
        self.update(Content(" ").join(map(Content, text.split())))
        self.set_class(trouble, "-trouble")
        self.styles.height = "auto"
        self.display = True
        self._timer = self.set_timer(SECONDS * (2 if trouble else 1), self.hush)

    def hush(self) -> None:
        self.display = False

    def on_click(self) -> None:
        self.hush()
