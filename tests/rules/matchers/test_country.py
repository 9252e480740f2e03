from __future__ import annotations

import pytest

from rules.decide import decide
from rules.expression import ExpressionError, parse_filter, parse_rule
from rules.observation import Place

SINGAPORE = Place("SG", "CN", 45102, "Alibaba (US) Technology Co., Ltd.")
BROKEN = Place(None, None, None)


def verdict(policy, seen) -> str:
    return str(decide(policy, seen).verdict)


def test_where_it_stands_and_who_runs_it_are_two_questions(make) -> None:
    seen = make.seen(place=SINGAPORE)
    assert [verdict(make.policy(rule), seen) for rule in ("block country:SG", "block country:CN", "block operator-country:CN", "block operator-country:sg")] == ["block", "allow", "block", "allow"]


@pytest.mark.parametrize(("rule", "empty", "broken", "unseen"), [
    ("block country:CN", "allow", "block", "held"),
    ("ask country:CN", "allow", "ask", "held"),
    ("block -country:CN", "block", "block", "held"),
    ("block country:CN port:80", "allow", "allow", "allow"),
])
def test_unknown_places_match_nothing_and_broken_databases_close(make, rule, empty, broken, unseen) -> None:
    policy = make.policy(rule)
    assert [verdict(policy, make.seen(place=place)) for place in (Place(), BROKEN, None)] == [empty, broken, unseen]


@pytest.mark.parametrize(("rule", "verdicts"), [("allow country:CN", ["allow", "block", "block", "held"]), ("allow -country:CN", ["block", "allow", "block", "held"])])
def test_what_cannot_be_told_opens_nothing(make, rule, verdicts) -> None:
    policy = make.policy(rule, "block")
    assert [verdict(policy, make.seen(place=place)) for place in (Place("CN"), Place(), BROKEN, None)] == verdicts


def test_a_question_has_no_place_yet(make) -> None:
    """At DNS time the address is not known: whatever stands in the field of its place counts for nothing."""
    assert verdict(make.policy("block country:CN"), make.seen(addr=None, dns="a.example", open_=True)) == "held"


def test_a_hello_opens_nothing_in_a_country_that_is_refused_unless_our_dns_supports_it(make) -> None:
    policy = make.policy("allow name:good.example", "block country:CN")
    there = Place("CN", "CN", 4134)
    assert verdict(policy, make.seen(sni="good.example", place=there)) == "block"
    assert verdict(policy, make.seen(sni="good.example", dns="good.example", place=there)) == "allow"
    assert verdict(policy, make.seen(sni="good.example", place=Place("DE"))) == "allow"
    assert verdict(policy, make.seen(sni="good.example", place=BROKEN)) == "block"


def test_filters_know_places(make) -> None:
    row = type("Row", (), {"seen": make.seen(place=SINGAPORE), "verdict": "allow", "rule": "", "service": "", "last": 0.0})()
    found = {text: parse_filter(text).matches(row, 0) for text in ("country:SG", "-country:SG", "operator-country:CN", "asn:45102", "operator:alibaba", "operator:tencent")}
    assert found == {"country:SG": True, "-country:SG": False, "operator-country:CN": True, "asn:45102": True, "operator:alibaba": True, "operator:tencent": False}


@pytest.mark.parametrize(("text", "remedy"), [
    ("China", "countries are written with two letters; did you mean CN?"),
    ("germany", "countries are written with two letters; did you mean DE?"),
    ("Chnia", "countries are written with two letters; did you mean CN?"),
    ("CHN", "did you mean CN?"),
    ("uk", "did you mean GB?"),
    ("EU", "write its countries, separated by commas"),
    ("ZZ", "write the two letters of ISO 3166-1, such as CN, US or DE"),
    ("1", "write the two letters of ISO 3166-1, such as CN, US or DE"),
    ("中国", "write the two letters of ISO 3166-1, such as CN, US or DE"),
])
def test_what_is_no_country(text: str, remedy: str) -> None:
    for key in ("country", "operator-country"):
        with pytest.raises(ExpressionError, match="is no country") as caught:
            parse_rule(f"{key}:US,{text}")
        assert caught.value.remedy == remedy
        assert (caught.value.start, caught.value.end) == (len(key) + 4, len(key) + 4 + len(text))


def test_any_case_is_read(make) -> None:
    assert str(parse_rule("country:cn,Hk,xk -operator-country:cN")) == "country:CN,HK,XK -operator-country:CN"
