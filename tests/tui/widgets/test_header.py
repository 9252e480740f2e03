from __future__ import annotations

import pytest

from tui.glyphs import ASCII, UNICODE
from tui.pulse import Pulse
from tui.widgets.header import headline

STATUS = {
    "state": "ENFORCING", "reason": "", "since": 1_000_000.0, "phones": 2, "trouble": None, "per_second": [0] * 50 + [1, 5, 9, 2, 0, 3, 4, 8, 12, 4],
    "queue": {"waiting": 3, "lost": 0, "unanswered": 0},
}


def line(width=80, notice="", glyphs=UNICODE, now=10.0, **changes):
    pulse = Pulse(0.0)
    pulse.hear(STATUS | changes, 10.0, 1_000_000.0)
    content, state = headline(pulse, glyphs, width, notice, now)
    return content.plain, state


def test_enforcing_at_80_cells():
    text, state = line()
    assert state == "ENFORCING"
    assert text.startswith(" ● ENFORCING   since ")
    assert "2 phones  queue 3  lost 0" in text
    assert text.endswith("4 flows/s")
    assert "█" in text
    assert len(text) == 79


def test_a_stale_status_is_no_gate():
    text, state = line(now=13.5)
    assert state == "NO GATE"
    assert text.startswith(" ✖ NO GATE since ")
    assert "it has stopped answering" in text
    assert "ENFORCING" not in text


@pytest.mark.parametrize(("state", "glyph"), [("DEGRADED", "▲"), ("LOCKED", "■"), ("STARTING", "◌")])
def test_the_reason_stands_behind_the_state(state, glyph):
    text, shown = line(state=state, reason="rules.toml:12:9: unknown service")
    assert shown == state
    assert text.startswith(f" {glyph} {state}   rules.toml:12:9: unknown service  ")


def test_trouble_is_said_while_enforcing():
    assert "the disk is full" in line(trouble="the disk is full")[0]


def test_frozen_and_lost_find_room_before_all_else():
    text, _ = line(70, "frozen, 41 new", queue={"waiting": 0, "lost": 7, "unanswered": 2})
    assert "frozen, 41 new" in text
    assert "lost 7" in text
    assert "unanswered 2" in text


@pytest.mark.parametrize("width", [20, 40, 60, 80, 110, 200])
@pytest.mark.parametrize("state", ["ENFORCING", "DEGRADED", "LOCKED"])
def test_the_line_fits(width, state):
    text, _ = line(width, "frozen, 41 new", state=state, reason="a reason of some length " * 5, glyphs=ASCII)
    assert len(text) <= width
    assert text.startswith(f" {ASCII.states[state]} {state} ")


def test_text_of_others_is_inert():
    assert "‹U+202E›[red]" in line(state="DEGRADED", reason="\u202e[red]")[0]
