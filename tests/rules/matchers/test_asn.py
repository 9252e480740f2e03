from __future__ import annotations

import pytest

from rules.decide import decide
from rules.expression import ExpressionError, parse_rule
from rules.observation import Place


def test_networks_by_their_number(make) -> None:
    policy = make.policy("block asn:AS24406,23724")
    places = (Place("CN", "CN", 24406), Place("CN", "CN", 23724), Place("CN", "CN", 18245), Place(), Place(asn=None), None)
    assert [str(decide(policy, make.seen(place=place)).verdict) for place in places] == ["block", "block", "allow", "allow", "block", "held"]


@pytest.mark.parametrize(("written", "read"), [("AS4538", "4538"), ("as1", "1"), ("04538", "4538"), ("4294967295", "4294967295")])
def test_both_ways_to_write_it(written: str, read: str) -> None:
    assert str(parse_rule(f"asn:{written}")) == f"asn:{read}"


@pytest.mark.parametrize("text", ["0", "4294967296", "AS", "ASAS1", "-1", "CNNIC", "٤", "1.5", "1" * 400])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ExpressionError, match="is no AS number"):
        parse_rule(f"asn:{text}")
