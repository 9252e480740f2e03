from __future__ import annotations

import pytest

from rules.expression import ExpressionError, parse_rule
from rules.matchers.via import ways


@pytest.mark.parametrize(("facts", "words"), [
    ({}, {"none"}),
    ({"open_": True}, set()),
    ({"dns": "a"}, {"dns"}),
    ({"dns": "a", "open_": True}, {"dns"}),
    ({"dns": [("a",), ("b",)]}, {"dns", "ambiguous"}),
    ({"dns": [("a",), ("b",)], "open_": True}, {"dns"}),
    ({"dns": [("a",), ("b",)], "sni": "a"}, {"dns", "sni"}),
    ({"sni": "a", "http": "b"}, {"sni", "http"}),
    ({"unfinished": True}, {"unfinished"}),
    ({"unfinished": True, "dns": "a"}, {"unfinished", "dns"}),
])
def test_how_a_name_was_learnt(make, facts, words: set[str]) -> None:
    assert ways(make.seen(**facts)) == words


def test_other_words_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ExpressionError, match="no way to learn a name") as caught:
        parse_rule("via:dns,quic")
    assert caught.value.remedy == "one of dns, sni, http, ambiguous, none, unfinished"
