from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.expression import ExpressionError, parse_filter, parse_narrowing, parse_rule
from rules.matchers.word import WordMatcher


def test_one_of_the_words_somewhere_in_whatever_case() -> None:
    matcher = WordMatcher.parse(("TV", "straße"))
    assert [matcher.found(text) for text in ("a tv upstairs", "STRASSE 4", "t v", "")] == [True, True, False, False]


def test_it_stands_in_filters_only() -> None:
    with pytest.raises(ExpressionError, match="'tv' is no term"):
        parse_rule("tv")
    assert str(parse_filter("tv -last:1h").expression) == '"tv" -last:1h'
    with pytest.raises(ExpressionError, match="unknown term 'tv'") as told:
        parse_filter("tv:x")
    assert "a word with a colon stands in quotes" in told.value.remedy


@given(st.lists(st.text(st.characters(exclude_categories=("C", "Z")) | st.sampled_from(' ,":-'), min_size=1), min_size=1, max_size=3), st.booleans())
def test_what_is_printed_can_be_parsed(words, negated) -> None:
    text = ("-" if negated else "") + ",".join('"{}"'.format(word.replace('"', '""')) for word in words)
    wanted = parse_narrowing(text, ("phone",))
    assert (wanted.terms[0].matcher, wanted.terms[0].negated) == (WordMatcher(tuple(words)), negated)
    assert parse_narrowing(str(wanted), ()) == wanted
