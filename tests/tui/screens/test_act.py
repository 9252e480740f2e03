"""Allow or block from a row: a letter or two, then enter."""

from __future__ import annotations

import pytest
from gatekeeper import rule

from tui.glyphs import ASCII

DRY = {"changed": 3, "of": 9, "cut": 1, "live": 2, "examples": [], "warnings": [], "seconds": 0.1}


@pytest.fixture
def ready(gate):
    gate.dry_run = DRY
    gate.rules = [rule(1, "k3f7", "block", "port:22", "mine")]
    return gate


@pytest.fixture
def row(episode):
    return episode(1, "api.account.xiaomi.com", service="xiaomi-account", dst="42.62.48.181", verdict="ask", rule="xiaomi/1")


def first(gate):
    return f"{gate.rules[0]['action']} {gate.rules[0]['match']}"


@pytest.mark.parametrize(("keys", "match"), [
    (("enter",), "name:=api.account.xiaomi.com phone:phone1"),
    (("d", "enter"), "name:xiaomi.com phone:phone1"),
    (("s", "enter"), "service:xiaomi-account phone:phone1"),
    (("a", "enter"), "addr:42.62.48.181 phone:phone1"),
    (("N", "enter"), "name:=api.account.xiaomi.com"),
    (("D", "enter"), "name:xiaomi.com"),
    (("S", "enter"), "service:xiaomi-account"),
    (("A", "enter"), "addr:42.62.48.181"),
    (("tab", "shift+tab", "enter"), "name:xiaomi.com"),
    (("up", "left", "enter"), "addr:42.62.48.181"),
])
async def test_what_and_for_whom(screen, ready, row, keys, match):
    async with screen(row) as s:
        await s.press("b", *keys)
        await s.until(lambda: len(ready.rules) == 2)
        assert first(ready) == f"block {match}"
        await s.shows("saved: added block", "revision 4")
        assert s.app.screen is s.app.screen_stack[0]


async def test_what_it_does_stands_beside_it_before_it_is_done(screen, ready, row):
    async with screen(row) as s:
        await s.press("a")
        await s.shows("✔ Allow  phone1", "allow name:=api.account.xiaomi.com phone:phone1", "reads: allow everything to host api.account.xiaomi.com alone for phone", "the last 24 h: 3 of 9 decisions would change; 1 live flow is cut")
        assert not [verb for verb, _ in ready.asked if verb == "rules.edit"]
        await s.press("escape")
        await s.hides("the last 24 h")
        assert len(ready.rules) == 1


async def test_enter_waits_for_the_dry_run_and_enter_again_does_not(screen, ready, row):
    ready.may_answer.clear()
    async with screen(row) as s:
        await s.press("b", "enter")
        await s.shows("saves as soon as the gateway has said what it does")
        ready.may_answer.set()
        await s.until(lambda: len(ready.rules) == 2)
        ready.may_answer.clear()
        await s.press("b", "S", "enter", "enter")
        await s.until(lambda: len(ready.rules) == 3)


async def test_an_allow_that_cannot_work_is_said_and_saved_only_when_wanted(screen, ready, row):
    ready.dry_run = DRY | {"warnings": ["rule k3f7 (block port:22) stands above and would still refuse"]}
    async with screen(row) as s:
        await s.press("a", "enter")
        await s.shows("! rule k3f7 (block port:22) stands above and would still refuse", "not saved yet: enter again")
        assert len(ready.rules) == 1
        await s.press("enter")
        await s.until(lambda: len(ready.rules) == 2)


async def test_a_refusal_loses_nothing(screen, ready, row):
    async with screen(row) as s:
        await s.press("b", "d")
        await s.shows("the last 24 h")
        await ready.close()
        await s.press("enter")
        await s.shows("no gateway answers", "block name:xiaomi.com phone:phone1")
        await ready.open()
        await s.press("enter")
        await s.until(lambda: len(ready.rules) == 2)


async def test_u_takes_it_back_from_any_screen(screen, ready, row):
    async with screen(row) as s:
        await s.press("b", "enter")
        await s.until(lambda: len(ready.rules) == 2)
        await s.press("3", "u")
        await s.shows("took back: added block name:=api.account.xiaomi.com phone:phone1")
        assert len(ready.rules) == 1


async def test_the_history_has_the_same_keys(screen, ready, row):
    async with screen(row) as s:
        await s.press("3")
        await s.shows("1 episode")
        await s.press("b", "A", "enter")
        await s.until(lambda: len(ready.rules) == 2)
        assert first(ready) == "block addr:42.62.48.181"


async def test_the_detail_has_them_too(screen, ready, row):
    async with screen(row) as s:
        await s.press("enter")
        await s.shows("everything known")
        await s.press("b", "S", "enter")
        await s.until(lambda: len(ready.rules) == 2)
        await s.shows("everything known", "saved: added block service:xiaomi-account at 1")


async def test_a_row_without_a_name_offers_its_address(screen, ready, episode):
    async with screen(episode(1, dst="2001:db8::1", via="none", verdict="block")) as s:
        await s.press("b", "n", "d", "s", "enter")  # what is not there cannot be chosen
        await s.until(lambda: len(ready.rules) == 2)
        assert first(ready) == "block addr:2001:db8::1 phone:phone1"


async def test_a_phone_with_a_space_in_its_name(screen, ready, episode):
    async with screen(episode(1, "a.example", phone="anna's pixel")) as s:
        await s.press("b", "enter")
        await s.until(lambda: len(ready.rules) == 2)
        assert first(ready) == 'block name:=a.example phone:"anna\'s pixel"'


async def test_e_goes_on_as_text(screen, ready, row):
    async with screen(row) as s:
        await s.press("b", "d", "e")
        await s.shows("new rule", "block name:xiaomi.com phone:phone1")
        await s.press(*" port:443", "enter")
        await s.until(lambda: len(ready.rules) == 2)
        assert first(ready) == "block name:xiaomi.com phone:phone1 port:443"


async def test_without_a_row_there_is_nothing_to_allow(screen, ready):
    async with screen() as s:
        assert "allow" not in s.lines[-1]
        await s.press("a")
        assert len(s.app.screen_stack) == 1


async def test_small_hostile_and_plain(screen, ready, episode):
    ready.dry_run = DRY | {"warnings": ["[red]w[/]\x1b"]}
    hostile = episode(1, "[red]x[/]\u202e.example.com", phone="[b]p\x1b[0m", service="[/]s")
    async with screen(hostile, look=ASCII) as s:
        await s.press("b")
        await s.shows("! [red]w[/]", "x Block  [b]p", "* d example.com", "* everyone")
        assert not set("\x1b\u202e") & set(s.text)
        assert s.text.replace("‹", "").replace("›", "").isascii()


async def test_what_is_marked_becomes_one_rule(screen, ready, row, episode):
    async with screen(row, episode(2, "b.example.com", phone="phone2"), episode(3, "c.example.com")) as s:
        await s.press("space", "down", "space")  # the newest, and the oldest
        await s.shows("▸ 2 marked", "phone1: c.example.com, phone1: api.account.xiaomi.com", "a allow   b block   c consent   y copy; esc lets go of all")
        await s.press("b")
        await s.shows("✖ Block  2 rows", "2 names (c.example.com, api.account.xiaomi.com), nothing below", "the last 24 h: 3 of 9 decisions would change")
        await s.press("enter")
        await s.shows("saved: added block")
        assert first(ready) == "block name:=c.example.com,=api.account.xiaomi.com phone:phone1"
        assert len(ready.rules) == 2  # one rule, which u takes back
        await s.hides("marked")


async def test_rows_that_have_nothing_in_common_make_no_rule(screen, ready, row, episode):
    async with screen(row, episode(2, "", dst="192.0.2.1"), episode(3, "b.example.com", dst="")) as s:
        await s.press("space", "space", "space", "a")
        await s.shows("no rule can say what all these rows have")
        assert "3 marked" in s.text
