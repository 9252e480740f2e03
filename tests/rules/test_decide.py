"""What rules mean where two readings are possible. Numbers in names are cases of docs/rules.md, "fifteen cases"."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.decide import decide, decide_later
from rules.observation import Name, Sign, Source
from rules.verdict import Answer

LISTED = "42.62.48.9"


def verdict(policy, seen) -> str:
    return str(decide(policy, seen).verdict)


def test_the_first_rule_that_matches_decides_and_the_default_allows(make) -> None:
    rules = make.policy("allow name:a.example", "block name:example")
    assert verdict(rules, make.seen(sni="x.a.example")) == "allow"
    assert verdict(rules, make.seen(sni="b.example")) == "block"
    decision = decide(rules, make.seen(sni="other.org"))
    assert (decision.verdict, decision.rule, decision.revision) == ("allow", "default", 7)


def test_what_is_still_to_come_is_thought_through(make) -> None:
    """An allow by name above a block by network: the handshake passes, the hello decides. Without it: refused at once."""
    both = make.policy("allow name:cdn.good.com", "block addr:42.62.48.0/24")
    assert verdict(both, make.seen(addr=LISTED, open_=True)) == "held"
    alone = make.policy("block addr:42.62.48.0/24")
    assert verdict(alone, make.seen(addr=LISTED, open_=True)) == "block"


@pytest.mark.parametrize(("rules", "later"), [
    ((), "allow"),
    (("block name:bad.example",), "held"),  # another name could be that one
    (("block addr:42.62.48.0/24",), "block"),
    (("allow name:cdn.good.com", "block addr:42.62.48.0/24"), "held"),
])
def test_what_another_name_could_change_is_thought_through_whatever_was_said(make, rules, later) -> None:
    policy = make.policy(*rules)
    for seen in (make.seen(addr=LISTED, sni="cdn.good.com"), make.seen(addr=LISTED, http="bad.example", unfinished=True)):
        assert decide_later(policy, seen) == later
        assert decide_later(policy, seen) == later  # remembered
    policy.translate(())
    assert (policy.memo, policy.later) == ({}, {})


def test_different_refusals_agree_to_refuse_and_the_sure_one_is_named(make) -> None:
    rules = make.policy("ask name:x.example", "block addr:42.62.48.0/24")
    decision = decide(rules, make.seen(addr=LISTED, open_=True))
    assert (decision.verdict, decision.rule) == ("block", "r2")


def test_case_1_a_friendly_hello_to_an_address_asked_for_by_another_name(make) -> None:
    rules = make.policy("allow name:google.com", "ask service:xiaomi-account", packs=True)
    seen = make.seen(addr="54.179.140.65", dns="api.account.xiaomi.com", sni="google.com")
    assert verdict(rules, seen) == "ask"


@pytest.mark.parametrize(("rules", "word"), [
    (("allow name:shop.com", "block name:tracker.net"), "allow"),
    (("block name:tracker.net", "allow name:shop.com"), "block"),
])
def test_case_2_every_name_of_a_cname_chain_is_a_name(make, rules, word) -> None:
    assert verdict(make.policy(*rules), make.seen(dns=[("shop.com", "tracker.net")])) == word


def test_case_3_ambiguous_is_refused_if_any_candidate_is(make) -> None:
    rules = make.policy("block name:bad.example")
    two = [("good.example",), ("bad.example",)]
    assert verdict(rules, make.seen(dns=two)) == "block"
    assert verdict(rules, make.seen(dns=two, sni="good.example")) == "allow"  # the hello says which it is
    opened = make.policy("allow via:ambiguous", "block name:bad.example")
    assert verdict(opened, make.seen(dns=two)) == "allow"


def test_case_8_a_port_is_unknown_when_the_name_is_asked_for(make) -> None:
    question = make.seen(addr=None, port=None, proto=None, dns="x.example", open_=True)
    assert verdict(make.policy("block port:443 name:x.example"), question) == "held"
    assert verdict(make.policy("block name:x.example"), question) == "block"
    assert verdict(make.policy("allow name:a.x.example", "block name:x.example"), make.seen(addr=None, port=None, proto=None, dns="a.x.example", open_=True)) != "block"


def test_case_11_an_absent_name_is_not_a_different_name(make) -> None:
    rules = make.policy("block -name:good.com")
    assert verdict(rules, make.seen(open_=True)) == "held"
    assert verdict(rules, make.seen()) == "block"
    assert verdict(rules, make.seen(sni="www.good.com")) == "allow"
    assert verdict(rules, make.seen(sni="www.good.com", dns="bad.com")) == "block"  # not all sources agree


def test_allow_wants_all_sources_to_agree_and_block_any(make) -> None:
    seen = make.seen(dns="a.example", sni="b.example")
    assert verdict(make.policy("allow name:b.example", "block"), seen) == "block"
    assert verdict(make.policy("block name:a.example"), seen) == "block"
    assert verdict(make.policy("block name:b.example"), seen) == "block"


def test_over_a_listed_address_what_the_flow_says_of_itself_opens_nothing(make) -> None:
    rules = make.policy("allow name:cdn.good.com", "block addr:42.62.48.0/24")
    assert verdict(rules, make.seen(addr=LISTED, sni="cdn.good.com")) == "block"
    assert verdict(rules, make.seen(addr=LISTED, http="cdn.good.com")) == "block"
    assert verdict(rules, make.seen(addr=LISTED, sni="cdn.good.com", dns="cdn.good.com")) == "allow"
    assert verdict(rules, make.seen(addr=LISTED, open_=True, dns="other.com")) == "block"


@pytest.mark.parametrize(("dns", "rule", "word"), [
    ((), "block name:a", "held"),
    ((("a",),), "block name:a", "block"),  # a hello that says otherwise disagrees, and any source is enough
    ((("b",),), "block name:a", "held"),
    ((("a",), ("b",)), "block name:a", "held"),  # the hello will say which
    ((("a",), ("x.a",)), "block name:a", "block"),
])
def test_what_no_further_name_can_change(make, dns, rule, word) -> None:
    assert verdict(make.policy(rule), make.seen(dns=dns, open_=True)) == word


@pytest.mark.parametrize(("dns", "word"), [((), "held"), ((("a",),), "held"), ((("b",),), "block"), ((("a",), ("b",)), "held"), ((("b",), ("c",)), "block")])
def test_what_can_still_open(make, dns, word) -> None:
    assert verdict(make.policy("allow name:a", "block"), make.seen(dns=dns, open_=True)) == word


@pytest.mark.parametrize("addr", [LISTED, "::ffff:42.62.48.9", "64:ff9b::2a3e:3009", "2002:2a3e:3009::1", "2001:0:102:304:8000:1:d5c1:cff6"])
def test_ipv4_rules_match_ipv6_forms_of_their_addresses(make, addr) -> None:
    assert verdict(make.policy("block addr:42.62.48.0/24"), make.seen(addr=addr)) == "block"


def test_phone_proto_port_and_via(make) -> None:
    assert verdict(make.policy("block phone:tv,phone1"), make.seen()) == "block"
    assert verdict(make.policy("block phone:tv"), make.seen()) == "allow"
    assert verdict(make.policy("block proto:udp"), make.seen(proto="udp")) == "block"
    assert verdict(make.policy("block port:8000-8100"), make.seen(port=8080)) == "block"
    assert verdict(make.policy("block port:0-65535"), make.seen(proto="icmp", port=None)) == "allow"
    assert verdict(make.policy("block via:none"), make.seen()) == "block"
    assert verdict(make.policy("block via:none"), make.seen(sni="a.example")) == "allow"
    assert verdict(make.policy("block via:none"), make.seen(open_=True)) == "held"
    assert verdict(make.policy("block via:unfinished"), make.seen(unfinished=True)) == "block"


def test_by_a_name_nothing_opens_that_may_say_another(make) -> None:
    """The rest of it cannot be read: a contradiction, a hello cut off. Who lists its address, or speaks of it, opens it."""
    policy = make.policy("allow name:a", "allow via:unfinished port:25", "block")
    for seen in (make.seen(sni="a", unfinished=True), make.seen(dns=[("a",)], unfinished=True), make.seen(dns=[("a",)], sni="a", unfinished=True)):
        assert verdict(policy, seen) == "block"
        assert verdict(policy, seen._replace(unfinished=False)) == "allow"
        assert verdict(policy, seen._replace(port=25)) == "allow"
    assert verdict(make.policy("block name:a", "allow"), make.seen(sni="a", unfinished=True)) == "block"


CHAINS = st.lists(st.sampled_from([("a",), ("b",), ("x.a",), ("c", "a"), ("c",)]), max_size=3, unique=True).map(tuple)
TERMS = st.sampled_from([
    "", "", "name:a", "-name:a", "name:=a", "name:a,b", "-name:b", "service:xiaomi-account", "-service:xiaomi-account", "addr:42.62.48.0/24", "-addr:42.62.48.0/24",
    "port:443", "-port:443", "proto:tcp", "-proto:udp", "phone:phone1", "-phone:phone1", "via:sni", "-via:sni", "via:none", "-via:none", "via:ambiguous", "via:dns", "-via:dns", "via:unfinished",
])
RULES = st.lists(st.builds(lambda action, *terms: f"{action} {' '.join(terms)}", st.sampled_from(["allow", "ask", "block"]), TERMS, TERMS), max_size=5)
FUTURES = [
    (said, unfinished)
    for said, unfinished in [((), True), *(((), False),), *((names, False) for n in (1, 2) for names in product(("a", "b", "c", "other", "api.account.xiaomi.com"), repeat=n))]
]


@given(RULES, CHAINS, st.sampled_from([None, "phone1", "tv"]), st.sampled_from([None, "tcp", "udp"]), st.sampled_from([None, 443, 80]), st.sampled_from([None, LISTED, "198.51.100.9"]))
def test_an_early_decision_is_never_contradicted_by_what_comes_later(make, rules, chains, phone, proto, port, addr) -> None:
    policy = make.policy(*rules, services=True)
    early = make.seen(phone=phone, proto=proto, port=port, addr=addr, dns=chains, open_=True)
    decision = decide(policy, early)
    if decision.verdict == "held":
        assert decision.rule == ""
        return
    for said, unfinished in FUTURES:
        names = tuple(Name(name, source) for name, source in zip(said, (Source.SNI, Source.HTTP), strict=False))
        for later_phone, later_proto, later_port, later_addr in (("phone1", "tcp", 443, LISTED), ("tv", "udp", 80, "198.51.100.9")):
            later = early._replace(
                phone=phone or later_phone, proto=proto or later_proto, port=port or later_port, addr=early.addr or make.packed(later_addr),
                said=names, names_open=False, unfinished=unfinished,
            )
            assert decide(policy, later).verdict.refuses is decision.verdict.refuses, later


@given(RULES, CHAINS, st.sampled_from([(), "a", "b", "other"]), st.sampled_from([None, LISTED, "198.51.100.9"]), st.sampled_from([None, 443]), st.booleans())
def test_short_cuts_come_to_what_a_scan_of_every_rule_comes_to(make, rules, chains, said, addr, port, open_) -> None:
    """decisions.md 1, word by word."""
    policy = make.policy(*rules, services=True)
    seen = make.seen(addr=addr, port=port, dns=chains, sni=said, open_=open_)
    case = policy.look_up(seen)
    reachable, sure = set(), ("allow", "default")
    for rule in policy.compiled:
        answer = rule.answer(case)
        if answer is Answer.YES:
            sure = (rule.rule.action, rule.rule.id)
            break
        if answer is Answer.NOT_YET:
            reachable.add(rule.rule.action)
    reachable.add(sure[0])
    agree = len(reachable) == 1 or reachable == {"ask", "block"}
    decision = decide(policy, seen)
    assert (decision.verdict, decision.rule) == (sure if agree else ("held", ""))


@given(st.lists(st.tuples(st.sampled_from(["allow", "block"]), st.booleans(), st.sampled_from(["a", "=a", "b", "c"])), max_size=4), CHAINS, st.lists(st.sampled_from(["a", "x.a", "b", "other"]), max_size=2, unique=True))
def test_names_mean_what_the_words_say(make, rules, chains, said) -> None:
    """decisions.md 2, written down a second time without an index."""
    def has(statement, pattern):
        return any(name == pattern[1:] if pattern[0] == "=" else name == pattern or name.endswith("." + pattern) for name in statement)

    kept = [chain for chain in chains if set(said) & set(chain)] or chains
    statements = [(name,) for name in said] + list(kept)
    expected = "allow"
    for action, negated, pattern in rules:
        anybody = any(has(statement, pattern) for statement in statements)
        everybody = bool(statements) and all(has(statement, pattern) for statement in statements)
        matches = {("block", False): anybody, ("block", True): not everybody, ("allow", False): everybody, ("allow", True): not anybody}
        if matches[action, negated]:
            expected = action
            break
    policy = make.policy(*(f"{action} {'-' if negated else ''}name:{pattern}" for action, negated, pattern in rules))
    assert verdict(policy, make.seen(dns=chains, sni=said)) == expected


@pytest.mark.parametrize(("facts", "reason"), [
    ({"sni": "api.account.xiaomi.com"}, "rule xiaomi/2 (xiaomi 2026-11) asks for service Xiaomi account and messaging: api.account.xiaomi.com"),
    ({"addr": LISTED}, "rule xiaomi/2 (xiaomi 2026-11) asks for service Xiaomi account and messaging"),
    ({"addr": LISTED, "sni": "cdn.good.com"}, "rule xiaomi/2 (xiaomi 2026-11) asks for service Xiaomi account and messaging: claims cdn.good.com, unproven"),
    ({"dns": [("shop.com", "tracker.net")]}, "rule r1 (mine) blocks name:tracker.net: shop.com, an alias of tracker.net"),
    ({"dns": [("shop.com",), ("tracker.net",)]}, "rule r1 (mine) blocks name:tracker.net: tracker.net, one of several names"),
    ({"port": 25, "sni": "mx.example"}, "rule r2 (mine) allows port:25: mx.example"),
    ({"sni": "other.example"}, "no rule speaks of it; the default allows it"),
    ({"open_": True, "port": None}, "it depends on what is not known yet: the port, the name"),
])
def test_the_reason_is_a_sentence_for_a_person(make, facts, reason) -> None:
    assert decide(make.policy("block name:tracker.net", "allow port:25", packs=True), make.seen(**facts)).reason == reason


class TestPacks:
    def test_the_mission(self, make) -> None:
        rules = make.policy(packs=True)
        for seen in (
            make.seen(addr=LISTED),
            make.seen(addr=LISTED, open_=True),
            make.seen(sni="api.account.xiaomi.com"),
            make.seen(http="api.account.xiaomi.com", addr="54.179.140.65"),
            make.seen(dns="api.account.xiaomi.com", proto="udp", port=9999),
        ):
            decision = decide(rules, seen)
            assert (decision.verdict, decision.service) == ("ask", "xiaomi-account")
            assert "Xiaomi account and messaging" in decision.reason
        assert decide(rules, make.seen(http="policy.app.xiaomi.com")).service == "xiaomi-app-inventory"
        assert decide(rules, make.seen(addr="2001:dc7::53")).service == "cnnic-own"

    @pytest.mark.parametrize("name", ["connect.rom.miui.com", "connectivitycheck.gstatic.com", "time.android.com", "xiaomi.com.example"])
    def test_captive_portal_and_time_are_left_alone(self, make, name) -> None:
        assert verdict(make.policy(packs=True), make.seen(dns=name)) == "allow"

    def test_what_cannot_be_judged_is_closed_by_a_rule_the_owner_can_open(self, make) -> None:
        gre = make.seen(proto="47", port=None)
        assert decide(make.policy(packs=True), gre).rule == "baseline/2"
        assert verdict(make.policy("allow proto:47", packs=True), gre) == "allow"

    def test_a_rule_that_allows_everything_hides_them_all(self, make) -> None:
        rules = make.policy("allow", packs=True)
        assert verdict(rules, make.seen(addr=LISTED, open_=True)) == "allow"


def test_what_another_resolver_is_asked_for_refuses_and_never_opens(make) -> None:
    """It is not where the flow goes: that is what our DNS answered, or nobody knows."""
    def asks(name: str, **facts) -> object:
        return make.seen(port=5353, **facts)._replace(said=(Name(name, Source.DNS_ELSEWHERE),), signs=(Sign.DNS_ELSEWHERE,))

    assert verdict(make.policy("block name:bad.example"), asks("www.bad.example")) == "block"
    rules = make.policy("allow name:good.example", "block")
    assert verdict(rules, asks("good.example")) == "block"
    assert verdict(rules, asks("x.other.example", dns="good.example")) == "allow"
    assert verdict(rules, asks("good.example", dns="other.example")) == "block"
    shared = [("good.example",), ("bad.example",)]
    assert verdict(make.policy("block name:bad.example"), asks("good.example", dns=shared)) == "block"
    for word in ("dns-elsewhere", "none"):
        assert verdict(make.policy(f"block via:{word}"), asks("good.example")) == "block"
    assert verdict(make.policy("block via:ambiguous"), asks("good.example", dns=shared)) == "block"
