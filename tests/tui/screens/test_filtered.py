"""`/` on the lists that show no flows: the same on all of them."""

from __future__ import annotations

import time

import pytest
from gatekeeper import rule

from tui.glyphs import ASCII

KEYS = {"asks": "2", "rules": "4", "consents": "5", "phones": "6"}


@pytest.fixture
def full(gate, question, consent, phone):
    """Three rows on each; the first and the last are of anna."""
    now = time.time()
    gate.questions = [question(1, "anna", at=now), question(2, "tv", "", names={"log.tvlog.example": 4}, at=now - 60), question(3, "anna", "x", at=now - 90)]
    gate.rules = [rule(1, "k3f7", "block", "phone:anna", "mine"), rule(2, "m2p9", "allow", "phone:tv", "mine"), rule(3, "pack/1", "ask", "phone:anna")]
    gate.consents = [consent(1, "anna"), consent(2, "tv", given=now - 2_000, who="bob"), consent(3, "anna", "x", state="ended", why="its time is up")]
    gate.phones = [phone(10, "anna"), phone(11, "tv", group="things"), phone(12, "anna's old")]
    return gate


def rows(s):
    return [row["id"] if "id" in row else row["slot"] for row in s.app.screen.table.rows if row.get("id") not in {-1, "--"}]


async def opened(s, mode):
    await s.press(KEYS[mode])
    await s.until(lambda: s.app.current_mode == mode and len(rows(s)) == 3)


@pytest.mark.parametrize("mode", KEYS)
async def test_it_narrows_while_it_is_written_and_esc_shows_all(screen, full, mode):
    async with screen() as s:
        await opened(s, mode)
        everything = rows(s)
        await s.press("slash", *"ANNA")
        await s.shows("filtered, 2 of 3: / ANNA")
        assert rows(s) == [everything[0], everything[2]]
        assert all(len(line) == 80 for line in s.lines)
        await s.press("enter", "slash", "backspace", "backspace", "backspace", "backspace", *"-phone:anna")
        await s.until(lambda: everything[1] in rows(s) and everything[0] not in rows(s))
        await s.press("enter")
        await s.until(lambda: s.app.screen.focused is s.app.screen.table)
        await s.press("escape")
        await s.hides("filtered")
        assert rows(s) == everything
        assert s.app.current_mode == mode
        await s.press("escape")
        await s.until(lambda: s.app.current_mode == "live")


@pytest.mark.parametrize("mode", KEYS)
async def test_what_no_row_here_knows_is_refused_under_its_character(screen, full, mode):
    async with screen() as s:
        await opened(s, mode)
        await s.press("slash", *"tv verdict:ask")
        await s.shows("^^^^^^^ verdict: asks for what no row here has", "known here: phone, group")
        at = s.row("^^^").index("^^^")
        assert next(line for line in s.lines if line[at : at + 7] == "verdict")
        await s.shows("filtered, 1 of 3: / tv")  # the last one that could be used stays in use
        assert " stands in quotes" in " ".join(s.text.split())  # the whole of it is seen
        await s.press("escape")
        await s.hides("^^^", "filtered")


@pytest.mark.parametrize("mode", ("rules", "phones"))
async def test_tab_completes_with_the_terms_that_are_known_here(screen, full, mode):
    async with screen() as s:
        await opened(s, mode)
        await s.press("slash")
        await s.shows("a word, or phone: group:")
        await s.press("g", "tab")
        await s.until(lambda: s.app.screen.filter_line.text == "group:")
        await s.until(lambda: s.app.screen.filter_line._vocabulary.phones, "what the gateway knows by name")
        await s.press("ctrl+u", *"phone:phone")
        await s.shows("tab: phone1  phone2")
        await s.press("ctrl+u", *"verd", "tab")
        assert s.app.screen.filter_line.text == "verd"


@pytest.mark.parametrize("mode", ("asks", "rules"))
async def test_where_nothing_matches_it_says_so_and_hostile_text_is_no_markup(screen, full, mode):
    async with screen(look=ASCII) as s:
        await opened(s, mode)
        await s.press("slash", *"[red]x[/b]")
        await s.shows("Nothing here matches [red]x[/b]", "esc shows all.", "filtered, 0 of 3: / [red]x[/b]")
        s.app.screen.filter_line.text = "[b]\u202ex"
        await s.shows("a value with a character that cannot be seen")
        assert "\u202e" not in "".join(line for line in s.lines if "filtered" in line or "^" in line)
        await s.press("escape")
        await s.hides("Nothing here matches")
        assert len(rows(s)) == 3


@pytest.mark.parametrize("mode", KEYS)
async def test_letters_of_a_filter_are_no_keys(screen, full, mode):
    async with screen() as s:
        await opened(s, mode)
        await s.press("slash", *"xdbWzJ1q/?n")
        assert s.app.screen.filter_line.text == "xdbWzJ1q/?n"
        assert s.app.current_mode == mode
        assert not full.asked
        await s.until(lambda: sorted(s.lines[-1].split()) == ["back", "complete", "esc", "tab"])


@pytest.mark.parametrize("mode", ("consents", "phones"))
async def test_it_stays_while_other_screens_are_looked_at_and_news_come(screen, full, mode):
    async with screen() as s:
        await opened(s, mode)
        await s.press("slash", *"phone:tv", "enter")
        await s.shows("filtered, 1 of 3")
        await s.press("1")
        await s.until(lambda: s.app.current_mode == "live")
        full.phones.append(full.phones[1] | {"slot": 13})
        full.questions.append(full.questions[1] | {"id": 13})
        full.consents.append(full.consents[1] | {"id": 13})
        full.rules.append(full.rules[2] | {"id": "pack/2", "position": 4, "match": "phone:tv"})
        await s.press(KEYS[mode])
        await s.shows("filtered, 2 of 4: / phone:tv")
        assert len(rows(s)) == 2


async def test_what_is_marked_and_hidden_keeps_its_mark_and_is_not_acted_upon(screen, full):
    async with screen() as s:
        await opened(s, "asks")
        await s.press("space", "space", "slash", *"tvlog", "enter")
        await s.shows("2 marked, 1 of them hidden: nothing is done with those", "tv: tvlog.example")
        await s.press("z")
        await s.shows("tv is refused as before")
        assert [args["id"] for verb, args in full.asked if verb == "asks.later"] == [2]
        await s.shows("1 marked, all of them hidden", "esc shows them")
        await s.press("z", "b")
        await s.shows("what is marked is hidden by the filter: esc shows it, and nothing was done")
        await s.hush()
        await s.press("enter")
        await s.shows("what is marked is hidden by the filter")
        assert len(s.app.screen_stack) == 1
        assert len([verb for verb, _ in full.asked if verb.startswith("asks.")]) == 1
        await s.hush()
        await s.press("escape")
        await s.hides("filtered", "of them hidden")
        await s.shows("▸ 1 marked", "anna: Xiaomi account")
        await s.press("escape")
        await s.hides("marked")
