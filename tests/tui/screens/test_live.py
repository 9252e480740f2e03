from __future__ import annotations

import asyncio
import dataclasses
import statistics
import time

from judge import TooLate
from textual import events

from rules.observation import Place
from tui.glyphs import ASCII
from tui.screens import question as questions


def ask(episode, number, name="api.account.xiaomi.com", **facts):
    facts = {"verdict": "ask", "rule": "xiaomi/1", "reason": "rule xiaomi/1 (xiaomi 2026-11-21) asks for service X", "dst": "42.62.48.181"} | facts
    return episode(number, name, **facts)


async def test_a_row_says_who_what_and_how_much(screen, episode):
    async with screen(ask(episode, 1, count=6), episode(2, "en.wikipedia.org", phone="phone2", up=1240)) as s:
        assert s.lines[3].split()[1:] == ["phone2", "✔", "allow", "en.wikipedia.org", "1.2k"]
        assert s.lines[4].split()[1:] == ["phone1", "?", "ask", "6", "api.account.xiaomi.com", "0"]


async def test_why_stands_below_without_a_key(screen, episode):
    async with screen(ask(episode, 1)) as s:
        await s.shows("rule xiaomi/1 (xiaomi 2026-11-21) asks for service X", "0 bytes left the gateway")


async def test_wide_screens_have_a_pane_and_more_columns(screen, episode):
    async with screen(ask(episode, 1, service="xiaomi-account"), size=(180, 36)) as s:
        await s.shows("Why", "name from", "via", "service", "rule")
        assert s.row("xiaomi/1  ").split()[5:10] == ["0", "0", "sni", "xiaomi-account", "xiaomi/1"]  # up and down


async def test_the_first_row_brings_the_keys_that_act_on_it(screen, gate, episode):
    async with screen() as s:
        assert "a allow" not in s.lines[-1]
        gate.say(episode(1, "one.example.com"))
        await s.shows("a allow  b block")
        await s.press("slash")
        await s.hides("a allow")


async def test_where_it_goes_and_where_there_is_room_to_whom(screen, another, episode):
    row = dataclasses.replace(ask(episode, 1), place=Place("CN", "CN", 4808, "China Unicom"), operator="xiaomi")
    async with screen(row) as s, another(size=(180, 36)) as wide:
        assert s.lines[3].split()[2:] == ["?", "ask", "api.account.xiaomi.com", "CN", "0"]
        await wide.shows("CN xiaomi")


async def test_what_is_only_watched_has_a_shape_of_its_own(screen, episode):
    async with screen(episode(1, "log.tv.example", verdict="watch", up=14_000)) as s:
        assert s.lines[3].split()[2:] == ["◐", "watch", "log.tv.example", "14k"]


async def test_one_episode_is_one_row(screen, gate, episode):
    async with screen(ask(episode, 1)) as s:
        gate.say(ask(episode, 1, count=10_000, at=time.time() + 1))
        await s.shows("10k api.account.xiaomi.com")
        assert len(s.app.screen.table.rows) == 1


async def test_the_cursor_stays_on_its_row(screen, gate, episode):
    async with screen(*(episode(n, f"n{n}.example.com", at=time.time() + n) for n in range(1, 40))) as s:
        await s.press("down", "down", "down")
        assert s.app.screen.table.pointed.id == 36
        line = next(at for at, text in enumerate(s.lines) if "n36.example.com" in text)
        gate.say(*(episode(n, f"n{n}.example.com", at=time.time() + n) for n in range(40, 60)), ask(episode, 36, at=time.time() + 99, count=3))
        await s.shows("20 above: g")
        assert s.app.screen.table.pointed.id == 36
        assert "api.account.xiaomi.com" in s.lines[line]
        await s.press("g")
        gate.say(episode(60, "n60.example.com", at=time.time() + 100))
        await s.until(lambda: s.app.screen.table.pointed.id == 60)


async def test_f_freezes_and_the_header_says_so(screen, gate, episode):
    async with screen(episode(1, "one.example.com")) as s:
        await s.press("f")
        gate.say(episode(2, "two.example.com"), episode(3, "three.example.com"))
        await s.shows("frozen, 2 new")
        assert "two.example.com" not in s.text
        await s.press("f")
        await s.shows("two.example.com", "three.example.com")
        await s.hides("frozen")


async def test_a_filter_works_while_it_is_written(screen, gate, episode):
    async with screen(ask(episode, 1), episode(2, "en.wikipedia.org")) as s:
        await s.press("slash", *"verdict:refused")
        await s.hides("en.wikipedia.org")
        await s.shows("/ verdict:refused  1 hidden: esc")
        await s.press("enter")
        gate.say(episode(3, "fr.wikipedia.org"), ask(episode, 4, "policy.app.xiaomi.com"))
        await s.shows("policy.app.xiaomi.com", "2 hidden")
        assert "fr.wikipedia.org" not in s.text
        await s.press("escape")
        await s.shows("fr.wikipedia.org", "en.wikipedia.org")


async def test_what_is_wrong_with_a_filter_stands_under_it(screen, episode):
    async with screen(ask(episode, 1)) as s:
        await s.press("slash", *"verdict:refused nam:x")
        await s.shows("^^^ unknown term 'nam' (did you mean name:?)")
        at = s.row("^^^").index("^^^")
        assert next(line for line in s.lines if line[at : at + 3] == "nam")
        assert "/ verdict:refused" in s.text  # the last one that could be used stays in use
        await s.press("escape")
        await s.hides("^^^", "hidden")


async def test_tab_completes_a_filter(screen, episode):
    async with screen(ask(episode, 1), episode(2, "en.wikipedia.org", phone="phone2")) as s:
        await s.press("slash", "v", "e", "tab")
        await s.until(lambda: s.app.screen.filter_line.text == "verdict:")
        await s.shows("tab: refused  allow  ask  block")
        await s.press("r", "tab")
        await s.hides("en.wikipedia.org")
        await s.press("space", *"phone:", "tab", "2")
        await s.until(lambda: s.app.screen.filter_line.text == "verdict:refused phone:phone2")
        await s.press("enter")
        await s.shows("2 rows are hidden")
        await s.hides("tab: ")


async def test_letters_of_a_filter_are_no_keys(screen, episode):
    async with screen(ask(episode, 1)) as s:
        await s.press("slash", *"f1q/?")
        assert s.app.screen.filter_line.text == "f1q/?"
        assert not s.app.screen.frozen
        assert " / filter" not in s.lines[-1]


async def test_a_filter_that_hides_all_says_how_many(screen, episode):
    async with screen(ask(episode, 1)) as s:
        await s.press("slash", *"phone:tv", "enter")
        await s.shows("No row matches this filter; 1 row is hidden.")


async def test_an_empty_screen_teaches(screen):
    async with screen() as s:
        await s.shows("No phone has spoken yet.", "lan0")


async def test_an_empty_lab_says_what_comes(screen):
    async with screen(lab=True) as s:
        await s.shows("The lab's phones begin in a moment", "q ends")


async def test_y_copies_the_name(screen, episode):
    async with screen(ask(episode, 1, name="a\u202eb.example.com")) as s:
        await s.press("y")
        assert s.app.clipboard == "a‹U+202E›b.example.com"


async def test_text_of_phones_is_no_markup_and_does_nothing(screen, episode):
    hostile = ask(episode, 1, name="[red]x[/]\u202e\x1b]0;t\x07.example.com", phone="[b]p\x1b[0m", reason="[link=x]why\u2066[/link]")
    async with screen(hostile) as s:
        await s.shows("[b]p‹U+00", "[link=x]why‹U+2066›[/link]")
        assert not set("\x1b\x07\u202e\u2066") & set(s.text)
        await s.press("enter")
        await s.shows("[red]x[/]‹U+202E›‹U+001B›]0;t‹U+0007›.example.com")


async def test_without_unicode_all_stays_readable(screen, episode):
    async with screen(ask(episode, 1), episode(2, "a.example.com", verdict="block"), look=ASCII) as s:
        await s.shows("x block", "? ask", "* ENFORCING")
        assert s.text.isascii()


async def test_a_thousand_events_a_second_neither_stop_the_keys_nor_the_eye(screen, gate, episode):
    async with screen(*(episode(n, f"n{n}.example.com") for n in range(1, 500))) as s:
        table = s.app.screen.table
        drawn, moved = [], []
        show, move = table.show, table.action_move
        table.show = lambda *rows: (drawn.append(time.monotonic()), show(*rows))
        table.action_move = lambda by: (moved.append(time.monotonic()), move(by))

        async def flood():
            for number in range(500, 2_500, 50):
                gate.say(*(episode(n, f"n{n}.example.com", at=time.time()) for n in range(number, number + 50)))
                await asyncio.sleep(0.05)

        began = time.monotonic()
        flooding = asyncio.ensure_future(flood())
        waits = []
        while not flooding.done():
            pressed = time.monotonic()
            s.app.post_message(events.Key("down", None))  # as a driver does, not waiting for anything
            await s.until(lambda: len(moved) == len(waits) + 1)  # none is lost
            waits.append(moved[-1] - pressed)
            await asyncio.sleep(0.03)
        lasted = time.monotonic() - began
        await flooding
        if len(waits) <= 10:
            raise TooLate(f"{len(waits)} keys in {lasted:.1f} s")
        assert len(drawn) <= 10 * lasted + 2
        if statistics.median(waits) >= 0.05:
            raise TooLate(f"a key waits {statistics.median(waits) * 1_000:.0f} ms")
        await s.until(lambda: len(table.rows) == 2_000 and table.rows[0].id == 2_499)


async def test_space_marks_rows_and_esc_lets_go_of_them_before_the_filter(screen, gate, episode):
    async with screen(ask(episode, 1), episode(2, "en.wikipedia.org"), episode(3, "fr.wikipedia.org")) as s:
        await s.press("space", "space", "y")
        await s.shows("▸ 2 marked")
        assert s.app.clipboard == "fr.wikipedia.org\nen.wikipedia.org"
        await s.press("slash", *"name:fr.wikipedia.org", "enter")
        await s.shows("2 marked, 1 of them hidden", "/ name:fr.wikipedia.org  2 hidden")
        await s.press("escape")
        await s.shows("1 marked, all of them hidden")
        await s.press("a")
        await s.shows("what is marked is hidden by the filter: esc shows it, and nothing was done")
        await s.hush()
        await s.press("escape")
        await s.shows("▸ 1 marked", "phone1: en.wikipedia.org")
        await s.press("escape")
        await s.hides("marked", "hidden")


async def test_on_a_wide_screen_the_pane_tells_what_is_marked(screen, episode):
    async with screen(ask(episode, 1), episode(2, "en.wikipedia.org"), size=(140, 36)) as s:
        await s.press("space", "space")
        await s.shows("▸ 2 marked", "phone1: en.wikipedia.org", "lets go of all")


async def test_c_answers_the_questions_of_all_that_are_marked_each_once(screen, gate, question, episode, monkeypatch):
    monkeypatch.setattr(questions, "GLANCE_SECONDS", 0.0)
    gate.questions = [question(1)]
    rows = ask(episode, 1, service="xiaomi-account", phone="redmi-1s"), ask(episode, 2, service="xiaomi-account", phone="redmi-1s"), ask(episode, 3, "b.example.com")
    async with screen(*rows, episode(4, "en.wikipedia.org")) as s:
        await s.press("space", "space", "space", "space", "c")
        await s.shows("phone1 wants to reach", "opens name:")
        await s.press("1")
        await s.shows("redmi-1s wants to reach", "opens service:xiaomi-account")
        await s.press("1")
        await s.until(lambda: len(s.app.screen_stack) == 1)
        assert [(args["phone"], args["life"]) for verb, args in gate.asked if verb == "consents.grant"] == [("phone1", "15m"), ("redmi-1s", "15m")]
        await s.hides("marked")


async def test_a_word_finds_the_rows_that_show_it_beside_the_terms(screen, episode):
    rows = ask(episode, 1), episode(2, "en.wikipedia.org", phone="Xiaomi of anna"), episode(3, "fr.wikipedia.org", verdict="block", rule="xiaomi/1")
    async with screen(*rows, episode(4, "de.wikipedia.org")) as s:
        await s.press("slash", *"xiaomi")
        await s.shows("/ xiaomi  1 hidden")
        await s.press("space", *"verdict:refused", "space", "-", *"wikipedia", "enter")
        await s.shows("3 hidden", "api.account.xiaomi.com")
        await s.press("slash", *" ver")
        await s.shows("tab: verdict:")  # until it is one, it is no word
        assert "3 hidden" in s.text
