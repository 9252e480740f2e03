from __future__ import annotations

import pytest

from rules.decide import decide
from rules.matchers.name import parse_pattern


@pytest.mark.parametrize(("pattern", "name", "word"), [
    ("miui.com", "miui.com", "block"), ("miui.com", "a.b.miui.com", "block"), ("miui.com", "notmiui.com", "allow"), ("miui.com", "miui.com.evil.example", "allow"),
    ("=miui.com", "miui.com", "block"), ("=miui.com", "a.miui.com", "allow"), ("com", "miui.com", "block"), ("MIUI.Com.", "miui.com", "block"),
])
def test_a_name_means_itself_and_everything_below(make, pattern: str, name: str, word: str) -> None:
    policy = make.policy(f"block name:{pattern}")
    assert decide(policy, make.seen(sni=name)).verdict == word
    assert decide(policy, make.seen(http=name)).verdict == word
    assert decide(policy, make.seen(dns=name)).verdict == word


@pytest.mark.parametrize(("text", "words"), [
    ("*.miui.com", "is written 'miui.com' here"), ("192.0.2.1", "addresses stand behind addr:"), ("", "no host name"), ("=", "no host name"), ("==a", "no host name"), ("http://a", "no host name"), ("a.*", "no host name"),
])
def test_what_is_no_name_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace(".", r"\.")):
        parse_pattern(text)


def test_to_open_a_listed_address_a_name_needs_our_own_answer(make) -> None:
    policy = make.policy("allow name:good.example", "block addr:192.0.2.0/24")
    assert decide(policy, make.seen(addr="192.0.2.1", sni="good.example")).verdict == "block"
    assert decide(policy, make.seen(addr="192.0.2.1", dns="good.example")).verdict == "allow"
    assert decide(policy, make.seen(addr="198.51.100.1", sni="good.example")).verdict == "allow"


def test_a_negated_name_over_a_listed_address_needs_proof_of_the_exception_too(make) -> None:
    policy = make.policy("block addr:192.0.2.0/24 -name:good.example")
    assert decide(policy, make.seen(addr="192.0.2.1", sni="good.example")).verdict == "block"
    assert decide(policy, make.seen(addr="192.0.2.1", dns="good.example", sni="good.example")).verdict == "allow"


def test_allowing_all_but_a_name_means_that_nobody_says_it(make) -> None:
    policy = make.policy("allow -name:bad.example", "block")
    assert decide(policy, make.seen()).verdict == "allow"
    assert decide(policy, make.seen(dns="bad.example", sni="good.example")).verdict == "block"


def test_a_name_that_is_only_claimed_waits_for_the_address(make) -> None:
    rules = make.policy("allow name:good.com", "block addr:42.62.48.0/24", "block country:CN")
    assert decide(rules, make.seen(addr=None, place=None, sni="good.com")).verdict == "held"
    assert decide(rules, make.seen(place=None, sni="good.com")).verdict == "held"
    assert decide(rules, make.seen(addr=None, place=None, sni="good.com", dns="good.com")).verdict == "allow"
