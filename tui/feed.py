"""[pure] The rows of the live view: what has arrived, what of it is on the screen, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from firewall.episode import Episode

if TYPE_CHECKING:
    from rules.expression import Filter

MOST_ROWS: Final = 2_000


class Feed:
    """Arrivals cost one dictionary entry each; all else is done in `settle`, a few times a second."""

    def __init__(self) -> None:
        self._arrived: dict[int, dict[str, Any]] = {}  # newest word about an episode, not on the screen yet
        self._order: list[Episode] = []  # newest first
        self._by_id: dict[int, Episode] = {}
        self._hidden: set[int] = set()  # rows that the filter leaves out
        self._filter: Filter | None = None
        self.changed = False  # since `settle` was last called
        self.skipped = 0  # rows that came faster than they could be sent here

    def put(self, row: dict[str, Any]) -> None:
        """A new episode, or news of one. Of what is not shown in time the newest is kept."""
        self._arrived.pop(row["id"], None)
        self._arrived[row["id"]] = row
        self.changed = True
        if len(self._arrived) > MOST_ROWS:
            del self._arrived[next(iter(self._arrived))]

    def restart(self) -> None:
        """Another gateway may speak now, with other numbers. The filter stays."""
        self._arrived, self._order, self._by_id, self._hidden = {}, [], {}, set()
        self.changed = True

    @property
    def unseen(self) -> int:
        """Episodes that wait for their first appearance."""
        return sum(number not in self._by_id for number in self._arrived)

    @property
    def hidden(self) -> int:
        return len(self._hidden)

    @property
    def left_out(self) -> list[Episode]:
        """By the filter."""
        return [self._by_id[number] for number in self._hidden]

    def use(self, wanted: Filter | None, now: float) -> None:
        """Show only what matches; None shows everything."""
        self._filter = wanted
        self._sift(now)
        self.changed = True

    def settle(self, pinned: int | None, now: float) -> list[Episode]:
        """Take in what has arrived: the newest on top, but a `pinned` row stays between its neighbours."""
        arrived, self._arrived = self._arrived, {}
        self.changed = False
        risen = []
        for row in arrived.values():
            episode = Episode.from_json(row)
            before = self._by_id.get(episode.id)
            self._by_id[episode.id] = episode
            if before is None or (episode.last > before.last and episode.id != pinned):
                risen.append(episode)
            self._judge(episode, now)
        if pinned is None:
            risen = list(self._by_id.values())
        risen.sort(key=lambda episode: (episode.last, episode.id), reverse=True)
        up = {episode.id for episode in risen}
        self._order = risen + [self._by_id[episode.id] for episode in self._order if episode.id not in up]
        for episode in self._order[MOST_ROWS:]:
            del self._by_id[episode.id]
            self._hidden.discard(episode.id)
        del self._order[MOST_ROWS:]
        if self._filter is not None and self._filter.since(now) is not None:  # rows grow out of `last:`
            self._sift(now)
        return self.shown

    @property
    def shown(self) -> list[Episode]:
        return [episode for episode in self._order if episode.id not in self._hidden]

    def _sift(self, now: float) -> None:
        self._hidden = {episode.id for episode in self._order if not self._passes(episode, now)}

    def _judge(self, episode: Episode, now: float) -> None:
        if self._passes(episode, now):
            self._hidden.discard(episode.id)
        else:
            self._hidden.add(episode.id)

    def _passes(self, episode: Episode, now: float) -> bool:
        return self._filter is None or self._filter.matches(episode, now)
