from __future__ import annotations

import pytest

from rules.decide import decide
from rules.expression import ExpressionError, parse_rule


@pytest.mark.parametrize(("port", "word"), [(80, "block"), (81, "allow"), (7999, "allow"), (8000, "block"), (8100, "block"), (8101, "allow"), (0, "allow")])
def test_numbers_and_ranges_with_both_ends(make, port: int, word: str) -> None:
    assert decide(make.policy("block port:80,8000-8100"), make.seen(port=port)).verdict == word


@pytest.mark.parametrize(("proto", "word"), [("tcp", "held"), ("udp", "held"), (None, "held"), ("icmp", "allow"), ("47", "allow")])
def test_without_a_port_it_depends_on_whether_there_will_be_one(make, proto, word: str) -> None:
    assert decide(make.policy("block port:80"), make.seen(proto=proto, port=None)).verdict == word


@pytest.mark.parametrize("text", ["65536", "90-80", "80-", "-80", "x", "8_0", "٨٠", "+80", "1-2-3"])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(ExpressionError, match="is no port"):
        parse_rule(f"port:{text}")
