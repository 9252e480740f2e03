from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.expression import IN_FILTERS, ExpressionError, parse_narrowing, parse_rule
from rules.observation import Name, Observation, Place, Source
from rules.row_filter import Facts, KnownRow, RowFilter, SpokenRow

ALL = tuple(IN_FILTERS)


def seen(*addresses: str) -> KnownRow:
    facts = [
        Facts(
            Observation("anna", None, ip_address(addr).packed, None, said=(Name("api.example.com", Source.DNS),), group="kids", place=Place("CN", "CN", 63855)),
            "shop", "xiaomi/1", 1_000.0,
        )
        for addr in addresses
    ]
    return KnownRow("anna's phone\nShop", tuple(facts))


@pytest.mark.parametrize(("text", "matches"), [
    ("", True), ("phone:anna", True), ("phone:tv", False), ("-phone:tv", True), ("group:kids", True), ("name:example.com", True), ("name:=example.com", False),
    ("addr:10.0.0.0/8", True), ("addr:2001:db8::/32", True), ("addr:192.0.2.1", False), ("-addr:10.0.0.7", False), ("-addr:192.0.2.1", True),
    ("country:CN", True), ("operator-country:US", False), ("operator:xiaomi", True), ("asn:63855", True), ("service:shop", True), ("rule:xiaomi/1", True),
    ("last:1m", True), ("last:5s", False), ("SHOP", True), ('"s phone"', True), ("phone shop", True), ("printer", False), ("-printer shop", True), ("printer,shop", True),
    ("phone:anna -shop", False), ("anna's-shop", False),
])
def test_a_row_with_facts(text: str, matches: bool) -> None:
    assert RowFilter(parse_narrowing(text, ALL)).matches(seen("10.0.0.7", "2001:db8::7"), 1_030.0) is matches


@pytest.mark.parametrize(("text", "matches"), [
    ("name:example.com", True), ("name:a.shop.example.com", True), ("name:ample.com", False), ("name:=example.com", False), ("name:=shop.example.com", True),
    ("name:exact.example.net", True), ("name:below.exact.example.net", False), ("name:example.net", True),
    ("addr:10.1.2.3", True), ("addr:0.0.0.0/1", True), ("addr:192.0.2.1", False), ("addr:2001:db8::1", False),
    ("phone:anna", True), ("phone:tv", False), ("-phone:anna", False), ("country:CN", True), ("country:US", False), ("service:x", False), ("port:443", False),
    ("rule:k3f7", True), ("rule:other", False), ("agreed", True), ("-agreed", False), ("agreed phone:anna", True),
])
def test_a_row_that_speaks_of_things(text: str, matches: bool) -> None:
    written = parse_rule("name:shop.example.com,=exact.example.net addr:10.0.0.0/8 phone:anna,kid -country:CN")
    assert RowFilter(parse_narrowing(text, ALL)).matches(SpokenRow("as agreed", written, "k3f7"), 0.0) is matches


@pytest.mark.parametrize(("text", "start", "end", "message", "remedy"), [
    ("tv verdict:ask", 3, 10, "verdict: asks for what no row here has", "known here: phone, last; a word with a colon stands in quotes"),
    ("phon:x", 0, 4, "unknown term 'phon'", "did you mean phone:?"),
    ("2001:db8::1", 0, 4, "unknown term '2001'", "known here: phone, last; a word with a colon stands in quotes"),
    (":x", 0, 0, "unknown term ''", "known here: phone, last; a word with a colon stands in quotes"),
    ("-", 0, 2, "a value is missing", "write one behind the colon or comma"),
    ('tv "an', 3, 6, "a quote that is not closed", 'close it with "'),
])
def test_what_no_row_can_answer_is_refused_at_its_place(text: str, start: int, end: int, message: str, remedy: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_narrowing(text, ("phone", "last"))
    error = caught.value
    assert (error.start, error.end, error.message, error.remedy) == (start, end, message, remedy)


@given(st.text() | st.text('abcdeghinmoprstuv:,-" ."=/*0123456789', max_size=60))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    try:
        wanted = RowFilter(parse_narrowing(text, ALL))
    except ExpressionError as error:
        assert -1 <= error.start <= error.end <= len(text) + 1
        assert error.message
    else:
        wanted.matches(seen("10.0.0.7"), 0.0)
        wanted.matches(SpokenRow("", parse_rule("name:a.example")), 0.0)
