from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.expression import Expression, ExpressionError, Filter, Term, parse_filter, parse_rule, quote
from rules.matchers.addr import AddrMatcher
from rules.matchers.name import NameMatcher
from rules.matchers.phone import PhoneMatcher
from rules.matchers.port import PortMatcher
from rules.matchers.proto import ProtoMatcher
from rules.matchers.service import ServiceMatcher
from rules.matchers.via import WORDS, ViaMatcher
from rules.observation import Observation

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
NAME = st.builds(lambda e, parts: e + ".".join([*parts, "example"]), st.sampled_from(["", "="]), st.lists(LABEL, min_size=1, max_size=4))
V4 = st.ip_addresses(v=4).map(str) | st.integers(0, 255).map(lambda n: f"{n}.0.0.0/8")
V6 = st.ip_addresses(v=6).map(str) | st.just("2001:db8::/32")
PHONE = st.text(st.characters(codec="utf-8").filter(str.isprintable), min_size=1)


def some(matcher, values):
    return st.builds(lambda v, no: Term(matcher.parse(v), no), st.lists(values, min_size=1, max_size=3), st.booleans())


TERM = st.one_of(
    some(NameMatcher, NAME), some(AddrMatcher, V4 | V6), some(PhoneMatcher, PHONE), some(ServiceMatcher, LABEL.filter(lambda s: s.replace("-", "").isalnum())),
    some(ProtoMatcher, st.sampled_from(["tcp", "udp", "icmp", "47"])), some(PortMatcher, st.sampled_from(["1", "80-90", "65535"])), some(ViaMatcher, st.sampled_from(WORDS)),
)


@given(st.lists(TERM, max_size=5))
def test_what_is_printed_can_be_parsed(terms) -> None:
    expression = Expression(tuple(terms))
    assert parse_rule(str(expression)) == expression


@given(st.text() | st.text('abcdeghinmoprstuv:,-" ."=/*0123456789', max_size=60))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    for parse in (parse_rule, parse_filter):
        try:
            parse(text)
        except ExpressionError as error:
            assert 0 <= error.start <= error.end <= len(text) + 1
            assert error.message


@pytest.mark.parametrize(("text", "start", "end", "message", "remedy"), [
    ("nam:x", 0, 3, "unknown term 'nam'", "did you mean name:?"),
    ("port:80 nonsense", 8, 16, "'nonsense' is no term", "a term reads key:value"),
    ("name:*.miui.com", 5, 15, "'*.miui.com' is written 'miui.com' here: a name means it and everything below", "write example.com, or =example.com for that host alone"),
    ("addr:10.0.0.1/8", 5, 15, "'10.0.0.1/8' has bits beyond its prefix; did you mean 10.0.0.0/8?", "write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32"),
    ("port:80,x", 8, 9, "'x' is no port", "write 443 or 8000-8100, up to 65535"),
    ("name:a,,b", 6, 8, "a value is missing", "write one behind the colon or comma"),
    ('phone:"anna', 6, 11, "a quote that is not closed", 'close it with "'),
    ("verdict:refused", 0, 7, "unknown term 'verdict'", "verdict: filters the history and the live view; rules know phone, group, name, addr, service, country, operator-country, operator, asn, proto, port, via"),
])
def test_errors_name_the_place_and_the_remedy(text, start, end, message, remedy) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_rule(text)
    error = caught.value
    assert (error.start, error.end, error.message, error.remedy) == (start, end, message, remedy)


@given(st.lists(st.text(st.characters(exclude_categories=("C", "Z")) | st.sampled_from(' ,"'), min_size=1), min_size=1, max_size=3))
def test_quotes_hold_any_value(values) -> None:
    wanted = parse_filter(f"to:{','.join(map(quote, values))}")
    assert wanted.expression.terms[0].matcher.values == tuple(values)


def test_names_are_compared_in_one_form() -> None:
    assert parse_rule("name:MIUI.com.") == parse_rule("name:miui.com")
    assert str(parse_rule("name:münchen.example")) == "name:xn--mnchen-3ya.example"


def test_the_empty_expression_matches_everything() -> None:
    assert parse_rule("") == Expression() == parse_rule("   ")


@dataclass
class Row:
    seen: Observation
    verdict: str = "ask"
    rule: str = "xiaomi/1"
    service: str = "xiaomi-account"
    last: float = 1000.0


@pytest.mark.parametrize(("text", "matches"), [
    ("", True), ("phone:phone1", True), ("phone:tv", False), ("verdict:refused", True), ("verdict:allow", False), ("-verdict:allow", True),
    ("rule:xiaomi/1", True), ("service:xiaomi-account", True), ("-service:xiaomi-account", False), ("last:1m", True), ("last:5s", False),
    ("name:xiaomi.com", True), ("name:=xiaomi.com", False), ("addr:42.62.0.0/16", True), ("port:80 verdict:refused", True), ("via:sni", True), ("via:dns", False),
])
def test_filters(make, text: str, matches: bool) -> None:
    row = Row(make.seen(addr="42.62.48.1", port=80, sni="api.account.xiaomi.com"))
    assert parse_filter(text).matches(row, now=1030.0) is matches


def test_what_sql_may_look_for() -> None:
    wanted: Filter = parse_filter("phone:a,b phone:b,c verdict:refused last:1h last:10m")
    assert (wanted.phones(), wanted.verdicts(), wanted.since(10_000)) == ({"b"}, {"ask", "block"}, 9_400)
    anything = parse_filter("-phone:a -verdict:allow -last:1h")
    assert (anything.phones(), anything.verdicts(), anything.since(10_000)) == (None, None, None)
