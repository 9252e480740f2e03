from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.completion import Vocabulary, completions
from rules.expression import IN_FILTERS, parse_filter

WORDS = Vocabulary.from_json({
    "services": [{"id": "xiaomi-account", "title": "Xiaomi account and messaging"}, {"id": "xiaomi-ads", "title": "Xiaomi advertising"}],
    "phones": ["anna", "tv upstairs"], "groups": ["strict"],
})


def typed(text: str, *, rule: bool = True) -> list[str]:
    """The lines that the completions would make."""
    return [text[: one.start] + one.text + text[one.end :] for one in completions(text, len(text), WORDS, rule=rule)]


@pytest.mark.parametrize(("text", "first"), [
    ("", "allow "), ("bl", "block "), ("block ser", "block service:"), ("block -po", "block -port:"),
    ("block service:", "block service:xiaomi-account"), ("block service:xiaomi-account,adv", "block service:xiaomi-account,xiaomi-ads"),
    ('block phone:"tv u', 'block phone:"tv upstairs"'), ("block phone:tv", 'block phone:"tv upstairs"'),
    ("ask proto:t", "ask proto:tcp"), ("block via:non", "block via:none"),
])
def test_the_best_one_stands_first(text: str, first: str) -> None:
    assert typed(text)[0] == first


def test_filters_have_their_own_terms_and_no_action() -> None:
    assert typed("ver", rule=False) == ["verdict:"]
    assert typed("verdict:refu", rule=False) == ["verdict:refused"]
    assert typed("block ver") == []
    assert typed("block nix:") == []


def test_only_what_stands_before_the_cursor_counts() -> None:
    found = completions("block serv port:443", 10, WORDS)
    assert (found[0].start, found[0].end, found[0].text) == (6, 10, "service:")


@given(st.text("abv:-,\" phoneservic", max_size=30), st.booleans())
def test_nothing_that_is_typed_makes_it_raise(text: str, rule: bool) -> None:
    for cursor in range(len(text) + 1):
        for one in completions(text, cursor, WORDS, rule=rule):
            assert 0 <= one.start <= one.end == cursor


@pytest.mark.parametrize("key", sorted(IN_FILTERS))
def test_every_value_that_is_offered_can_be_used(key: str) -> None:
    for one in completions(f"{key}:", len(key) + 1, WORDS, rule=False):
        parse_filter(f"{key}:{one.text}")
