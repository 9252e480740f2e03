from __future__ import annotations

from rules.decide import decide


def test_a_group_by_its_whole_name(make) -> None:
    policy = make.policy('block group:kids,"the guests"')
    assert [str(decide(policy, make.seen(group=group)).verdict) for group in ("kids", "the guests", "kid", "", None)] == ["block", "block", "allow", "allow", "held"]


def test_outside_a_group(make) -> None:
    policy = make.policy("block -group:home")
    assert [str(decide(policy, make.seen(group=group)).verdict) for group in ("home", "kids", "", None)] == ["allow", "block", "block", "held"]


def test_a_group_lists_no_address(make) -> None:
    """What a phone's hello says opens for it, though a rule refuses the rest of its group."""
    policy = make.policy("allow name:good.example", "block group:kids")
    assert decide(policy, make.seen(sni="good.example", group="kids")).verdict == "allow"
