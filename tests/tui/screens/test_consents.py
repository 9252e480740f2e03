"""What holds, what is left of it, what became of the rest; and taking it back."""

from __future__ import annotations

import re
import time

import pytest

from tui.glyphs import ASCII


def asked(gate, verb):
    return [args for said, args in gate.asked if said == verb]


@pytest.fixture
def given(gate, consent):
    now = time.time()
    gate.consents = [
        consent(1, left=1_790.0), consent(2, "tv", "log.tvlog.example", kind="name", life="revoked", left=None, given=now - 300_000),
        consent(3, "tablet", "10.0.0.1", kind="addr", life="15m", left=None, state="ended", why="its time is up", given=now - 9_000, flows=0) | {"ended": now - 8_000},
        consent(4, "pixel", life="1h", left=None, state="ended", why="revoked by anna") | {"ended": now - 60},
    ]
    return gate.consents


async def test_what_holds_and_what_is_left_of_it(screen, given):
    async with screen() as s:
        await s.press("5")
        await s.shows("2 active", "given by anna on tui: asks", "used: 3 flows, 4.1k up, 900 down")
        assert "███░░░ 29 min" in s.row("◆ redmi-1s  ")
        assert "██████ until revoked" in s.row("◆ tv")
        assert all(len(line) == 80 for line in s.lines)
        assert "enter flows  u undo  / filter  x revoke  ? help  q quit" in s.lines[-1]


async def test_below_stands_what_ended_with_why_and_by_whom(screen, given):
    async with screen() as s:
        await s.press("5")
        await s.shows("─ ended ─", "its time is up", "revoked by an")
        assert [row["id"] for row in s.app.screen.table.rows] == [1, 2, -1, 4, 3]
        await s.press("down", "down")  # over the line between
        await s.shows("pixel could reach", ": revoked by anna")
        assert "x revoke" not in s.lines[-1]
        await s.press("x", "enter")
        assert not any("Revoke" in line for line in s.lines)


async def test_the_bar_shrinks_without_asking_again(screen, given):
    async with screen() as s:
        await s.press("5")
        await s.shows("███░░░ 29 min")
        s.app.screen.table._told_at -= 1_000
        s.app.screen.tick = lambda: None
        s.app.screen.table.refresh()
        await s.shows("██░░░░ 13 min")


async def test_no_consent_teaches(screen):
    async with screen() as s:
        await s.press("5")
        await s.shows("No consent holds, and none ever did.", "enter on screen 2")
        await s.press("x", "c", "t", "enter")
        assert len(s.app.screen_stack) == 1


async def test_x_revokes_after_it_was_said_what_that_does(screen, gate, given):
    async with screen() as s:
        await s.press("5")
        await s.shows("redmi-1s may reach")
        await s.press("x")
        await s.shows("Revoke what redmi-1s may reach: Xiaomi account and messaging?", "reset at once", "enter does it")
        assert not asked(gate, "consents.revoke")
        await s.press("enter")
        await s.shows("revoked: 2 running flows were reset", "1 active", "revoked by root")
        assert asked(gate, "consents.revoke") == [{"id": 1}]


async def test_esc_leaves_it(screen, gate, given):
    async with screen() as s:
        await s.press("5")
        await s.shows("redmi-1s may reach")
        await s.press("x")
        await s.shows("enter does it")
        await s.press("escape")
        await s.hides("enter does it")
        await s.shows("redmi-1s may reach")
        assert not asked(gate, "consents.revoke")


async def test_all_that_are_marked_are_revoked(screen, gate, given, consent):
    gate.consents.append(consent(5, "[b]kid", left=600.0))
    async with screen() as s:
        await s.press("5")
        await s.shows("3 active", "[b]kid may reach")
        await s.press("space", "space", "end", "space")  # the last has ended: there is nothing to do with it
        await s.shows("▸ 2 marked", "[b]kid: Xiaomi account and messaging, redmi-1s: Xiaomi account and messaging", "x revokes what is marked; esc lets go of all")
        await s.until(lambda: "c again" not in s.lines[-1])
        await s.press("x")
        await s.shows("Revoke 2 consents: [b]kid: Xiaomi account and messaging, redmi-1s", "Their running flows")
        assert not asked(gate, "consents.revoke")
        given[0]["state"] = "ended"  # one of them was just revoked by another owner: that does not keep the others
        await s.press("enter")
        await s.shows("revoked: 2 running flows were reset", "there is no consent 1", "1 active")
        assert asked(gate, "consents.revoke") == [{"id": 5}, {"id": 1}]
        await s.until(lambda: not s.app.screen.table.marked)


async def test_esc_lets_go_of_what_is_marked_before_it_steps_back(screen, given):
    async with screen() as s:
        await s.press("5")
        await s.shows("redmi-1s may reach")
        await s.press("space")
        await s.shows("1 marked")
        await s.press("escape")
        await s.hides("1 marked")
        assert s.app.current_mode == "consents"
        await s.press("escape")
        await s.until(lambda: s.app.current_mode == "live")


async def test_what_could_not_be_revoked_is_said(screen, gate, given):
    async with screen() as s:
        await s.press("5")
        await s.shows("redmi-1s may reach")
        await s.press("x")
        await s.shows("enter does it")
        given[0]["state"] = "ended"  # another owner was quicker
        await s.press("enter")
        await s.shows("there is no consent 1", "1 active")


async def test_what_another_gives_is_there_within_a_moment(screen, gate, given, consent):
    async with screen() as s:
        await s.press("5")
        await s.shows("2 active")
        gate.consents.append(consent(9, "kid-tablet"))
        gate._server.publish({"consent": gate.consents[-1]})
        await s.shows("3 active", "kid-tablet")


async def test_c_gives_it_once_more(screen, gate, given):
    async with screen() as s:
        await s.press("5")
        await s.shows("redmi-1s may reach")
        await s.press("down", "down", "down", "c")
        await s.shows("tablet may reach 10.0.0.1", "opens addr:10.0.0.1 for tablet")
        await s.press("1")
        await s.shows("granted: consent", "3 active")
        assert asked(gate, "consents.grant") == [{"phone": "tablet", "subject": "addr:10.0.0.1", "life": "15m", "screen": "tui: consents"}]


async def test_a_group_stays_a_group(screen, gate, consent):
    gate.consents = [consent(1, "", slot=0, state="ended", left=None, why="its time is up")]
    async with screen() as s:
        await s.press("5")
        await s.shows("group family could reach")
        await s.press("c")
        await s.shows("opens service:xiaomi-account for family", "● group family")
        await s.press("3")
        await s.shows("granted: consent")
        assert asked(gate, "consents.grant")[0]["group"] == "family"
        assert "phone" not in asked(gate, "consents.grant")[0]


async def test_enter_shows_what_it_let_pass(screen, gate, given, episode):
    rows = [
        episode(1, "api.account.xiaomi.com", phone="redmi-1s", service="xiaomi-account", verdict="consent", consent=1),
        episode(2, "other.example.com", phone="redmi-1s", verdict="ask"),
    ]
    async with screen(*rows) as s:
        await s.press("5")
        await s.shows("redmi-1s may reach")
        await s.press("enter")
        await s.shows("verdict:consent phone:redmi-1s service:xiaomi-account", "◆ consent", "xiaomi.com", "1 episode")
        assert "other.example.com" not in s.text


async def test_without_a_clock_they_wait_and_t_says_that_it_is_right(screen, gate, consent):
    gate.consents = [consent(1, state="suspended", left=None)]
    async with screen() as s:
        gate.say(clock=False, consents=1)
        await s.press("5")
        await s.shows("waits: clock", "1 suspended", "nothing passes. t: the clock is right", "the time is not known: cons")
        gate.consents[0]["left"] = 1_790.0
        await s.press("t")
        await s.shows("Say that the clock is right?")
        assert not asked(gate, "clock.trust")
        await s.press("enter")
        await s.shows("the clock is right, by your word", "29 min")
        await s.hides("waits: clock", "the time is not known")


async def test_wide_screens_tell_more(screen, given):
    async with screen(size=(140, 36)) as s:
        await s.press("5")
        await s.shows("flows", "down", "given", "revoked by anna")
        assert re.search(r" 3 +4\.1k +900 ", s.row("◆ redmi-1s  "))


async def test_without_a_gateway_it_says_so(screen, gate, given):
    async with screen() as s:
        await s.press("5")
        await s.shows("redmi-1s may reach")
        await gate.close()
        await s.shows("no gateway answers", "NO GATE")


async def test_hostile_and_plain(screen, gate, consent):
    gate.consents = [
        consent(1, "[b]p\u202e", "[red]x\x1b", who="[u]w\u2066", left=1_790.0), consent(2, state="ended", why="[blink]\u202ey", left=None),
    ]
    async with screen(look=ASCII) as s:
        await s.press("5")
        await s.shows("###--- 29 min", "= [b]p", "[red]x", "[u]w", "[blink]")
        assert not set("\x1b\u202e\u2066") & set(s.text)
        assert s.text.replace("‹", "").replace("›", "").isascii()
        await s.press("x")
        await s.shows("Revoke what [b]p‹U+202E› may reach")


async def test_a_filter_finds_what_was_given_and_x_revokes_only_what_is_seen(screen, gate, given):
    async with screen() as s:
        await s.press("5")
        await s.shows("2 active")
        await s.press("space", "space", "slash", *"name:cdn.log.tvlog.example", "enter")
        await s.shows("filtered, 1 of 4", "2 marked, 1 of them hidden")
        await s.press("x")
        await s.shows("Revoke what tv may reach: log.tvlog.example?")
        await s.press("enter")
        await s.until(lambda: asked(gate, "consents.revoke") == [{"id": 2}])
        await s.shows("1 marked, all of them hidden")
        await s.press("x")
        await s.shows("what is marked is hidden by the filter")
        await s.press("escape")
        await s.shows("1 active", "1 marked", "redmi-1s: Xiaomi account")
