from __future__ import annotations

from rules.decide import decide


def test_phones_are_called_by_their_whole_name(make) -> None:
    policy = make.policy('block phone:"tv upstairs",anna')
    assert [str(decide(policy, make.seen(phone=phone)).verdict) for phone in ("tv upstairs", "anna", "tv", "Anna")] == ["block", "block", "allow", "allow"]


def test_an_unknown_phone_could_be_any(make) -> None:
    assert decide(make.policy("block phone:anna"), make.seen(phone=None)).verdict == "held"
    assert decide(make.policy("allow phone:anna", "block"), make.seen(phone=None)).verdict == "held"
