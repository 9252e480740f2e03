"""Refusals per hour of the last day, as bars."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from textual.content import Content
from textual.widgets import Static

from rules.verdict import Verdict
from tui.format import fit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from firewall.episode import Episode
    from tui.glyphs import Glyphs

HOURS, HEIGHT, WIDTH = 24, 2, 3  # WIDTH: cells of an hour
REFUSALS: Final = frozenset(str(verdict) for verdict in Verdict if verdict.refuses)


def per_hour(episodes: Iterable[Episode], now: float) -> list[int]:
    """Refused tries by the clock's hour of the last try; the running hour is the last of 24."""
    hours = [0] * HOURS
    end = now - now % 3_600 + 3_600  # zones whose hours begin at half past are off by half a bar
    for episode in episodes:
        back = int((end - episode.last) // 3_600)
        if episode.verdict in REFUSALS and 0 <= back < HOURS:
            hours[HOURS - 1 - back] += max(1, episode.count)
    return hours


def bars(hours: list[int], now: float, glyphs: Glyphs) -> Content:
    """Two lines of bars, and one that tells the time below every third."""
    steps = len(glyphs.ramp)
    most = max(hours)
    heights = [-(-hour * HEIGHT * steps // most) if most else 0 for hour in hours]
    lines = []
    for level in reversed(range(HEIGHT)):
        row = ""
        for height in heights:
            rest = height - level * steps
            glyph = glyphs.ramp[min(rest, steps) - 1] if rest > 0 else " "
            row += glyph * (WIDTH - 1) + " "
        lines.append(Content.assemble(" ", (row, "$warning")))
    axis = ""
    for at in range(0, HOURS, 3):
        hour = datetime.fromtimestamp(now - (HOURS - 1 - at) * 3_600).astimezone().strftime("%H:00")
        axis += fit(hour, WIDTH * 3)
    lines.append(Content.assemble(" ", (axis, "$muted")))
    return Content("\n").join(lines)


class Hours(Static):
    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(markup=False)
        self._glyphs = glyphs

    def show(self, episodes: Iterable[Episode], now: float) -> None:
        self.update(bars(per_hour(episodes, now), now, self._glyphs))
