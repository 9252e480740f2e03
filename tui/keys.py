"""Keys in the order in which they were typed, however fast they come.

Textual hands a key to the widget that has the focus when the key arrives, and looks for its binding only when the key
has climbed from there to the app. In a burst (a paste without brackets, a slow line, a key held down) letters would
overtake the backspaces before them, and a line would miss what was typed behind the key that opens it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from textual import events
from textual.app import App, ReturnType, ScreenStackError

if TYPE_CHECKING:
    from textual.dom import DOMNode

ROUNDS: Final = 4  # up from the focus to the app: the key, what it did, and what came of that
LONGEST: Final = 3.0  # seconds; a widget that goes away takes what waits in its queue with it


class OneByOne(App[ReturnType]):
    """An app in which a key is done before the next one begins. None is lost."""

    def __init__(self) -> None:
        super().__init__()
        self._typed: deque[events.Key] = deque()  # the first is under way

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and not self._can_read:
            return
        if isinstance(event, events.Key) and not event.is_forwarded:
            self._typed.append(event)
            if len(self._typed) == 1:
                await self._press(event)
        else:
            await super().on_event(event)

    @property
    def _can_read(self) -> bool:
        """Not while the app is being closed."""
        try:
            return self.screen is not None
        except ScreenStackError:
            return False

    async def _press(self, key: events.Key) -> None:
        way = self._way
        await super().on_event(key)
        self.set_timer(LONGEST, lambda: self._go_on(key))
        self._climb(key, way, ROUNDS)

    @property
    def _way(self) -> list[DOMNode]:
        """Whose queues a key goes through now, before it comes to the app's."""
        return [node for node in (self.focused or self.screen).ancestors_with_self if node is not self]

    def _climb(self, key: events.Key, way: list[DOMNode], rounds: int) -> None:
        """Behind the key, through the same queues; then through those that it has led to."""
        for at, node in enumerate(way, 1):
            if node.call_later(self._climb, key, way[at:], rounds):
                return
        if rounds:
            self.call_later(lambda: self._climb(key, self._way, rounds - 1))
        else:
            self.call_later(self._go_on, key)

    async def _go_on(self, done: events.Key) -> None:
        """To the next key, once."""
        if self._typed and self._typed[0] is done:
            self._typed.popleft()
            if self._typed and self._can_read:
                await self._press(self._typed[0])
