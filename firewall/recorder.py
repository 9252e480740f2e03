"""Where events go: folded into episodes, and those to the history and to whoever watches, a few times a second."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from firewall.events import FlowBytes, FlowDecided, PhoneJoined, PhoneLeft, StateChanged, Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from firewall.episode import Episode
    from firewall.episodes import Episodes
    from firewall.events import Event
    from firewall.history import History

FLUSH_SECONDS: Final = 0.1
SECONDS_SHOWN: Final = 60
TROUBLE_SECONDS: Final = 60.0  # a trouble stays on the screen for so long


class Recorder:
    """One step between the engine and everything that remembers. `record` is called in the hot path and only folds."""

    def __init__(
        self, episodes: Episodes, history: History, publish: Callable[[dict[str, Any]], None],
        *, clock: Callable[[], float] = time.time, log: Callable[[Iterable[Event]], None] = lambda _: None,
        followed: Callable[[], bool] = lambda: True,
    ) -> None:
        """`followed`: whether there is anybody for whom `publish` does something."""
        self._episodes = episodes
        self._history = history
        self._publish = publish
        self._clock = clock
        self._log = log
        self._followed = followed
        self._changed: dict[int, Episode] = {}
        self._notes: list[Event] = []
        self._closed = 0  # what the history was told last of which rows are closed
        self._per_second: deque[int] = deque([0] * SECONDS_SHOWN, maxlen=SECONDS_SHOWN)
        self._this_second = 0
        self._second = int(time.monotonic())
        self._trouble = ""
        self._trouble_at = 0.0
        self.since = clock()
        self.hits = history.hits()  # rule id -> decisions by it, time of the last; what earlier processes counted too
        self._hit: set[str] = set()  # those that are to be stored

    def record(self, events: Iterable[Event]) -> None:
        hits = self.hits
        for event in events:
            if isinstance(event, FlowDecided):
                self._this_second += 1
                rule = event.decision.rule
                hits[rule] = hits[rule][0] + 1 if rule in hits else 1, event.at
                self._hit.add(rule)
            elif not isinstance(event, FlowBytes):
                self._see(event)
            episode = self._episodes.fold(event)
            if episode is not None:
                self._changed[episode.id] = episode
            elif not isinstance(event, FlowDecided):
                self._notes.append(event)

    def _see(self, event: Event) -> None:
        if isinstance(event, StateChanged):
            self.since = event.at
        elif isinstance(event, Trouble):
            self._trouble, self._trouble_at = event.text, time.monotonic()
        elif isinstance(event, PhoneJoined | PhoneLeft):
            self._publish({"near": near(event)})

    def flush(self) -> None:
        """Hand over what has changed since the last time."""
        self._count()
        self._tell_on()
        for episode in self._episodes.close(self._clock()):
            self._changed.setdefault(episode.id, episode)
        closed = self._episodes.closed
        if not self._changed and not self._notes and closed == self._closed:
            return
        self._closed = closed
        changed, self._changed = self._changed, {}
        notes, self._notes = self._notes, []
        self._log(notes)
        hits = {rule: self.hits[rule] for rule in self._hit}
        self._hit.clear()
        self._history.append(changed.values(), notes, closed, hits)
        if self._followed():
            for episode in changed.values():
                self._publish({"episode": episode.to_json()})

    def _tell_on(self) -> None:
        """What became of the history's file, on the screen and in the log; the history notes it by itself."""
        while self._history.happened:
            self._trouble, self._trouble_at = self._history.happened.popleft(), time.monotonic()
            self._log((Trouble(self._clock(), self._trouble),))

    def per_second(self) -> list[int]:
        """Flows decided in each of the last sixty seconds, oldest first."""
        self._count()
        return list(self._per_second)

    @property
    def trouble(self) -> str | None:
        if self._history.trouble:
            return self._history.trouble
        return self._trouble if self._trouble and time.monotonic() - self._trouble_at < TROUBLE_SECONDS else None

    def _count(self) -> None:
        second = int(time.monotonic())
        while self._second < second:
            self._per_second.append(self._this_second)
            self._this_second = 0
            self._second = max(self._second + 1, second - SECONDS_SHOWN)


def near(event: PhoneJoined | PhoneLeft) -> dict[str, Any]:
    """For whoever watches: a phone came to the access point, or went."""
    joined = isinstance(event, PhoneJoined)
    return {
        "at": event.at, "phone": event.phone, "mac": event.mac.hex(":"), "joined": joined,
        "signal": event.signal if isinstance(event, PhoneJoined) else None,
    }
