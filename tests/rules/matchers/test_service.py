from __future__ import annotations

import pytest

from rules.decide import decide
from rules.expression import ExpressionError, parse_rule

OURS, THEIRS = "42.62.48.9", "198.51.100.9"  # an address of xiaomi-account's own, and any other
NAME = "api.account.xiaomi.com"


@pytest.mark.parametrize(("facts", "refused", "opened"), [
    # who refuses a service refuses its names and its addresses; who opens it opens what nothing speaks against
    ({"addr": OURS}, True, True),
    ({"addr": OURS, "sni": NAME}, True, True),
    ({"addr": OURS, "dns": NAME}, True, True),
    ({"addr": OURS, "sni": "other.example"}, True, False),
    ({"addr": OURS, "dns": NAME, "sni": "other.example"}, True, False),
    ({"addr": THEIRS, "sni": NAME}, True, True),
    ({"addr": THEIRS, "dns": "other.example", "sni": NAME}, True, False),
    ({"addr": THEIRS, "dns": [(NAME,), ("other.example",)]}, True, False),
    ({"addr": THEIRS, "sni": "other.example"}, False, False),
    ({"addr": THEIRS}, False, False),
])
def test_names_and_networks_of_a_service(make, facts, refused: bool, opened: bool) -> None:  # noqa: FBT001
    seen = make.seen(**facts)
    assert decide(make.policy("block service:xiaomi-account", services=True), seen).verdict.refuses is refused
    assert decide(make.policy("allow service:xiaomi-account", "block", services=True), seen).verdict.refuses is not opened


def test_a_claim_opens_a_service_only_on_addresses_of_its_own(make) -> None:
    policy = make.policy("allow service:xiaomi-account", "block addr:198.51.100.0/24,42.62.48.0/24", services=True)
    assert decide(policy, make.seen(addr=OURS, sni=NAME)).verdict == "allow"
    assert decide(policy, make.seen(addr=THEIRS, sni=NAME)).verdict == "block"
    assert decide(policy, make.seen(addr=THEIRS, dns=NAME)).verdict == "allow"


@pytest.mark.parametrize(("facts", "word"), [({"dns": NAME}, "block"), ({"dns": "other.example"}, "held"), ({"addr": OURS}, "block"), ({"addr": THEIRS}, "held")])
def test_while_something_is_missing(make, facts, word: str) -> None:
    seen = make.seen(**{"addr": None, "open_": True} | facts)
    assert decide(make.policy("block service:xiaomi-account", services=True), seen).verdict == word


def test_a_service_that_nobody_knows_is_told_with_its_place() -> None:
    with pytest.raises(ExpressionError, match="unknown service 'xiaomi-acount'") as caught:
        parse_rule("port:80 service:xiaomi-ads,xiaomi-acount", ["xiaomi-account", "xiaomi-ads"])
    assert (caught.value.start, caught.value.end, caught.value.remedy) == (27, 40, "did you mean xiaomi-account?")
    with pytest.raises(ExpressionError, match="no service id"):
        parse_rule('service:"xiaomi account"')
