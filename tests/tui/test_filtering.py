from __future__ import annotations

import pytest
from askkeeper import consent, question
from gatekeeper import rule
from pastkeeper import phone

from rules.expression import parse_narrowing
from rules.row_filter import RowFilter
from tui import filtering

QUESTION = question(1, at=1_000.0) | {"rule": "xiaomi/1"}
NAMELESS = question(2, "tv", "", names={}, addr="", at=1_000.0, put_off=2_000.0) | {"place": {}}
PHONE = phone(10, "anna", vendor="Xiaomi") | {"last": 1_000.0, "addresses": ["10.77.0.10", "fd00::a"]}
STRANGER = phone(11, "phone-0b", group="strict", named=False, random=True, vendor="") | {"last": 1_000.0, "addresses": []}


def passes(text, terms, row):
    return RowFilter(parse_narrowing(text, terms)).matches(row, 1_030.0)


@pytest.mark.parametrize(("text", "matches"), [
    ("phone:redmi-1s group:family service:xiaomi-account name:xiaomi.com addr:42.62.48.0/24 country:CN asn:4808 rule:xiaomi/1 last:1m", True),
    ("operator:xiaomi", True), ("operator:alibaba", False), ("name:tvlog.example", False), ("last:5s", False),
    ("messaging", True), ("sms.intl", True), ("china", True), ("cleartext", True), ("-put", True),
])
def test_a_question(text, matches):
    assert passes(text, filtering.ASKS, filtering.of_question(QUESTION)) is matches


@pytest.mark.parametrize(("text", "matches"), [("phone:tv", True), ("addr:0.0.0.0/0", False), ("country:CN", False), ("name:example", False), ('"put off"', True)])
def test_a_question_of_which_little_is_known(text, matches):
    assert passes(text, filtering.ASKS, filtering.of_question(NAMELESS)) is matches


@pytest.mark.parametrize(("text", "matches"), [
    ("phone:anna group:home addr:10.77.0.0/24 addr:fd00::/8 last:1m", True), ("-addr:fd00::/8", False), ("last:5s", False),
    ("xiaomi", True), ("watch", True), ("unknown", False), ('"02:00:00:00:00:0a"', True), ("fd00", True),
])
def test_a_phone(text, matches):
    assert passes(text, filtering.PHONES, filtering.of_phone(PHONE, "watch")) is matches


@pytest.mark.parametrize(("text", "matches"), [("group:strict unknown random", True), ("addr:0.0.0.0/0", False), ("-addr:0.0.0.0/0", True), ("phone:phone-0b", True)])
def test_a_phone_that_is_away_and_unknown(text, matches):
    assert passes(text, filtering.PHONES, filtering.of_phone(STRANGER, "enforce")) is matches


@pytest.mark.parametrize(("row", "text", "matches"), [
    (consent(1), "phone:redmi-1s service:xiaomi-account", True), (consent(1), "group:family", False), (consent(1, slot=0), "group:family", True),
    (consent(1, slot=0), "phone:redmi-1s", False), (consent(1, what="xiaomi.com", kind="name"), "name:api.xiaomi.com", True),
    (consent(1, what="10.0.0.0/8", kind="addr"), "addr:10.1.2.3", True), (consent(1, what="2001:db8::/32", kind="addr"), "addr:2001:db8::1", True),
    (consent(1, who="anna"), "anna", True), (consent(1, state="ended", why="its time is up"), '"time is up" ended', True), (consent(1), "messaging 1", True),
    (consent(1, "a,b \"c"), 'phone:"a,b ""c"', True),
])
def test_a_consent(row, text, matches):
    assert passes(text, filtering.CONSENTS, filtering.of_consent(row)) is matches


@pytest.mark.parametrize(("text", "matches"), [
    ("service:y", True), ("name:x.example", True), ("rule:xiaomi/2", True), ("name:y.example", False), ("ask", True), ("agreed", True), ("2026-11", True), ("hidden", True),
    ("off", False), ("everything", False),
])
def test_a_rule(text, matches):
    row = rule(5, "xiaomi/2", "ask", "service:y -name:x.example", hidden_by="q4r5", note="as agreed")
    assert passes(text, filtering.RULES, filtering.of_rule(row)) is matches


def test_a_rule_that_a_newer_gateway_knows_is_found_by_its_words():
    row = filtering.of_rule(rule(1, "k3f7", "block", "mood:bad port:80"))
    assert passes("mood:bad".replace(":", ","), filtering.RULES, row)
    assert not passes("port:80", filtering.RULES, row)
