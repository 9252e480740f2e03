"""Tries per hour of the last day, as bars: in each hour, from the left, blocked, asked and watched."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from textual.content import Content
from textual.widgets import Static

from tui.format import fit
from tui.theme import COLOURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui.glyphs import Glyphs

HOURS, HEIGHT = 24, 2
KINDS: Final = ("block", "ask", "watch")  # a cell each


def bars(hours: Sequence[dict[str, Any]], glyphs: Glyphs) -> Content:
    """Two lines of bars, and one that tells the time below every third. `hours`: as the verb history.hours tells."""
    steps = len(glyphs.ramp)
    most = max((hour[kind] for hour in hours for kind in KINDS), default=0)
    lines = []
    for level in reversed(range(HEIGHT)):
        line = Content(" ")
        for hour in hours:
            for kind in KINDS:
                rest = (-(-hour[kind] * HEIGHT * steps // most) if most else 0) - level * steps
                glyph = glyphs.ramp[min(rest, steps) - 1] if rest > 0 else " "
                line = Content.assemble(line, (glyph, COLOURS[kind]))
        lines.append(line)
    axis = ""
    for hour in hours[::3]:
        axis += fit(datetime.fromtimestamp(hour["hour"]).astimezone().strftime("%H:00"), len(KINDS) * 3)
    legend = [(glyphs.verdicts[kind], COLOURS[kind]) for kind in KINDS]
    lines.append(Content.assemble(" ", (axis, "$muted"), " ", *legend))
    return Content("\n").join(lines)


class Hours(Static):
    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(markup=False)
        self._glyphs = glyphs

    def show(self, hours: Sequence[dict[str, Any]]) -> None:
        self.update(bars(hours, self._glyphs))
