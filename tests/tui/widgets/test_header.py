from __future__ import annotations

import re

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


@pytest.mark.parametrize("more", [{}, {"asks": 12}, {"mode": "enforce", "watching": ["phone1"]}, {"trouble": "the history cannot be written: the disk is full, and rows wait in memory"}])
def test_since_when_stands_beside_what_is_wrong(more):
    base = {"what": "networks", "trouble": "", "stale": True, "age_days": 61}
    text, _ = line(places=[base], **more)
    assert re.search(r"since \w{3} \d\d:\d\d", text)
    assert ("data on places: 61 days old" in text) is ("trouble" not in more)
    assert len(text) <= 80
    if "asks" in more:
        assert "? 12 waiting" in text
    assert (re.search(r"the history cannot be written: .*…", text) is not None) is ("trouble" in more)


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


def test_a_gate_that_only_watches_says_that_nothing_is_blocked():
    text, state = line(mode="watch", watching=["phone1", "phone2"])
    assert state == "WATCHING"
    assert text.startswith(" ◐ WATCHING   nothing is blocked but phone to phone")
    assert "ENFORCING" not in text
    assert "except on 1 enforced phone" in line(mode="watch", watching=["phone1"])[0]


def test_locked_is_said_before_watching():
    assert line(mode="watch", watching=["phone1", "phone2"], state="LOCKED", reason="stopped")[1] == "LOCKED"


def test_a_phone_that_is_watched_is_named_beside_enforcing():
    text, state = line(mode="enforce", watching=["phone1"])
    assert state == "ENFORCING"
    assert "watching phone1" in text
    assert "watching 2 phones" in line(mode="enforce", watching=["phone1", "phone2"])[0]


@pytest.mark.parametrize(("wrong", "says"), [({"trouble": "damaged"}, "networks: damaged"), ({"stale": True}, "data on places: 120 days old")])
def test_what_is_known_of_places_may_be_old_or_damaged(wrong, says):
    base = {"what": "networks", "trouble": "", "stale": False, "age_days": 120}
    assert says in line(places=[base | wrong])[0]
    assert "networks" not in line(places=[base])[0]


def test_who_waits_is_said_before_the_queue_at_80_cells():
    text, _ = line(asks=2, consents=1, clock=True)
    assert "? 2 waiting" in text
    assert "waiting" not in line(asks=0)[0]
    assert "? 1,204 waiting" in line(60, asks=1204)[0]


def test_a_clock_that_is_not_trusted_matters_where_consents_are():
    assert "the time is not known: consents with an end wait (5)" in line(120, asks=0, consents=2, clock=False)[0]
    assert "the time" not in line(120, consents=0, clock=False)[0]
    assert "the time" not in line(120, consents=2, clock=True)[0]


def test_what_fails_beside_the_gate_stands_in_the_line_with_what_helps():
    failed = {"state": "failed", "reason": "the radio wlan0 is switched off (rfkill)", "remedy": "sudo rfkill unblock wifi"}
    text, state = line(width=160, children={"hostapd": failed, "dnsmasq": {"state": "up", "reason": "", "remedy": ""}})
    assert state == "ENFORCING"  # the gate itself is sound
    assert "hostapd: the radio wlan0 is switched off (rfkill). sudo rfkill unblock wifi" in text
