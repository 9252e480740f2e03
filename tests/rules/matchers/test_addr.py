from __future__ import annotations

import pytest

from rules.decide import decide
from rules.expression import ExpressionError, parse_rule


@pytest.mark.parametrize(("addr", "word"), [
    ("192.0.2.0", "block"), ("192.0.2.255", "block"), ("192.0.3.0", "allow"), ("198.51.100.7", "block"), ("198.51.100.8", "allow"),
    ("2001:db8::1", "block"), ("2001:db9::", "allow"), ("::ffff:192.0.2.9", "block"), ("64:ff9b::c000:209", "block"), ("2002:c000:209::", "block"), ("2002:c000:309::", "allow"),
])
def test_networks_addresses_and_ipv4_in_ipv6(make, addr: str, word: str) -> None:
    assert decide(make.policy("block addr:192.0.2.0/24,198.51.100.7,2001:db8::/32"), make.seen(addr=addr)).verdict == word


def test_before_the_address_is_known_nothing_is(make) -> None:
    for rule in ("block addr:192.0.2.0/24", "block -addr:192.0.2.0/24"):
        assert decide(make.policy(rule), make.seen(addr=None, open_=True)).verdict == "held"


def test_bits_beyond_the_prefix_are_refused_with_what_was_meant() -> None:
    with pytest.raises(ExpressionError, match=r"did you mean 10\.0\.0\.0/8") as caught:
        parse_rule("port:80 addr:192.0.2.1,10.0.0.1/8")
    assert (caught.value.start, caught.value.end) == (23, 33)
