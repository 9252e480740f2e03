from __future__ import annotations

import time

import pytest
from gatekeeper import rule

from tui.glyphs import ASCII

DRY = {"changed": 14, "of": 2210, "cut": 2, "live": 7, "examples": [], "warnings": [], "seconds": 0.1}


@pytest.fixture
def mine(gate):
    gate.dry_run = DRY
    gate.rules = [
        rule(1, "k3f7", "block", "name:ads.example.com", "mine"), rule(2, "m2p9", "allow", "phone:phone1", "mine", note="as agreed"),
        rule(3, "q4r5", "block", "port:853", "mine"), rule(4, "xiaomi/1", hits=1204), rule(5, "xiaomi/2", "ask", "service:y", hidden_by="q4r5"),
    ]
    return gate


def matches(gate):
    return [one["match"] for one in gate.rules]


async def opened(s):
    await s.press("4")
    await s.shows("5 rules, revision 3")


async def test_rules_in_their_order_with_hits_and_source(screen, gate):
    gate.rules = [rule(1, "k3f7", "allow", "", "mine", note="as agreed"), rule(2, "xiaomi/1", hits=1204), rule(3, "off/1", "block", "port:853", enabled=False)]
    async with screen() as s:
        await s.press("4")
        await s.shows("3 rules, revision 3")
        assert s.row("1 ✔ allow").split()[3:] == ["everything", "0", "mine"]
        assert s.row("2 ? ask").split()[3:6] == ["service:x", "1.2k", time.strftime("%H:%M:%S", time.localtime(gate.rules[1]["last"]))]
        await s.shows("as agreed", "source mine")
        await s.press("down", "down")
        await s.shows("off/1  block port:853  (off)")
        assert s.row("3 ✖ block").split()[4] == "off"


async def test_a_line_divides_the_owners_rules_from_the_packs(screen, mine):
    async with screen() as s:
        await opened(s)
        at = next(at for at, line in enumerate(s.lines) if " packs " in line)
        assert "port:853" in s.lines[at - 1]
        assert "service:x" in s.lines[at + 1]
        await s.press("down", "down", "down")
        await s.shows("xiaomi/1  ask service:x")  # the cursor does not rest on the line
        await s.press("up")
        await s.shows("q4r5  block port:853")


async def test_a_rule_that_cannot_match_says_why(screen, mine):
    async with screen() as s:
        await opened(s)
        assert s.row("5 ? ask").split()[4] == "hidden"
        await s.press("G")
        await s.shows("can never match: rule q4r5 (block port:853) above matches first")
        strikes = [seg for strip in s.app.screen._compositor.render_strips() for seg in strip if seg.text.startswith("service:y") and seg.style and seg.style.strike]
        assert strikes
        await s.press("up", "up")
        await s.shows("hides xiaomi/2")


async def test_where_there_is_room_each_row_says_what_hides_it_and_when_it_last_decided(screen, mine):
    now = time.time()
    mine.rules[0] |= {"hits": 3, "last": now - 3 * 86_400}
    mine.rules[3] |= {"last": now - 400 * 86_400}
    async with screen(size=(150, 30)) as s:
        await opened(s)
        assert "(never: q4r5 is asked first)" in s.row("5 ? ask")
        assert "(hides xiaomi/2)" in s.row("3 ✖ block")
        day = time.strftime("%a", time.localtime(now - 3 * 86_400))
        assert s.row("1 ✖ block").split()[4:6] == ["3", day + time.strftime("%H:%M", time.localtime(now - 3 * 86_400))]
        assert time.strftime("%d%b", time.localtime(now - 400 * 86_400)) in s.row("4 ? ask")


async def test_notes_are_shown_where_there_is_room(screen, gate):
    gate.rules = [rule(1, "k3f7", note="a note of some length")]
    async with screen(size=(160, 30)) as s:
        await s.press("4")
        await s.shows("1 rule, revision 3")
        assert "a note of some length" in s.row("1 ? ask")


async def test_no_rules_and_no_gateway(screen, gate):
    async with screen() as s:
        await s.press("4")
        await s.shows("There are no rules: everything is allowed.")
        await s.press("escape")
        await gate.close()
        await s.shows("NO GATE")
        await s.press("4")
        await s.shows("no gateway answers: No such file or directory")


async def test_keys_change_a_rule_and_u_takes_it_back(screen, mine):
    async with screen() as s:
        await opened(s)
        await s.press("J")
        await s.until(lambda: matches(mine)[:2] == ["phone:phone1", "name:ads.example.com"])
        await s.shows("saved: move k3f7; revision 4; u takes it back")
        await s.shows("k3f7  block name:ads.example.com")  # the cursor went along
        await s.press("d")
        await s.shows("(off)", "disable k3f7")
        await s.press("d")
        await s.shows("saved: enable k3f7")
        await s.press("x")
        await s.until(lambda: len(mine.rules) == 4)
        await s.press("u")
        await s.shows("took back: remove k3f7; revision 8")
        assert len(mine.rules) == 5
        await s.press("ctrl+r")
        await s.shows("did again: remove k3f7; revision 9")
        for left in (3, 2, 1, 0):
            await s.press("u")
            await s.until(lambda left=left: len(mine.past) == left)
        assert matches(mine)[0] == "name:ads.example.com"
        await s.press("u")
        await s.shows("there is nothing to undo")


async def test_what_u_would_take_back_stands_there_also_after_a_restart(screen, another, mine):
    async with screen() as s:
        await opened(s)
        await s.press("x")
        await s.until(lambda: len(mine.rules) == 4)
    async with another() as s:
        await s.press("4")
        await s.shows("u takes back: remove k3f7")
        await s.press("u")
        await s.shows("took back: remove k3f7")
        await s.hides("u takes back")


async def test_quick_keys_are_done_one_after_the_other(screen, mine):
    async with screen() as s:
        await opened(s)
        await s.press("J", "J", "J", "K")  # the third has nowhere to go
        await s.until(lambda: [a["at"] for verb, a in mine.asked if verb == "rules.edit"] == [2, 3, 2])
        assert [one["id"] for one in mine.rules[:3]] == ["m2p9", "k3f7", "q4r5"]


async def test_a_packs_rule_is_disabled_and_nothing_else(screen, mine):
    async with screen() as s:
        await opened(s)
        await s.press("down", "down", "down")
        await s.shows("xiaomi/1  ask service:x")
        await s.press("e")
        await s.shows("a pack's rule stays as it is")
        await s.press("x", "K", "d")
        await s.shows("saved: disable xiaomi/1")
        assert [args["act"] for verb, args in mine.asked if verb == "rules.edit"] == ["disable"]


async def test_a_new_rule_stands_above_the_cursor(screen, mine):
    async with screen() as s:
        await opened(s)
        await s.press("down", "n", *"block port:853 -name:dot.example")
        await s.shows("new rule", "reads: refuse everything at port 853, except dot.example and below", "the last 24 h: 14 of 2,210 decisions would change; 2 live flows are cut")
        await s.press("down", *"why", "enter")
        await s.shows("saved: added block port:853 -name:dot.example at 2; revision 4; u takes it")
        assert mine.rules[1]["note"] == "why"
        assert matches(mine)[:2] == ["name:ads.example.com", "port:853 -name:dot.example"]
        assert s.app.screen.table.rule["id"] == mine.rules[1]["id"]


async def test_an_edit_keeps_what_it_does_not_change(screen, mine):
    async with screen() as s:
        await opened(s)
        await s.press("down", "e")
        await s.shows("edit 2", "allow phone:phone1", "as agreed")
        await s.press(*"0", "enter")
        await s.until(lambda: matches(mine)[1] == "phone:phone10")
        assert mine.asked[-1] == ("rules.edit", {"act": "change", "rule": "m2p9", "was": "allow phone:phone1", "text": "allow phone:phone10"})
        assert mine.rules[1]["note"] == "as agreed"


async def test_a_note_and_a_position(screen, mine):
    async with screen() as s:
        await opened(s)
        await s.press("t", *"too many", "down", "backspace", "3", "enter")
        await s.until(lambda: mine.rules[2]["note"] == "too many")
        assert [args["act"] for verb, args in mine.asked if verb == "rules.edit"] == ["change", "move"]


async def test_saving_what_is_not_changed_asks_nothing(screen, mine):
    async with screen() as s:
        await opened(s)
        await s.press("e", "enter")
        await s.hides("edit 1")
        assert not [verb for verb, _ in mine.asked if verb == "rules.edit"]


async def test_what_is_wrong_is_underlined_and_not_saved(screen, mine):
    async with screen() as s:
        await opened(s)
        await s.press("n", *"block port:99999 name:x.example")
        await s.shows("^^^^^")
        mark, text = s.row("^^^^^"), s.row("block port:99999")
        at = text.index("99999")
        assert mark[at : at + 6] == "^^^^^ "
        await s.press("enter", "escape")  # what was right while it was typed may have been tried
        await s.hides("new rule")
        assert not [verb for verb, _ in mine.asked if verb == "rules.edit"]
        assert not [args for _, args in mine.asked if "99999" in args["text"]]


async def test_an_unknown_service_is_said_with_what_was_meant(screen, mine):
    async with screen() as s:
        await opened(s)
        await s.press("n", *"block service:xiaomi-accoumt", "space")
        await s.shows("              ^^^^^^^^^^^^^^ ", "unknown service 'xiaomi-accoumt' (did you mean xiaomi-account?)")


async def test_tab_completes_actions_terms_and_values(screen, mine):
    async with screen() as s:
        await opened(s)
        await s.press("n", "b", "tab", "s", "tab", "tab", "space", "p", "h", "tab")
        await s.until(lambda: s.app.screen.editor.text == "block service:xiaomi-account phone:")
        await s.press("tab")
        await s.until(lambda: s.app.screen.editor.text.endswith("phone:phone"))
        await s.shows("tab: phone1  phone2")
        await s.press("2", "enter")
        await s.shows("saved: added block service:xiaomi-account phone:phone2 at 1")


async def test_letters_of_a_rule_are_no_keys(screen, mine):
    async with screen() as s:
        await opened(s)
        await s.press("n", *"xduqnetabJK14?/")
        assert s.app.screen.editor.text == "xduqnetabJK14?/"
        assert not mine.asked
        assert s.app.current_mode == "rules"


async def test_the_dry_run_waits_for_a_pause_and_the_newest_wins(screen, mine):
    async with screen() as s:
        await opened(s)
        mine.may_answer.clear()
        await s.press("n", *"block port:8")
        await s.until(lambda: mine.asked)
        await s.press("5", "3")
        await s.until(lambda: [args["text"] for _, args in mine.asked] == ["block port:8", "block port:853"])
        mine.may_answer.set()
        await s.shows("the last 24 h: 14 of 2,210")


async def test_an_answer_about_what_is_no_longer_typed_is_not_shown(screen, mine):
    async with screen() as s:
        await opened(s)
        mine.may_answer.clear()
        await s.press("n", *"block port:853")
        await s.until(lambda: mine.asked and mine.asked[-1][1]["text"] == "block port:853")
        await s.press("9", "9")
        await s.shows("^^^^^")
        trial = next(worker for worker in s.app.workers if worker.group == "test")
        mine.may_answer.set()
        await s.until(lambda: trial.is_finished)
        await s.press("left")  # what has been said by now is on the screen
        assert "the last 24 h" not in s.text


async def test_a_dry_run_that_fails_is_no_obstacle(screen, mine):
    mine.dry_run = None
    async with screen() as s:
        await opened(s)
        await s.press("n", *"block port:22")
        await s.shows("the past cannot be read")
        await s.press("enter")
        await s.shows("saved: added block port:22 at 1")


async def test_somebody_else_was_faster(screen, mine):
    async with screen() as s:
        await opened(s)
        await s.press("e", *".org")
        mine.rules[0] |= {"match": "name:theirs.example"}
        await s.press("enter")
        await s.shows("not saved: rule k3f7 has been changed meanwhile", "enter again puts yours in its place")
        assert s.app.screen.editor.text == "block name:ads.example.com.org"
        await s.press("enter")
        await s.until(lambda: matches(mine)[0] == "name:ads.example.com.org")


async def test_a_rule_that_is_gone_meanwhile(screen, mine):
    async with screen() as s:
        await opened(s)
        await s.press("e", *".org")
        del mine.rules[0]
        await s.press("enter")
        await s.shows("there is no rule 'k3f7'", "The rule is gone meanwhile; enter adds")
        await s.press("enter")
        await s.until(lambda: "name:ads.example.com.org" in matches(mine))


async def test_two_screens_at_once_lose_nothing(screen, another, mine):
    async with screen() as one, another() as two:
        await opened(one)
        await two.press("4")
        await two.shows("5 rules")
        await one.press("e", *".one")
        await two.press("e", *".two")
        await one.press("enter")
        await one.shows("saved: change k3f7")
        await two.press("enter")
        await two.shows("not saved: rule k3f7 has been changed meanwhile", "block name:ads.example.com.one. enter again")
        assert matches(mine)[0] == "name:ads.example.com.one"
        assert two.app.screen.editor.text == "block name:ads.example.com.two"
        await two.press("enter")
        await one.shows("name:ads.example.com.two")  # by itself, and with the cursor where it was
        await one.press("u")
        await two.shows("name:ads.example.com.one")


async def test_without_unicode_all_stays_readable(screen, mine):
    async with screen(look=ASCII) as s:
        await opened(s)
        await s.press("n", *"block port:853")
        await s.shows("the last 24 h", "new rule")
        assert s.text.isascii()


async def test_hostile_words_do_nothing(screen, mine):
    mine.dry_run = DRY | {"warnings": ["[red]rule 3\x1b[0m stands above"], "examples": [{"phone": "[b]p\u202e", "what": "[/x].example", "before": "allow", "after": "block", "last": 0}]}
    mine.rules[0] |= {"note": "[link=x]\u202e\x1b"}
    async with screen(size=(100, 30)) as s:
        await opened(s)
        await s.shows("[link=x]‹U+202E›‹U+001B›")
        await s.press("n", *"block port:853")
        await s.shows("! [red]rule 3‹U+001B›[0m stands above", "✔ allow becomes ✖ block  [b]p‹U+202E›  [/x].example")


async def test_all_that_are_marked_are_disabled_enabled_and_deleted(screen, mine):
    async with screen() as s:
        await opened(s)
        await s.press("space", "down", "space", "space")
        await s.shows("▸ 3 marked", "k3f7 block name:ads.example.com, q4r5 block port:853, xiaomi/1", "d disables them   x deletes yours")
        await s.press("d")
        await s.shows("disabled 3 rules; u takes them back, one after the other")
        assert [one["id"] for one in mine.rules if not one["enabled"]] == ["k3f7", "q4r5", "xiaomi/1"]
        await s.hush()
        await s.press("home", "space", "down", "space", "space")
        await s.shows("d enables them")
        await s.press("x")
        await s.shows("a pack's rule stays as it is")
        await s.press("d")
        await s.shows("enabled 3 rules")
        assert all(one["enabled"] for one in mine.rules)
        await s.press("home", "space", "space", "x")
        await s.shows("deleted 2 rules", "3 rules, revision")
        assert [one["id"] for one in mine.rules] == ["q4r5", "xiaomi/1", "xiaomi/2"]


async def test_a_filter_finds_the_rules_that_speak_of_it_and_moves_none(screen, mine):
    async with screen() as s:
        await opened(s)
        await s.press("slash", *"name:sub.ads.example.com,x.example", "enter")
        await s.shows("filtered, 1 of 5")
        assert [row["id"] for row in s.app.screen.table.rows] == ["k3f7"]
        await s.press("slash", "ctrl+u", *"mine", "enter")
        await s.shows("filtered, 3 of 5")
        await s.press("home", "J")
        await s.shows("a rule moves among all rules, and the filter hides some: esc shows all")
        assert [one["id"] for one in mine.rules[:2]] == ["k3f7", "m2p9"]
        await s.press("slash", "ctrl+u", *"853", "enter")
        await s.shows("filtered, 1 of 5")
        assert s.row("✖ block port:853").split()[0] == "3"  # its number among all
        await s.press("n", *"block port:22")
        await s.shows("new rule")
        await s.press("enter")
        await s.until(lambda: "saved: added block port:22 at 3; revision 4; u takes it back; the filter hides it" in " ".join(s.text.split()))
        assert matches(mine)[2] == "port:22"
        await s.press("escape", "home", "J")
        await s.until(lambda: mine.rules[0]["id"] == "m2p9")


async def test_marked_rules_that_a_filter_hides_stay(screen, mine):
    async with screen() as s:
        await opened(s)
        await s.press("space", "space", "slash", *"agreed", "enter")
        await s.shows("2 marked, 1 of them hidden")
        await s.press("x")
        await s.shows("filtered, 0 of 4", "Nothing here matches agreed", "1 marked, all of them hidden")
        await s.press("x")
        await s.shows("what is marked is hidden by the filter")
        assert [one["id"] for one in mine.rules] == ["k3f7", "q4r5", "xiaomi/1", "xiaomi/2"]
