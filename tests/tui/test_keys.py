"""Keys that come faster than they can be done, as a driver hands them in: nobody waits between them."""

from __future__ import annotations

import asyncio
import time

from textual import events


def typed(app, *keys):
    for key in keys:
        assert app.post_message(events.Key(key, key if len(key) == 1 else None))


async def test_backspaces_take_away_what_stood_before_them(screen):
    async with screen() as s:
        await s.press("slash", *"port:80")
        typed(s.app, *["backspace"] * 2, *"443")
        await s.until(lambda: s.app.focused.value == "port:443")
        typed(s.app, *["backspace"] * 20, *"proto:udpx", "backspace", "left", "home", "delete", "p", "enter")
        await s.until(lambda: s.app.screen.filter_line.text == "proto:udp" and s.app.focused is s.app.screen.table)


async def test_what_opens_a_line_a_box_or_a_screen_is_followed_by_what_is_meant_for_it(screen, gate, episode):
    async with screen(episode(1, "a.example", verdict="ask"), episode(2, "b.example", verdict="ask")) as s:
        typed(s.app, "slash", *"phone:phone1", "enter", "3", "e", "ctrl+u", *"y.csv", "escape", "question_mark", "escape", "4", "n", *"block port:1")
        await s.until(lambda: s.app.current_mode == "rules" and getattr(s.app.focused, "value", "") == "block port:1")
        typed(s.app, "escape", "1", "enter", "escape", "f")
        await s.until(lambda: getattr(s.app.screen, "frozen", False) and s.app.screen.filter_line.text == "phone:phone1")
        assert {verb for verb, _ in gate.asked} <= {"history", "history.hours", "explain", "rules.test", "asks"}


async def test_no_key_is_lost_while_a_thousand_rows_a_second_come(screen, gate, episode):
    async with screen(*(episode(n, f"n{n}.example.com") for n in range(1, 500))) as s:
        table, moved = s.app.screen.table, []
        move = table.action_move
        table.action_move = lambda by: (moved.append((by, time.monotonic())), move(by))

        async def flood():
            for number in range(500, 2_500, 50):
                gate.say(*(episode(n, f"n{n}.example.com", at=time.time()) for n in range(number, number + 50)))
                await asyncio.sleep(0.05)

        flooding = asyncio.ensure_future(flood())
        for _ in range(5):
            typed(s.app, *["down", "down", "up", "down"] * 4)
            await s.pilot.pause(0.2)
        await flooding
        await s.until(lambda: len(moved) == 80)
        assert [by for by, _ in moved] == [1, 1, -1, 1] * 20
