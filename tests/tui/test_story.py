from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rules.observation import Name, Place, Source
from tui import story
from tui.glyphs import ASCII, UNICODE


@pytest.fixture
def asked(episode):
    return episode(
        1, "api.account.xiaomi.com", verdict="ask", via="http", port=80, dst="42.62.48.181", rule="xiaomi/1", count=6,
        service="xiaomi-account", reason="rule xiaomi/1 (xiaomi 2026-11-21) asks for service X", first=1000.0, at=1040.0,
        tries={0: 1, 20: 2, 40: 3},
    )


def test_three_lines_say_who_where_why_and_what_has_left(asked):
    first, second, third = story.three_lines(asked, 78, UNICODE).plain.splitlines()
    assert first == "phone1  ? ask  api.account.xiaomi.com  42.62.48.181:80 tcp"
    assert second == "rule xiaomi/1 (xiaomi 2026-11-21) asks for service X"
    assert third.startswith("0 bytes left the gateway.  6 tries in 40 s ▄▁")


def test_the_pane_tells_where_the_name_is_from(asked):
    pane = story.pane(asked, 42, UNICODE).plain
    for words in ("name from  Host, our DNS (agree)", "readable   yes: cleartext HTTP", "sent       0 bytes left the gateway", "Why\n"):
        assert words in pane


def test_a_name_asked_of_another_resolver_says_so(episode):
    told = replace(episode(1, "www.example", port=5353), names=(Name("www.example", Source.DNS_ELSEWHERE),), answered=(), via="dns-elsewhere")
    assert story.name_from(told) == "asked of another DNS; our DNS was not asked for it"
    assert story.readable(told) == "yes: plain DNS"
    assert set(story.SOURCES) == set(Source)


def test_names_disagree(asked):
    assert story.name_from(replace(asked, answered=(("shop.example.com",),))) == "Host, our DNS (disagree)"
    assert story.name_from(replace(asked, answered=())) == "Host; our DNS was not asked for it"


def test_nameless_flows_say_so(episode):
    assert story.name_from(episode(1, via="none")) == "nobody said one"
    assert "did not end" in story.name_from(episode(1, via="unfinished"))
    two = replace(episode(1, via="ambiguous"), answered=(("a.example",), ("b.example",)))
    assert story.name_from(two) == "our DNS: 2 names share this address, none was said"
    assert story.name_from(episode(1, "a.example", via="dns")) == "our DNS alone"


def test_a_refused_question_is_told_as_one(episode):
    row = episode(1, "a.example", verdict="block", via="dns", proto="dns", dst="", port=0)
    assert "a question to our DNS" in story.three_lines(row, 78, UNICODE).plain
    assert story.name_from(row) == "the question to our DNS"


@pytest.mark.parametrize(
    ("verdict", "up", "words"),
    [
        ("block", 0, "0 bytes left the gateway"), ("ask", 1500, "1.5k counted up to its refusal, headers included"),
        ("held", 0, "0 bytes left the gateway: it waits for its name"), ("allow", 1500, "1.5k up, 0 down, packet headers included"),
    ],
)
def test_what_has_left(episode, verdict, up, words):
    assert story.left(episode(1, verdict=verdict, up=up)).plain == words


def test_how_often(episode):
    assert story.tries(episode(1, verdict="ask", count=6, first=0.0, at=40.0)) == "6 tries in 40 s"
    assert story.tries(episode(1, count=3, first=0.0, at=2.0)) == "3 times in 2 s"
    assert story.tries(episode(1, verdict="ask")).startswith("1 try at ")
    assert story.tries(episode(1, count=0)) == "a flow that began earlier goes on"


def test_everything_names_the_rule_its_source_and_what_else_would_match(asked):
    told = {
        "verdict": "ask", "rule": "xiaomi/1", "reason": "rule xiaomi/1 asks", "service_title": "Xiaomi account",
        "matches": [
            {"id": "xiaomi/1", "rule": "ask service:xiaomi-account", "answer": "matches", "source": "xiaomi 2026-11-21", "note": "sends the IMEI"},
            {"id": "m1", "rule": "block addr:42.62.48.0/24", "answer": "could match", "source": "mine", "note": ""},
        ],
    }
    text = story.everything(asked, told, UNICODE).plain
    assert "Xiaomi account (xiaomi-account)" in text
    assert "“sends the IMEI”  xiaomi 2026-11-21" in text
    assert text.index("Would also match") < text.index("m1  block addr:42.62.48.0/24  (could match)")
    assert "xiaomi/1 of revision 3" in text


def test_everything_says_why_there_is_no_explanation(asked):
    assert "the gateway cannot say: gone" in story.everything(asked, "the gateway cannot say: gone", UNICODE).plain


PLACES = [
    (Place("CN", "CN", 4808, "China Unicom"), "xiaomi", "China, Xiaomi, AS4808 China Unicom, registered in China", "China, Xiaomi"),
    (Place("", "US", 15169, "Google LLC"), "", "country not known, AS15169 Google LLC, registered in United States", "Google LLC"),
    (Place("NL", None, None, ""), "", "Netherlands", "Netherlands"),
    (Place("", "", 0, ""), "", "not known: its address is in none of the databases", ""),
    (Place(None, None, None, ""), "", "not known: there is no valid database", ""),
]


@pytest.mark.parametrize(("place", "operator", "words", "short"), PLACES)
def test_where_it_stands_and_who_runs_it(episode, place, operator, words, short):
    row = replace(episode(1, "a.example"), place=place, operator=operator, group="kids")
    assert (story.place(row), story.nearby(row)) == (words, short)
    assert words in story.everything(row, "", UNICODE).plain
    assert "group      kids" in story.everything(row, "", UNICODE).plain
    assert f"a.example{'  ' if short else ''}{short}  142.250.74.78:443 tcp" in story.three_lines(row, 100, UNICODE).plain


def test_a_name_needs_its_room_more_than_its_place_does(asked):
    row = replace(asked, place=Place("CN", "CN", 4808, "China Unicom"), operator="xiaomi")
    assert story.three_lines(row, 78, UNICODE).plain.splitlines()[0] == "phone1  ? ask  api.account.xiaomi.com  China, Xiaomi  42.62.48.181:80 tcp"
    assert story.three_lines(row, 60, UNICODE).plain.splitlines()[0] == "phone1  ? ask  api.account.xiaomi.com  China, Xiaomi"
    assert story.three_lines(row, 40, UNICODE).plain.splitlines()[0] == "phone1  ? ask  api.account.xiaomi.com"


def test_a_refused_question_has_no_place(episode):
    assert story.place(episode(1, "a.example", verdict="block", proto="dns", dst="", port=0)) == "nowhere: the question was not passed on"


def test_what_is_watched_is_said_to_have_passed(episode):
    row = episode(1, "a.example", verdict="watch", up=900)
    assert "◐ watch  would be refused; passed, as you only watch" in story.everything(row, "", UNICODE).plain
    assert "900 up" in story.left(row).plain


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # it is a function
@given(text=st.text(min_size=1, max_size=60), width=st.integers(1, 120))
def test_hostile_words_stay_words(episode, text, width):
    row = replace(
        episode(1, text, verdict="block", phone=text, reason=text, rule=text, service=text), names=(Name(text, Source.SNI),), place=Place(text, text, 1, text), operator=text, group=text,
    )
    for glyphs in (UNICODE, ASCII):
        for content in (story.three_lines(row, width, glyphs), story.pane(row, width, glyphs), story.everything(row, text, glyphs)):
            assert not any(ord(c) < 32 and c != "\n" or "\u202a" <= c <= "\u202e" for c in content.plain)
        assert len(story.three_lines(row, width, glyphs).plain.splitlines()) == 3


def test_markup_is_no_markup(episode):
    row = episode(1, "a.example", phone="[bold red]x[/]", reason="[link=x]y[/link]", verdict="block")
    pane = story.pane(row, 42, UNICODE)
    assert "[bold red]x[/]" in pane.plain
    assert "[link=x]y[/link]" in pane.plain
