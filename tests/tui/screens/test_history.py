from __future__ import annotations

import time


async def test_it_begins_with_what_was_refused_in_a_day(screen, gate, episode):
    rows = [episode(1, "a.example.com", verdict="block", count=3), episode(2, "b.example.com"), episode(3, "c.example.com", verdict="ask", at=time.time() - 90_000)]
    async with screen(*rows) as s:
        await s.press("3")
        await s.shows("a.example.com", "1 episode, 1 phone, 0.2 s", "first", "last", "█")
        assert gate.asked == [("history", {"filter": "verdict:refused last:24h", "limit": 2000})]
        assert "b.example.com" not in s.text


async def test_another_filter_is_asked_with_enter(screen, gate, episode):
    async with screen(episode(1, "a.example.com")) as s:
        await s.press("3")
        await s.shows("Nothing in the history matches")
        await s.press("slash", "ctrl+u", *"name:example.com", "enter")
        await s.shows("a.example.com", "1 episode")
        assert gate.asked[-1] == ("history", {"filter": "name:example.com", "limit": 2000})
        await s.press("escape")
        await s.shows("verdict:refused last:24h", "0 episodes")
        await s.press("escape")
        await s.shows("time", "a.example.com")


async def test_a_wrong_filter_is_not_asked(screen, gate, episode):
    async with screen(episode(1, verdict="ask")) as s:
        await s.press("3")
        await s.shows("1 episode")
        await s.press("slash", *" nam:x", "enter")
        await s.shows("^^^ unknown term")
        assert len(gate.asked) == 1


async def test_without_a_gateway_it_says_so(screen, gate, episode):
    async with screen(episode(1)) as s:
        await gate.close()
        await s.shows("NO GATE")
        await s.press("3")
        await s.shows("no gateway answers: No such file or directory")


async def test_enter_tells_everything(screen, episode):
    async with screen(episode(1, "a.example.com", verdict="block")) as s:
        await s.press("3")
        await s.shows("1 episode")
        await s.press("enter")
        await s.shows("everything known", "a.example.com")
