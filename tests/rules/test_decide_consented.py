"""What a consent changes of a decision, and what it never does (decisions.md 4)."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.decide import decide
from rules.explain import explain
from rules.observation import Name, Observation, Place, Source
from rules.verdict import Answer

A, LISTED = "service:xiaomi-account", "42.62.48.9"
HOST = "api.account.xiaomi.com"
CN = Place("CN", "CN", 4134)


def verdict(policy, seen: Observation) -> str:
    return decide(policy, seen).verdict


@pytest.mark.parametrize(("facts", "consent", "word"), [
    ({"sni": HOST}, A, "consent"),
    ({"dns": HOST, "proto": "udp"}, A, "consent"),
    ({"addr": LISTED, "port": 5222}, A, "consent"),
    ({"addr": LISTED, "sni": "cdn.example"}, A, "consent"),  # its own address does not lie
    ({"sni": HOST, "dns": "other.example"}, A, "ask"),  # not all sources agree
    ({"sni": "policy.app.xiaomi.com"}, A, "ask"),  # another service
    ({"sni": HOST}, "name:xiaomi.com", "consent"),
    ({"sni": HOST}, f"name:{HOST}", "consent"),
    ({"sni": HOST, "dns": "other.example"}, f"name:{HOST}", "ask"),
    ({"addr": LISTED, "sni": "account.xiaomi.com"}, "name:account.xiaomi.com", "ask"),  # claimed over a listed address
    ({"addr": LISTED, "sni": "account.xiaomi.com", "dns": "account.xiaomi.com"}, "name:account.xiaomi.com", "consent"),
    ({"sni": HOST}, "name:miui.com", "ask"),
    ({"addr": LISTED}, "addr:42.62.48.0/24", "consent"),
    ({"addr": LISTED}, f"addr:{LISTED}", "consent"),
    ({"addr": "::ffff:42.62.48.9"}, f"addr:{LISTED}", "consent"),
    ({"addr": LISTED}, "addr:42.62.49.0/24", "ask"),
    ({"addr": LISTED, "proto": "icmp", "port": None}, A, "ask"),  # no port: the kernel could not end it
    ({"sni": "en.wikipedia.org"}, A, "allow"),
])
def test_a_consent_answers_the_asks_it_is_for(make, facts, consent, word) -> None:
    assert verdict(make.policy(packs=True), make.seen(**facts, consents=[consent])) == word


def test_the_reason_names_the_consent_and_the_rule_that_it_answers(make) -> None:
    policy = make.policy(packs=True)
    decision = decide(policy, make.seen(sni=HOST, consents=["name:miui.com", A]))
    assert (decision.verdict, decision.rule, decision.consent, decision.service) == ("consent", "xiaomi/2", 8, "xiaomi-account")
    assert decision.reason == f"consent 8 for service Xiaomi account and messaging answers rule xiaomi/2 (xiaomi 2026-11): {HOST}"
    assert decide(policy, make.seen(sni=HOST, consents=["name:xiaomi.com"])).reason.startswith("consent 7 for xiaomi.com answers")
    told = explain(policy, make.seen(sni=HOST, consents=[A])).to_json()
    assert (told["verdict"], told["consent"], told["rule"]) == ("consent", 7, "xiaomi/2")


def test_a_block_above_is_never_overruled_and_one_below_comes_too_late(make) -> None:
    seen = make.seen(sni=HOST, dns=HOST, place=CN, consents=[A])
    assert verdict(make.policy("block country:CN", f"ask {A}", services=True), seen) == "block"
    assert verdict(make.policy(f"ask {A}", "block country:CN", services=True), seen) == "consent"


def test_behind_an_answered_ask_the_others_still_ask(make) -> None:
    seen = make.seen(sni=HOST, dns=HOST, place=CN, consents=[A])
    decision = decide(make.policy(f"ask {A}", "allow name:xiaomi.com", "ask country:CN", services=True), seen)
    assert (decision.verdict, decision.rule) == ("ask", "r3")
    both = seen._replace(consents=make.grants(A, f"name:{HOST}"))
    assert decide(make.policy(f"ask {A}", "ask country:CN", services=True), both).consent == 8  # it answers both, and first
    assert verdict(make.policy(f"ask {A}", "ask country:CN", services=True), seen._replace(consents=make.grants(f"name:{HOST}"))) == "consent"


@pytest.mark.parametrize("rules", [("ask service:xiaomi-account,xiaomi-app-inventory",), ("ask service:xiaomi-app-inventory", f"ask {A}")])
def test_all_that_it_needs_is_told(make, rules) -> None:
    """A host of two services, by an alias: it ends with either consent."""
    policy = make.policy(*rules, services=True)
    seen = make.seen(consents=[A, "service:xiaomi-app-inventory"])._replace(answered=((HOST, "policy.app.xiaomi.com"),))
    told = decide(policy, seen)
    assert (told.verdict, {told.consent, *told.also}) == ("consent", {7, 8})
    assert decide(policy, seen._replace(consents=seen.consents[:1])).verdict == "ask"


def test_what_one_service_has_in_anothers_network_is_answered_by_consent_to_the_former(make) -> None:
    policy = make.policy(packs=True)
    host, room = "policy.app.xiaomi.com", "42.62.48.182"  # a host of the inventory, in the account's network
    seen = make.seen(dns=host, http=host, addr=room, port=80, consents=["service:xiaomi-app-inventory"])
    assert (decide(policy, seen).verdict, decide(policy, seen).service) == ("consent", "xiaomi-app-inventory")
    assert verdict(policy, make.seen(http=host, addr=room, port=80, consents=["service:xiaomi-app-inventory"])) == "ask"  # it only says so
    assert verdict(policy, make.seen(addr=room, port=80, consents=["service:xiaomi-app-inventory"])) == "ask"
    by_network = make.policy("ask addr:42.62.48.0/24", services=True)  # this one asks about no service
    assert verdict(by_network, seen) == "ask"


def test_the_service_of_a_decision_is_rather_the_one_that_was_asked_about(make) -> None:
    policy = make.policy("ask service:xiaomi-cloud", services=True)
    seen = make.seen(dns=HOST, sni="micloud.xiaomi.net", consents=[])
    assert decide(policy, seen).service == "xiaomi-cloud"


def test_one_ask_for_two_services_wants_both_where_both_are_meant(make) -> None:
    both = make.policy("ask service:xiaomi-account,xiaomi-app-inventory", services=True)
    assert verdict(both, make.seen(sni=HOST, consents=[A])) == "consent"
    mixed = make.seen(sni=HOST, addr="198.51.100.9", dns="policy.app.xiaomi.com", consents=[A])
    assert verdict(both, mixed) == "ask"
    assert verdict(both, mixed._replace(consents=make.grants(A, "service:xiaomi-app-inventory"))) == "ask"  # the sources disagree
    assert verdict(make.policy("ask -service:xiaomi-cloud", services=True), make.seen(sni=HOST, consents=["service:xiaomi-cloud"])) == "ask"


def test_while_a_name_is_open_a_consent_may_still_turn_out_not_to_be_for_it(make) -> None:
    policy = make.policy(packs=True)
    early = make.seen(dns=HOST, open_=True, consents=[A])
    assert verdict(policy, early) == "held"
    assert verdict(policy, early._replace(consents=())) == "ask"
    assert verdict(policy, early._replace(consents=make.grants("service:xiaomi-cloud"))) == "ask"
    assert verdict(make.policy(f"ask {A}", services=True), make.seen(addr=LISTED, open_=True, consents=[A])) == "consent"


def test_a_phone_that_is_not_known_yet_may_have_consents(make) -> None:
    policy = make.policy(packs=True)
    seen = make.seen(sni=HOST, consents=None)
    assert verdict(policy, seen) == "held"
    assert "its consents" in decide(policy, seen).reason
    assert verdict(policy, make.seen(sni="en.wikipedia.org", consents=None)) == "allow"


def test_a_service_that_no_pack_has_any_more_covers_nothing(make) -> None:
    assert verdict(make.policy("ask name:a.example"), make.seen(sni="a.example", consents=["service:gone", "service:gone-too"])) == "ask"


CHAINS = st.lists(st.sampled_from([("a",), ("b",), ("x.a",), ("c", "a"), (HOST,)]), max_size=2, unique=True).map(tuple)
TERMS = st.sampled_from([
    "", "", "name:a", "-name:a", "name:=a", "name:b", A, f"-{A}", "service:xiaomi-account,xiaomi-cloud", "addr:42.62.48.0/24", "-addr:42.62.48.0/24", "port:443", "proto:tcp", "-proto:udp", "via:none", "country:CN",
])
RULES = st.lists(st.builds(lambda action, *terms: f"{action} {' '.join(terms)}", st.sampled_from(["allow", "ask", "ask", "block"]), TERMS, TERMS), max_size=5)
CONSENTS = st.lists(st.sampled_from([A, "service:xiaomi-cloud", "name:a", "name:b", f"name:{HOST}", f"addr:{LISTED}", "addr:0.0.0.0/0", "addr:::/0"]), max_size=3, unique=True)
SAID = st.sampled_from([(), "a", "b", HOST, "other"])
ADDRESSES = st.sampled_from([LISTED, "198.51.100.9", "2001:db8::1"])


@given(RULES, CONSENTS, CHAINS, SAID, ADDRESSES, st.sampled_from(["tcp", "udp", "icmp"]))
def test_a_consent_opens_what_is_asked_about_and_nothing_else(make, rules, consents, dns, said, addr, proto) -> None:
    """decisions.md 4, word by word, once everything is known."""
    policy = make.policy(*rules, services=True)
    seen = make.seen(dns=dns, sni=said, addr=addr, proto=proto, port=None if proto == "icmp" else 443)
    plain = decide(policy, seen)
    decision = decide(policy, seen._replace(consents=make.grants(*consents)))
    if plain.verdict != "ask":
        assert decision == plain  # what a block refuses, or a rule allows, is none of a consent's business
    if not consents or proto == "icmp":
        assert decision == plain
    case = policy.look_up(seen)
    matching = [rule.rule for rule in policy.compiled if rule.answer(case) is Answer.YES]
    asks = [rule for rule in matching[next((at for at, rule in enumerate(matching) if rule.action == "ask"), len(matching)):] if rule.action == "ask"]
    everything = {"addr:0.0.0.0/0", "addr:::/0"}.intersection(consents)
    assert decision.verdict in {plain.verdict, "consent"}
    if decision.verdict == "consent":
        assert decision.rule == asks[0].id == plain.rule
        assert decision.consent in range(7, 7 + len(consents))
    elif plain.verdict == "ask" and proto != "icmp" and everything:
        assert (":" in addr) != ("addr:::/0" in everything) or len(everything) == 1  # only the other family's is there


@given(RULES, CONSENTS, CHAINS, SAID, ADDRESSES)
def test_more_consents_never_refuse_more(make, rules, consents, dns, said, addr) -> None:
    policy = make.policy(*rules, services=True)
    seen = make.seen(dns=dns, sni=said, addr=addr)
    for number in range(len(consents)):
        fewer, more = (seen._replace(consents=make.grants(*consents[:n])) for n in (number, number + 1))
        assert decide(policy, fewer).verdict.refuses or not decide(policy, more).verdict.refuses


FUTURES = [((), True), ((), False), *(((name,), False) for name in ("a", "b", "x.a", HOST, "other")), *((names, False) for names in product(("a", HOST, "other"), repeat=2))]


@given(RULES, CONSENTS, CHAINS, st.sampled_from([None, "tcp", "icmp"]), st.sampled_from([None, LISTED, "198.51.100.9"]))
def test_what_is_decided_early_is_what_is_decided_late(make, rules, consents, dns, proto, addr) -> None:
    policy = make.policy(*rules, services=True)
    early = make.seen(dns=dns, proto=proto, addr=addr, port=443 if proto == "tcp" else None, open_=True, consents=consents, place=CN if addr else None)
    decision = decide(policy, early)
    if decision.verdict == "held":
        return
    for said, unfinished in FUTURES:
        names = tuple(Name(name, source) for name, source in zip(said, (Source.SNI, Source.HTTP), strict=False))
        for later_proto, later_addr, place in (("tcp", LISTED, CN), ("icmp", "198.51.100.9", Place())):
            later = early._replace(
                said=names, unfinished=unfinished, names_open=False, proto=proto or later_proto, addr=early.addr or make.packed(later_addr), place=early.place or place,
                port=None if (proto or later_proto) == "icmp" else 443,
            )
            late = decide(policy, later).verdict
            assert (late.refuses, late == "consent") == (decision.verdict.refuses, decision.verdict == "consent"), later


@given(RULES, CONSENTS, CHAINS)
def test_who_is_not_known_yet_is_not_decided_for_with_another_outcome(make, rules, consents, dns) -> None:
    policy = make.policy(*rules, services=True)
    early = decide(policy, make.seen(dns=dns, consents=None)).verdict
    late = decide(policy, make.seen(dns=dns, consents=consents)).verdict
    assert early == "held" or early.refuses == late.refuses
