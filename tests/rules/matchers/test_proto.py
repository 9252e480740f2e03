from __future__ import annotations

import pytest

from rules.decide import decide
from rules.expression import ExpressionError, parse_rule


@pytest.mark.parametrize(("written", "read"), [("TCP", "tcp"), ("6", "tcp"), ("17", "udp"), ("1", "icmp"), ("58", "icmp"), ("047", "47"), ("0", "0"), ("255", "255")])
def test_numbers_that_have_a_word_are_read_as_it(written: str, read: str) -> None:
    assert str(parse_rule(f"proto:{written}")) == f"proto:{read}"


@pytest.mark.parametrize("text", ["256", "-1", "sctp", "⁴", "1000000000000"])
def test_what_is_no_protocol(text: str) -> None:
    with pytest.raises(ExpressionError, match="is no protocol"):
        parse_rule(f"proto:{text}")


def test_everything_but_some(make) -> None:
    policy = make.policy("block -proto:tcp,udp,icmp")
    assert [str(decide(policy, make.seen(proto=proto, port=None)).verdict) for proto in ("tcp", "icmp", "47", None)] == ["allow", "allow", "block", "held"]
