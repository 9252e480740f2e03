from __future__ import annotations

from dataclasses import replace

import pytest

from tui import asking
from tui.format import clock
from tui.glyphs import UNICODE


@pytest.fixture
def row(episode):
    return episode(1, "api.account.xiaomi.com", phone="redmi-1s", verdict="ask", service="xiaomi-account", dst="42.62.48.181")


def test_a_row_belongs_to_the_question_of_its_phone_and_service(row, question):
    asked = question(1)
    assert asking.asks_for(asked, row)
    assert not asking.asks_for(asked, replace(row, phone="tv"))
    assert not asking.asks_for(asked, replace(row, service="other"))


def test_a_row_belongs_to_the_question_of_its_domain_or_address(row, question):
    domain = question(1, service="", names={"log.xiaomi.com": 3})
    assert (domain["kind"], domain["what"]) == ("name", "xiaomi.com")
    assert asking.asks_for(domain, replace(row, service=""))
    assert not asking.asks_for(domain, replace(row, name="notxiaomi.com"))
    address = question(1, service="", names={})
    assert asking.asks_for(address, replace(row, name=""))
    assert not asking.asks_for(address, replace(row, name="", dst="42.62.48.182"))


def test_what_a_row_would_have_asked(row):
    asked = asking.of_row(row)
    assert asked["id"] is None
    assert [asking.subject(width) for width in asked["widths"]] == [
        "service:xiaomi-account", "name:api.account.xiaomi.com", "name:xiaomi.com", "addr:42.62.48.181",
    ]
    assert asking.asks_for(asked, row)
    assert [asking.subject(width) for width in asking.of_row(replace(row, name="", service=""))["widths"]] == ["addr:42.62.48.181"]
    assert asking.of_row(replace(row, name="", service="", dst=""))["widths"] == []


def test_each_width_has_the_letter_that_it_has_where_rules_are_made(question):
    assert asking.keys(question(1)["widths"]) == ["s", "n", "d", "a"]
    assert asking.keys(question(1, service="")["widths"]) == ["d", "n", "a"]
    assert asking.keys(question(1, service="", names={})["widths"]) == ["a"]
    assert asking.keys([{"kind": "name", "what": "xiaomi.com"}]) == ["n"]


def test_for_whom(question):
    assert [(whom.scope, whom.args) for whom in asking.whose(question(1))] == [("phone", {"phone": "redmi-1s"}), ("group", {"group": "family"})]
    assert [whom.scope for whom in asking.whose(question(1, group=""))] == ["phone"]
    assert [whom.scope for whom in asking.whose(question(1, phone=""))] == ["group"]


@pytest.mark.parametrize(("scope", "rule"), [
    ("phone", 'block service:xiaomi-account phone:"anna\'s tab"'), ("group", "block service:xiaomi-account group:family"), ("all", "block service:xiaomi-account"),
])
def test_the_rule_that_never_makes(question, scope, rule):
    asked = question(1, phone="anna's tab")
    assert asking.refusal(asked, asked["widths"][0], scope) == rule


def test_the_circumstances(question):
    asked = question(1, at=1_000_000.0)
    assert asking.circumstances(asked, 1_000_000.0) == f"6 tries since {clock(1_000_000.0 - 78)}, all refused.  China, Xiaomi.  Cleartext HTTP"
    assert "all refused, at least 1.2k bytes kept back." in asking.circumstances(asked | {"tried": 1_229}, 1_000_000.0)
    assert asking.circumstances(asked | {"count": 0, "place": {}, "readable": ""}, 1_000_000.0) == ""
    assert asking.tried(asked | {"count": 1}, 1_000_000.0).startswith("1 try since ")
    assert asking.place({"place": {"country": None, "asn": 4808, "organisation": "", "operator": ""}}) == "AS4808"


def test_names_find_room_in_two_lines_and_the_rest_is_counted(question):
    assert asking.names(question(1), 74, UNICODE) == ["api.account.xiaomi.com (5)   sms.intl.xiaomi.com (1)"]
    many = question(1, names={f"host-number-{n}.example.com": n for n in range(1, 9)}, more=2_000)
    lines = asking.names(many, 74, UNICODE)
    assert len(lines) == 2
    assert lines[0].startswith("host-number-8.example.com (8)")
    assert lines[1].endswith("+2,004")
    assert all(len(line) <= 74 for line in lines)
    assert asking.names(question(1, names={}), 74, UNICODE) == ["no name was said: 42.62.48.181"]
    assert asking.names(question(1, names={}, addr=""), 74, UNICODE) == []


def test_a_long_name_keeps_its_domain(question):
    (line,) = asking.names(question(1, names={"a" * 60 + ".evil.example.com": 2}), 40, UNICODE)
    assert line.endswith("a…example.com (2)")


def test_names_and_places_are_inert(question):
    asked = question(1, names={"[red]\u202e": 1}) | {"place": {"country": "X\x1b", "operator": "[b]o\u2066"}, "readable": "\x07yes"}
    assert asking.names(asked, 74, UNICODE) == ["[red]‹U+202E› (1)"]
    assert asking.place(asked) == "X‹U+001B›, [b]o‹U+2066›"
    assert asking.readable(asked) == "‹U+0007›yes"
