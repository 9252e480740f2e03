"""The inbox: who waits, and the keys that answer."""

from __future__ import annotations

import time
from pathlib import Path

from tui.glyphs import ASCII
from tui.screens import question as questions


def asked(gate, verb):
    return [args for said, args in gate.asked if said == verb]


async def test_who_wants_what_and_how_often(screen, gate, question):
    async with screen() as s:
        gate.wait(question(1), question(2, "tv", "", names={"log.tvlog.example": 41, "cdn.tvlog.example": 3}, at=time.time() - 300))
        await s.shows("? 2 waiting", "2 Asks²")
        await s.press("2")
        await s.shows("tvlog.example")
        assert s.row("? redmi-1s   ").split()[2:8] == ["Xiaomi", "account", "and", "messaging", "6", "China,"]
        await s.shows("? redmi-1s wants to reach Xiaomi account and messaging", "6 tries since", "api.account.xiaomi.com (5)   sms.intl.xiaomi.com (1)")
        assert all(len(line) == 80 for line in s.lines)
        await s.press("down")
        await s.shows("tv wants to reach tvlog.example", "b never: block name:tvlog.example phone:tv")
        assert "enter answer  b never  u undo  / filter  z not now  m bell  ? help  q quit" in s.lines[-1]


async def test_nobody_waiting_teaches(screen):
    async with screen() as s:
        await s.press("2")
        await s.shows("Nobody waits for an answer.", "never turns into a yes")
        assert "never" not in s.lines[-1]
        await s.press("enter", "z", "b", "c")
        assert len(s.app.screen_stack) == 1


async def test_ten_thousand_tries_are_one_row_that_stays(screen, gate, question):
    async with screen() as s:
        old, new = question(1, "tv", at=time.time() - 900), question(2)
        gate.wait(old, new)
        await s.press("2")
        await s.shows("tv", "redmi-1s")
        await s.press("down")
        await s.shows("tv wants to reach")
        old |= {"count": 10_000, "last": time.time() + 60}
        gate.wait(question(3, "phone-0c"))
        await s.shows("10k", "phone-0c")
        assert s.app.screen.table.pointed["id"] == 1
        assert [row["id"] for row in s.app.screen.table.rows] == [3, 2, 1]


async def test_a_new_question_does_not_slip_under_the_key(screen, gate, question):
    async with screen() as s:
        gate.wait(question(1, at=time.time() - 60))
        await s.press("2")
        await s.shows("redmi-1s wants")
        gate.wait(question(2, "stranger"))
        await s.shows("stranger")
        await s.press("b")
        await s.shows("made the rule: block service:xiaomi-account phone:redmi-1s")
        assert asked(gate, "asks.never") == [{"id": 1, "subject": "service:xiaomi-account", "for": "phone"}]


async def test_z_puts_it_off_and_it_stays_in_sight(screen, gate, question):
    async with screen() as s:
        gate.wait(question(1), question(2, "tv", at=time.time() - 60))
        await s.press("2")
        await s.shows("redmi-1s wants")
        await s.press("z")
        await s.shows("redmi-1s is refused as before, and asks again in 60 minutes", "─ put off ─", "1 put off", "? 1 waiting")
        assert asked(gate, "asks.later") == [{"id": 1, "seconds": 3600}]
        await s.shows("put off until ")
        assert [row["id"] for row in s.app.screen.table.rows] == [2, -1, 1]


async def three_marked(s, gate, question):
    gate.wait(question(1), question(2, "tv", at=time.time() - 60), question(3, "[u]kid", at=time.time() - 90))
    await s.press("2")
    await s.shows("redmi-1s wants", "[u]kid")
    await s.press("space", "space", "space")
    await s.shows("▸ 3 marked", "redmi-1s: Xiaomi account and messaging, tv: ")


async def test_all_that_are_marked_are_put_off_or_refused(screen, gate, question):
    async with screen() as s:
        await three_marked(s, gate, question)
        await s.press("z")
        await s.shows("3 stay refused, and ask again in 60 minutes", "3 put off")
        assert [args["id"] for args in asked(gate, "asks.later")] == [1, 2, 3]
        await s.press("home", "space", "space", "b")
        await s.shows("made 2 block rules; u takes them back, one after the other")
        assert [args["id"] for args in asked(gate, "asks.never")] == [1, 2]
        await s.hides("marked")


async def test_those_that_are_marked_are_answered_one_after_the_other_until_one_is_left(screen, gate, question, monkeypatch):
    monkeypatch.setattr(questions, "GLANCE_SECONDS", 0.0)
    async with screen() as s:
        await three_marked(s, gate, question)
        await s.press("enter")
        await s.shows("redmi-1s wants to reach", "opens service:xiaomi-account for redmi-1s")
        await s.press("1")
        await s.shows("tv wants to reach", "opens service:xiaomi-account for tv")
        await s.press("b")
        await s.shows("[u]kid wants to reach", "opens service:xiaomi-account for [u]kid")
        await s.press("escape")
        await s.until(lambda: len(s.app.screen_stack) == 1)
        await s.shows("[u]kid")
        assert [args["ask"] for args in asked(gate, "consents.grant")] == [1]


async def test_a_key_that_is_pressed_twice_answers_no_question_that_nobody_has_read(screen, gate, question, monkeypatch):
    monkeypatch.setattr(questions, "GLANCE_SECONDS", 1e9)
    async with screen() as s:
        await three_marked(s, gate, question)
        await s.press("enter")
        await s.shows("redmi-1s wants to reach", "opens service:xiaomi-account for redmi-1s")
        await s.press("1")
        await s.shows("tv wants to reach")
        await s.press("1", "1", "z", "b")
        await s.shows("tv wants to reach", "opens service:xiaomi-account for tv")
        await s.press("1", "z", "b")
        await s.shows("tv wants to reach")
        assert [args["ask"] for args in asked(gate, "consents.grant")] == [1]
        assert not asked(gate, "asks.later") + asked(gate, "asks.never")


async def test_the_cursor_never_rests_on_the_line_between(screen, gate, question):
    async with screen() as s:
        gate.wait(question(1, put_off=time.time() + 900))
        await s.press("2")
        await s.shows("put off until ")
        assert s.app.screen.table.question["id"] == 1
        await s.press("up")
        assert s.app.screen.table.question["id"] == 1


async def test_what_the_gate_refuses_is_said(screen, gate, question):
    async with screen() as s:
        gate.wait(question(1))
        await s.press("2")
        await s.shows("redmi-1s wants")
        gate.questions.clear()  # another owner was quicker
        await s.press("z")
        await s.shows("there is no question 1: somebody else may have answered it", "Nobody waits for an answer.")


async def test_without_a_gateway_it_says_so(screen, gate, question):
    async with screen() as s:
        gate.wait(question(1))
        await s.press("2")
        await s.shows("redmi-1s wants")
        await gate.close()
        await s.shows("no gateway answers", "NO GATE")
        await gate.open()
        await s.shows("redmi-1s wants")


async def test_the_bell_rings_for_who_begins_to_wait_and_m_silences_it_for_good(screen, another, gate, question, tmp_path):
    rung = []
    async with screen() as s:
        s.app.bell = lambda: rung.append(time.monotonic())
        gate.say()
        await s.press("2")
        await s.shows("Nobody waits")
        gate.wait(question(1))
        await s.until(lambda: len(rung) == 1, "the bell")
        await s.press("m")
        await s.shows("the bell is silent", "bell silent")
        assert Path(tmp_path, "state", "consentry", "silent").exists()
        s.app.bell_rings._rung = 0.0
        gate.wait(question(2, "tv"))
        await s.shows("? 2 waiting")
        assert len(rung) == 1
        async with another() as other:
            assert other.app.bell_rings.silent
        await s.press("m")
        await s.shows("the bell rings when somebody begins to wait")
        assert not Path(tmp_path, "state", "consentry", "silent").exists()


async def test_help_explains_it(screen):
    async with screen(size=(100, 50)) as s:
        await s.press("2", "question_mark")
        await s.shows("help: Asks", "makes a block rule,", "m bell on, off", "let through, as you consented to it")


async def test_hostile_small_and_plain(screen, gate, question):
    hostile = question(1, "[b]p\x1b[0m\u202e", "[red]s[/]\u2066", names={"[link=x]n\u202e.example.com": 3}) | {"readable": "[u]r\x07"}
    hostile["title"] = hostile["widths"][0]["title"] = "[blink]t\u202e"
    async with screen(look=ASCII) as s:
        gate.wait(hostile)
        await s.press("2")
        await s.shows("[blink]t", "U+202E", "2 Asks(1)", "[link=x]n")
        assert not set("\x1b\x07\u202e\u2066") & set(s.text)
        await s.press("enter")
        await s.shows("wants to reach [blink]t")
        assert not set("\x1b\x07\u202e\u2066") & set(s.text)
        assert s.text.replace("‹", "").replace("›", "").isascii()


async def test_tries_beyond_what_can_be_counted_are_said(screen, gate, question):
    gate.uncounted = 1_204
    async with screen() as s:
        gate.wait(question(1, put_off=time.time() + 900))
        await s.press("2")
        await s.shows("1 put off  1,204 tries beyond these")
