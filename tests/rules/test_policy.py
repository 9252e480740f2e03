from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.decide import decide
from rules.expression import Expression, Term, parse_rule
from rules.observation import Place
from rules.policy import MEMO, compile_policy
from rules.rule import Rule
from rules.store import load_packs
from rules.verdict import Answer, Verdict


def test_the_owners_rules_come_before_the_packs_in_their_stated_order(make) -> None:
    ids = [rule.id for rule in make.policy("block name:a", packs=True).rules]
    assert ids[:5] == ["r1", "baseline/1", "baseline/2", "baseline/3", "bypass/1"]
    assert ids[-1] == "strict/1"


def test_a_disabled_rule_stays_in_the_list_and_decides_nothing(make) -> None:
    off = Rule("off", Verdict.BLOCK, parse_rule(""), enabled=False)
    policy = compile_policy([off], (), 1)
    assert [rule.id for rule in policy.rules] == ["off"]
    assert decide(policy, make.seen()).rule == "default"


def test_the_digest_is_that_of_the_meaning(make) -> None:
    one = make.policy("block name:a", "allow")
    assert one.digest == make.policy("block name:A.", "allow").digest
    others = [make.policy("allow", "block name:a"), make.policy("block name:a"), make.policy("block name:=a", "allow"), make.policy("block name:a", "allow", packs=True)]
    assert len({policy.digest for policy in (one, *others)}) == 5
    note = compile_policy([Rule("r1", Verdict.BLOCK, parse_rule("name:a"), note="n"), Rule("r2", Verdict.ALLOW, parse_rule(""))], (), 99)
    assert note.digest == one.digest


def test_a_service_that_no_pack_has_is_an_error() -> None:
    with pytest.raises(KeyError, match="nobody"):
        compile_policy([Rule("r", Verdict.ASK, parse_rule("service:nobody"))], load_packs(), 1)


def test_the_memory_is_bounded(make) -> None:
    policy = make.policy("block name:a")
    for port in range(MEMO + 10):
        decide(policy, make.seen(addr=None, port=port))
    assert 0 < len(policy.memo) <= MEMO
    seen = make.seen(sni="a")
    assert decide(policy, seen) is decide(policy, seen)


def test_names_tell_the_service_better_than_addresses(make) -> None:
    policy = make.policy(packs=True)
    assert decide(policy, make.seen(addr="42.62.48.9", dns="data.mistat.xiaomi.com")).service == "xiaomi-telemetry"
    assert decide(policy, make.seen(addr="42.62.48.9")).service == "xiaomi-account"
    assert decide(policy, make.seen()).service == ""


class Broken:
    """A term whose database never was valid."""

    key = "name"
    values = ("x",)

    def atom(self) -> None:
        return None

    def test(self, case, bit, *, opening) -> Answer:
        return Answer.BROKEN


@pytest.mark.parametrize("negated", [False, True])
@pytest.mark.parametrize(("action", "becomes"), [("block", "block"), ("ask", "ask"), ("allow", "allow")])
def test_what_cannot_be_told_closes_and_never_opens(make, action, becomes, negated) -> None:
    rule = Rule("broken", Verdict(action), Expression((Term(Broken(), negated),)))
    policy = compile_policy([rule], (), 1)
    decision = decide(policy, make.seen())
    assert decision.verdict == becomes
    assert decision.rule == ("default" if action == "allow" else "broken")


TERMS = [
    "country:CN", "country:SG,DE", "operator-country:CN", "asn:1,2", "operator:cnnic", "phone:p", "group:kids", "name:a.example", "name:b.example",
    "addr:1.2.4.0/24", "addr:10.0.0.0/8", "service:xiaomi-account", "port:443", "via:none", "proto:tcp",
]
RULES = st.lists(st.builds(
    lambda action, terms: f"{action} {' '.join(minus + term for minus, term in terms)}".rstrip(),
    st.sampled_from(["allow", "ask", "block"]), st.lists(st.tuples(st.sampled_from(["", "", "-"]), st.sampled_from(TERMS)), max_size=3),
), max_size=8)
SEEN = st.fixed_dictionaries({
    "phone": st.sampled_from([None, "p", "q"]), "group": st.sampled_from([None, "", "kids"]), "proto": st.sampled_from([None, "tcp", "udp"]),
    "addr": st.sampled_from([None, "1.2.4.8", "10.0.0.1", "42.62.48.1", "198.51.100.1"]), "port": st.sampled_from([None, 443, 80]),
    "dns": st.sampled_from([(), "a.example", [("a.example",), ("b.example",)]]), "sni": st.sampled_from([(), "a.example", "account.xiaomi.com"]),
    "open_": st.booleans(),
    "place": st.one_of(st.none(), st.builds(Place, st.sampled_from(["", "CN", "SG", None]), st.sampled_from(["", "CN", None]), st.sampled_from([0, 1, 24151, None]))),
})


@given(RULES, SEEN)
def test_no_rule_that_matches_is_passed_over(make, rules, facts) -> None:
    """Against asking every one: rules that say yes, and rules that refuse because a database is broken."""
    policy = make.policy(*rules, services=True)
    case = policy.look_up(make.seen(**facts))
    likely = list(policy.likely(case))
    assert [rule.position for rule in likely] == sorted(rule.position for rule in likely)
    assert {rule.position for rule in policy.compiled if rule.answer(case) is Answer.YES} <= {rule.position for rule in likely}


@given(RULES, SEEN)
def test_what_is_decided_early_stays_decided(make, rules, facts) -> None:
    """Whatever a missing fact turns out to be: the gate does not allow what it will refuse, nor the other way round."""
    policy = make.policy(*rules, services=True)
    early = decide(policy, make.seen(**facts)).verdict
    if early is Verdict.HELD:
        return
    choices = {"phone": ["p", "q"], "group": ["", "kids"], "proto": ["tcp"], "addr": ["1.2.4.8", "198.51.100.1"], "port": [443, 80], "place": [Place(), Place("CN", "CN", 24151), Place("SG", None, 1)]}
    missing = {key: values for key, values in choices.items() if facts[key] is None}
    if facts["addr"] is None:
        missing["place"] = choices["place"]
    for chosen in itertools.product(*missing.values()):
        later = decide(policy, make.seen(**facts | dict(zip(missing, chosen, strict=True)))).verdict
        assert later is Verdict.HELD or later.refuses is early.refuses


def test_facts_are_found_by_themselves(make) -> None:
    """Two hundred rules by phone, place and group: those of this phone are asked, the others are not."""
    policy = make.policy(*(f"block {key}:{value}" for n in range(50) for key, value in (("phone", f"p{n}"), ("group", f"g{n}"), ("asn", n + 1), ("addr", f"10.0.{n}.1"))))
    case = policy.look_up(make.seen(phone="p7", group="g9", place=Place("DE", "DE", 12)))
    assert [str(rule.rule) for rule in policy.likely(case)] == ["block phone:p7", "block group:g9", "block asn:12"]
    shared = make.policy(*(f"block phone:p name:n{n}.example" for n in range(50)))
    assert [str(rule.rule) for rule in shared.likely(shared.look_up(make.seen(phone="p", sni="n3.example")))] == ["block phone:p name:n3.example"]
