"""The first line: is the gate really closed? It claims nothing that the gate did not say a moment ago."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rich.cells import cell_len
from textual.content import Content
from textual.widgets import Static

from firewall.text import inert
from tui.format import clock, count, cut, sparkline
from tui.pulse import NO_GATE, troubles

if TYPE_CHECKING:
    from tui.glyphs import Glyphs
    from tui.pulse import Pulse

COLOURS: Final = {  # every other state is red
    "ENFORCING": "$success", "DEGRADED": "$warning", "WATCHING": "$warning", "STARTING": "$muted",
}
SPARK: Final = range(6, 17)  # cells, as many as there is room for
BESIDE: Final = 0.625  # of the line for what is wrong while the gate enforces: since when has room beside it
SHORTEST: Final = 12  # cells of a reason below which it says nothing


class Part(NamedTuple):
    """`worth`: what is worth least goes first where there is no room."""

    text: str
    style: str
    worth: int
    right: bool = False


def headline(pulse: Pulse, glyphs: Glyphs, width: int, notice: str, now: float) -> tuple[Content, str]:
    """The line, and the state that colours it. `now` is monotonic."""
    status = pulse.status(now)
    if status is None:
        gone, why = pulse.gone
        chip = f" {glyphs.states[NO_GATE]} {NO_GATE} since {clock(gone)} "
        return _line(chip, "$background on $error bold", why, [], [], width, glyphs), NO_GATE
    state = str(status["state"])
    colour = COLOURS.get(state, "$error")
    queue = status["queue"]
    lost, unanswered = queue["lost"], queue["unanswered"]
    per_second = [int(number) for number in status["per_second"]]
    rate = per_second[-1] if per_second else 0
    asks = int(status.get("asks") or 0)
    since = datetime.fromtimestamp(status["since"]).astimezone().strftime("%a %H:%M")
    parts = [
        Part(f"since {since}", "$muted", 5),
        Part(count(status["phones"], "phone"), "", 3),
        Part(f"{glyphs.verdicts['ask']} {asks:,} waiting" if asks else "", "$warning bold", 6),
        Part(notice, "$warning bold", 9),
        Part(f"queue {queue['waiting']}  lost {lost}", "$warning bold" if lost else "", 8 if lost else 4),
        Part(f"unanswered {unanswered}" if unanswered else "", "$warning bold", 7),
        Part(f"{rate} flows/s", "", 2, right=True),
    ]
    why = inert(status["reason"] if state != "ENFORCING" else status["trouble"] or fallen(status) or places(status))
    if status.get("clock") is False and status.get("consents"):
        why = why or "the time is not known: consents with an end wait (5)"
    watching = [inert(name) for name in status.get("watching", ())]
    if state == "ENFORCING" and status.get("mode") == "watch":
        state, colour = "WATCHING", COLOURS["WATCHING"]
        others = status["phones"] - len(watching)
        spared = f", except on {count(others, 'enforced phone')}" if others > 0 else ""
        why = f"nothing is blocked but phone to phone{spared}{f'; {why}' if why else ''}"
    elif watching:
        named = watching[0] if len(watching) == 1 else count(len(watching), "phone")
        parts.append(Part(f"watching {named}", "$warning bold", 8))
    chip = f" {glyphs.states.get(state, ' ')} {state} "
    share = BESIDE if state == "ENFORCING" else 0.75
    return _line(chip, f"$background on {colour} bold", why, parts, per_second, width, glyphs, share), state


def fallen(status: dict[str, Any]) -> str:
    """What of the phones' network does not work, and what to do; "" if all does."""
    return "; ".join(f"{name}: {reason}. {remedy}" for name, reason, remedy in troubles(status))


def places(status: dict[str, Any]) -> str:
    """What is wrong with what is known of countries and networks; "" if nothing is."""
    for base in status.get("places", ()):
        if base["trouble"]:
            return f"{base['what']}: {base['trouble']}"
        if base["stale"]:
            return f"data on places: {count(base['age_days'], 'day')} old"
    return ""


def _line(
    chip: str, style: str, why: str, parts: list[Part], per_second: list[int], width: int, glyphs: Glyphs,
    share: float = 0.75,
) -> Content:
    """What is wrong stands right behind the chip, and parts of less worth make room for it; the sparkline first.

    `share` of the line is the most that it drives them out of.
    """
    parts = [part for part in parts if part.text]
    free = width - cell_len(chip) - 1
    wanted = max(SHORTEST, min(cell_len(why), int(free * share))) + 2 if why else 0
    while parts and sum(cell_len(part.text) + 2 for part in parts) + wanted > free:
        parts.remove(min(parts, key=lambda part: part.worth))
    free -= sum(cell_len(part.text) + 2 for part in parts)
    why = cut(why, free - 2, glyphs.ellipsis)
    line = Content.assemble((chip, style))
    if why:
        line = Content.assemble(line, "  ", (why, "$warning bold"))
        free -= cell_len(why) + 2
    for part in parts:
        if part.right:
            spark = sparkline(per_second, min(free - 2, SPARK[-1]), glyphs.ramp) if free - 2 >= SPARK[0] else ""
            line = Content.assemble(line, " " * (free - len(spark)), (spark, "$primary"))
        line = Content.assemble(line, "  ", (part.text, part.style))
    return line


class Header(Static):
    """Red as a whole while the gate is locked or cannot be asked, amber while it blocks nothing."""

    def __init__(self, pulse: Pulse, glyphs: Glyphs) -> None:
        super().__init__(markup=False)
        self._pulse = pulse
        self._glyphs = glyphs
        self._notice = ""

    def on_mount(self) -> None:
        self.tick()

    def on_resize(self) -> None:
        self.tick()

    def tell(self, notice: str) -> None:
        """What the owner should know about what is on the screen: "frozen, 41 new"."""
        if notice != self._notice:
            self._notice = notice
            self.tick()

    def tick(self) -> None:
        line, state = headline(self._pulse, self._glyphs, self.size.width or 80, self._notice, time.monotonic())
        self.set_class(state not in COLOURS, "-closed")
        self.set_class(state == "WATCHING", "-open")
        self.update(line, layout=False)  # always one line
