"""A question and its answer: three keys at most."""

from __future__ import annotations

import pytest

from tui.glyphs import ASCII


def asked(gate, verb):
    return [args for said, args in gate.asked if said == verb]


@pytest.fixture
def row(episode):
    return episode(1, "api.account.xiaomi.com", phone="redmi-1s", service="xiaomi-account", dst="42.62.48.181", port=80, via="http", verdict="ask", rule="xiaomi/1", group="family")


@pytest.mark.parametrize(("key", "life"), [("o", "once"), ("1", "15m"), ("2", "1h"), ("3", "12h"), ("4", "tomorrow"), ("5", "revoked")])
async def test_three_keys_from_anywhere_to_a_grant(screen, gate, question, row, key, life):
    async with screen(row) as s:
        gate.wait(question(7))
        await s.press("2")
        await s.shows("wants to reach")
        await s.press("enter", key)
        await s.shows("granted: consent 1 opens Xiaomi account and messaging for", "Nobody waits for an answer")
        assert asked(gate, "consents.grant") == [{"phone": "redmi-1s", "subject": "service:xiaomi-account", "life": life, "screen": "tui: asks", "ask": 7}]


async def test_two_keys_from_the_row_of_a_flow(screen, gate, question, row):
    async with screen(row) as s:
        gate.wait(question(7), question(8, "tv"))
        await s.press("c")
        await s.shows("a question", "opens service:xiaomi-account for redmi-1s")
        await s.press("2")
        await s.shows("granted: consent")
        assert asked(gate, "consents.grant") == [{"phone": "redmi-1s", "subject": "service:xiaomi-account", "life": "1h", "screen": "tui: live", "ask": 7}]


async def test_all_is_on_80_by_24(screen, gate, question):
    async with screen() as s:
        gate.previewed["refused"] = ["rule k3f7 (block country:CN) stands above: 42.62.48.181"]
        gate.wait(question(1))
        await s.press("2")
        await s.shows("redmi-1s wants")
        await s.press("enter")
        await s.shows(
            "redmi-1s wants to reach Xiaomi account and messaging", "6 tries since", "all refused", "China, Xiaomi", "Cleartext HTTP", "sms.intl.xiaomi.com (1)",
            "o once   1 15 min   2 1 h   3 12 h   4 tomorrow 08:00   5 for good", "● this phone (redmi-1s)   ○ group family", "● s Xiaomi account and messaging",
            "○ n api.account.xiaomi.com", "○ d xiaomi.com   ○ a 42.62.48.181", "z not now", "block service:xiaomi-account phone:redmi-1s",
            "! account and messaging alike", "! would still be refused: rule k3f7 (block country:CN)", "ENFORCING",
        )
        assert all(len(line) == 80 for line in s.lines)


@pytest.mark.parametrize(("keys", "subject", "who"), [
    (("n",), "name:api.account.xiaomi.com", {"phone": "redmi-1s"}),
    (("d",), "name:xiaomi.com", {"phone": "redmi-1s"}),
    (("a",), "addr:42.62.48.181", {"phone": "redmi-1s"}),
    (("tab",), "name:api.account.xiaomi.com", {"phone": "redmi-1s"}),
    (("up", "shift+tab"), "addr:42.62.48.181", {"group": "family"}),
    (("d", "s", "right", "left"), "service:xiaomi-account", {"phone": "redmi-1s"}),
])
async def test_wider_narrower_and_for_whom(screen, gate, question, keys, subject, who):
    async with screen() as s:
        gate.wait(question(1))
        await s.press("2")
        await s.shows("redmi-1s wants")
        await s.press("enter", *keys)
        await s.shows(f"opens {subject} for {next(iter(who.values()))}")
        await s.press("2")
        await s.shows("granted: consent")
        assert asked(gate, "consents.grant") == [who | {"subject": subject, "life": "1h", "screen": "tui: asks", "ask": 1}]
        assert who | {"subject": subject, "ask": 1} in asked(gate, "consents.preview")


async def test_nothing_is_granted_before_it_is_said_what_it_opens(screen, gate, question):
    async with screen() as s:
        gate.wait(question(1))
        gate.may_answer.clear()
        await s.press("2")
        await s.shows("redmi-1s wants")
        await s.press("enter", "2")
        await s.shows("is granted as soon as the gateway has said what it opens")
        assert not asked(gate, "consents.grant")
        gate.may_answer.set()
        await s.shows("granted: consent")
        assert len(asked(gate, "consents.grant")) == 1


async def test_a_refusal_that_came_after_the_key_is_shown_first(screen, gate, question):
    async with screen() as s:
        gate.previewed["refused"] = ["rule k3f7 (block country:CN) stands above"]
        gate.wait(question(1))
        gate.may_answer.clear()
        await s.press("2")
        await s.shows("redmi-1s wants")
        await s.press("enter", "2")
        gate.may_answer.set()
        await s.shows("! would still be refused: rule k3f7", "not granted yet: the key again grants it all the same")
        assert not asked(gate, "consents.grant")
        await s.press("2")
        await s.shows("granted: consent")


async def test_a_key_pressed_twice_grants_once(screen, gate, question):
    async with screen() as s:
        gate.wait(question(1))
        await s.press("2")
        await s.shows("redmi-1s wants")
        await s.press("enter")
        await s.shows("opens service")
        dialog = s.app.screen
        dialog.action_grant("1h")
        dialog.action_grant("1h")
        await s.shows("granted: consent")
        assert len(asked(gate, "consents.grant")) == 1


async def test_one_enter_too_many_opens_nothing(screen, gate, question):
    async with screen() as s:
        gate.wait(question(1))
        await s.press("2")
        await s.shows("redmi-1s wants")
        await s.press("enter", "enter", "enter")
        await s.shows("for how long?", "a question")
        await s.press("escape")
        await s.hides("a question")
        assert not asked(gate, "consents.grant")


async def test_not_now_and_never(screen, gate, question):
    async with screen() as s:
        gate.wait(question(1), question(2, "tv", at=1.0))
        await s.press("2")
        await s.shows("redmi-1s wants")
        await s.press("enter", "z")
        await s.shows("redmi-1s is refused as before, and asks again in 1 h")
        await s.until(lambda: s.app.screen.table.question["id"] == 1)
        await s.press("up", "enter", "d", "shift+tab", "b")
        await s.shows("made the rule: block name:xiaomi.com group:family; revision 4; u takes it back")
        assert asked(gate, "asks.later") == [{"id": 1, "seconds": 3600}]
        assert asked(gate, "asks.never") == [{"id": 2, "subject": "name:xiaomi.com", "for": "group"}]


async def test_a_capital_letter_means_everyone(screen, gate, question):
    async with screen() as s:
        gate.wait(question(1))
        await s.press("2")
        await s.shows("redmi-1s wants")
        await s.press("enter", "B")
        await s.shows("made the rule: block service:xiaomi-account; revision 4")
        assert asked(gate, "asks.never") == [{"id": 1, "subject": "service:xiaomi-account", "for": "all"}]


async def test_u_takes_back_what_was_just_given(screen, gate, question):
    async with screen() as s:
        gate.wait(question(1))
        await s.press("2")
        await s.shows("redmi-1s wants")
        await s.press("enter", "2")
        await s.shows("granted: consent", "u takes it back")
        await s.press("u")
        await s.shows("revoked: 2 running flows were reset")
        assert gate.consents[0]["state"] == "ended"
        await s.press("u")  # what was done before that is of the rules
        await s.shows("there is nothing to undo")


async def test_what_could_not_be_granted_is_said_and_nothing_is_lost(screen, gate, question):
    async with screen() as s:
        gate.wait(question(1))
        gate.refuses = "not granted: the disk is full"
        await s.press("2")
        await s.shows("redmi-1s wants")
        await s.press("enter", "n", "2")
        await s.shows("not granted: the disk is full", "● n api.account.xiaomi.com")
        gate.refuses = ""
        await s.press("2")
        await s.shows("granted: consent")


async def test_two_owners_answering_at_once(screen, another, gate, question):
    async with screen() as s, another() as other:
        gate.wait(question(1))
        for one in (s, other):
            await one.press("2")
            await one.shows("redmi-1s wants")
            await one.press("enter")
            await one.shows("opens service")
        await s.press("2")
        await s.shows("granted: consent")
        await other.press("1")
        await other.shows("there is no question 1: somebody else may have answered it")
        assert len(gate.consents) == 1


async def test_a_gateway_that_dies_between_leaves_no_false_word(screen, gate, question):
    async with screen() as s:
        gate.wait(question(1))
        await s.press("2")
        await s.shows("redmi-1s wants")
        await s.press("enter")
        await s.shows("opens service")
        await gate.close()
        await s.press("2")
        await s.shows("no gateway answers", "Whether it has taken the answer is not known: 5 tells when it is back.")
        await s.hides("granted")


async def test_a_row_whose_question_is_not_in_the_inbox(screen, gate, row):
    async with screen(row) as s:
        await s.press("c")
        await s.shows("opens service:xiaomi-account for redmi-1s")
        assert "not now" not in s.row("Refuse")
        await s.press("z")
        await s.shows("this is no open question")
        await s.press("2")
        await s.shows("granted: consent")
        assert asked(gate, "consents.grant") == [{"phone": "redmi-1s", "subject": "service:xiaomi-account", "life": "1h", "screen": "tui: live"}]


async def test_never_for_such_a_row_is_an_edit(screen, gate, row):
    async with screen(row) as s:
        await s.press("c")
        await s.shows("opens service")
        await s.press("b")
        await s.shows("made the rule: block service:xiaomi-account phone:redmi-1s")
        assert asked(gate, "rules.edit") == [{"act": "add", "text": "block service:xiaomi-account phone:redmi-1s"}]


@pytest.mark.parametrize(("verdict", "says"), [
    ("allow", "no consent was needed"), ("block", "a consent answers only what is asked"), ("watch", "nothing is refused while you watch"), ("held", "it waits for its name"),
])
async def test_where_there_is_nothing_to_consent_to_it_is_said_why(screen, episode, verdict, says):
    async with screen(episode(1, "a.example.com", verdict=verdict)) as s:
        await s.press("c")
        await s.shows(says)
        assert len(s.app.screen_stack) == 1


async def test_what_has_no_port_is_not_consented_to(screen, episode):
    async with screen(episode(1, "", verdict="ask", proto="icmp", port=0, via="none")) as s:
        await s.press("c")
        await s.shows("a consent is for what has a port")


async def test_the_detail_and_the_history_have_the_key_too(screen, gate, question, row):
    async with screen(row) as s:
        gate.wait(question(1))
        await s.press("enter")
        await s.shows("everything known")
        await s.press("c")
        await s.shows("opens service:xiaomi-account for redmi-1s")
        await s.press("escape", "escape", "3")
        await s.shows("1 episode")
        await s.press("c")
        await s.shows("opens service:xiaomi-account for redmi-1s")
        await s.press("1")
        await s.shows("granted: consent")
        assert asked(gate, "consents.grant")[0]["screen"] == "tui: history"


async def test_it_reads_without_unicode_and_colour(screen, gate, question, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with screen(look=ASCII) as s:
        gate.wait(question(1))
        await s.press("2")
        await s.shows("redmi-1s wants")
        await s.press("enter", "d")
        await s.shows("* d xiaomi.com", "o s Xiaomi account and messaging", "* this phone (redmi-1s)")
        assert s.text.isascii()
