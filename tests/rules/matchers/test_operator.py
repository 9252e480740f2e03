from __future__ import annotations

import pytest

from rules.decide import decide
from rules.expression import ExpressionError, parse_rule
from rules.observation import Place


def test_by_number_and_by_network(make) -> None:
    policy = make.policy("block operator:cnnic")

    def verdict(addr: str, place: Place | None) -> str:
        return str(decide(policy, make.seen(addr=addr, place=place)).verdict)

    assert verdict("198.51.100.1", Place("CN", "CN", 24151)) == "block"
    assert verdict("198.51.100.1", Place("CN", "CN", 18245)) == "allow"  # called CNNIC, and is a broadband provider
    assert verdict("198.51.100.1", Place(asn=None)) == "block"  # it cannot be told: what refuses takes it for a match
    assert verdict("198.51.100.1", None) == "held"
    assert verdict("1.2.4.8", None) == verdict("64:ff9b::1.2.4.8", None) == "block"  # its network needs no database


def test_a_network_opens_without_a_database(make) -> None:
    policy = make.policy("allow operator:cnnic", "block")
    assert [str(decide(policy, make.seen(addr=addr, place=Place(asn=None))).verdict) for addr in ("1.2.4.8", "198.51.100.1")] == ["allow", "block"]


@pytest.mark.parametrize(("text", "remedy"), [("alibab", "did you mean alibaba?"), ("zzz", "others by number, behind asn:")])
def test_what_nobody_is_called(text: str, remedy: str) -> None:
    with pytest.raises(ExpressionError, match="unknown operator") as caught:
        parse_rule(f"operator:{text}")
    assert remedy in caught.value.remedy


def test_any_case_is_read() -> None:
    assert str(parse_rule("operator:Alibaba,TENCENT")) == "operator:alibaba,tencent"
