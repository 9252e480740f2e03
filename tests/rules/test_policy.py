from __future__ import annotations

import pytest

from rules.decide import decide
from rules.expression import Expression, Term, parse_rule
from rules.policy import MEMO, compile_policy
from rules.rule import Rule
from rules.store import load_packs
from rules.verdict import Answer, Verdict


def test_the_owners_rules_come_before_the_packs_in_their_stated_order(make) -> None:
    ids = [rule.id for rule in make.policy("block name:a", packs=True).rules]
    assert ids[:4] == ["r1", "baseline/1", "baseline/2", "xiaomi/1"]
    assert ids[-1] == "cnnic-own/1"


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
