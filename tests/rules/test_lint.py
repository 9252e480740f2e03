from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.decide import decide
from rules.lint import lint
from rules.observation import Sign
from rules.verdict import Verdict

TERMS = st.sampled_from(["", "name:a", "name:a,b", "-name:a", "-name:a,b", "port:80", "port:80,443", "-port:80,443", "addr:192.0.2.0/24", "via:dns", "-via:none"])
RULE = st.builds(lambda action, one, two: f"{action} {one} {two}", st.sampled_from(["allow", "ask", "block"]), TERMS, TERMS)


def hidden(make, *rules: str) -> list[str]:
    return [finding.split()[1] for finding in lint(make.policy(*rules))]


@pytest.mark.parametrize(("rules", "opens"), [
    (("allow",), True),
    (("allow phone:tv proto:tcp,udp",), True),
    (("allow -country:CN",), True),
    (("block via:neighbour", "allow"), False),
    (("allow name:a",), False),
    (("allow addr:192.168.77.5",), False),
    (("ask",), False),
])
def test_what_opens_phones_to_each_other_is_said(make, rules, opens) -> None:
    said = [one for one in lint(make.policy(*rules, packs=True)) if "lets phones reach each other too: above it, block via:neighbour" in one]
    assert bool(said) is opens, said
    near = make.seen(phone="tv", addr="192.168.77.5", port=443)._replace(signs=(Sign.NEIGHBOUR,))
    assert (decide(make.policy(*rules, packs=True), near).verdict is Verdict.ALLOW) is (opens or "addr" in rules[0])


@pytest.mark.parametrize("rules", [
    ("allow name:a", "block name:a"),  # a flow of which only some sources say a is refused by the second
    ("allow port:443 name:a", "allow port:80,443 name:a"),
    ("block port:443", "block -port:443"),
    ("block -port:80,443", "allow -port:80"),
    ("block name:a.b", "block name:b"),
])
def test_rules_that_can_match_are_left_alone(make, rules) -> None:
    assert hidden(make, *rules) == []


@pytest.mark.parametrize("rules", [
    ("allow", "block name:a"),
    ("block name:a", "allow name:a port:443"),
    ("block name:a,b", "block name:b"),
    ("ask -port:80", "block -port:80,443 phone:tv"),
    ("allow name:a", "allow name:a via:dns"),
])
def test_rules_behind_a_wider_one_are_found(make, rules) -> None:
    assert hidden(make, *rules) == ["r2"]


def test_a_pack_rule_behind_an_owners_rule_is_told_as_such(make) -> None:
    (finding,) = lint(make.policy("block service:xiaomi-ads,xiaomi-push phone:x", "block service:xiaomi-ads", packs=True))
    assert finding == "rule xiaomi/7 (ask service:xiaomi-ads) can never match: your own rule r2 (block service:xiaomi-ads) matches first"


@given(st.lists(RULE, max_size=5), st.sampled_from(["198.51.100.1", "192.0.2.1"]), st.sampled_from([80, 443, 22]), st.lists(st.sampled_from([("a",), ("b",), ("c", "a"), ("x.b",)]), max_size=2, unique=True), st.sampled_from([(), "a", "b", "c"]))
def test_a_rule_that_can_never_match_never_decides(make, rules, addr, port, dns, sni) -> None:
    decision = decide(make.policy(*rules), make.seen(addr=addr, port=port, dns=dns, sni=sni))
    assert decision.rule not in hidden(make, *rules)
