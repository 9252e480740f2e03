from __future__ import annotations

from rules.expression import parse_rule
from rules.rule import Rule
from rules.verdict import Verdict


def test_a_rule_reads_as_a_sentence() -> None:
    assert str(Rule("k3f7", Verdict.ASK, parse_rule("service:xiaomi-account"))) == "ask service:xiaomi-account"
    assert str(Rule("k3f7", Verdict.ALLOW, parse_rule(""))) == "allow"
