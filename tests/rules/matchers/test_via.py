from __future__ import annotations

import pytest

from rules.expression import ExpressionError, parse_rule
from rules.index import Index
from rules.matchers.via import WORDS, ViaMatcher
from rules.observation import Observation, Sign, Source
from rules.verdict import Answer


def ways(seen: Observation) -> set[str]:
    """The words of which a term says that they hold."""
    terms = [ViaMatcher((word,)) for word in WORDS]
    case = Index([term.atom() for term in terms]).look_up(seen, 0)
    answers = {term.values[0]: term.test(case, 1 << at, opening=False) for at, term in enumerate(terms)}
    assert (Answer.NOT_YET in answers.values()) == seen.names_open
    return {word for word, answer in answers.items() if answer is Answer.YES}


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
        parse_rule("via:dns,smoke")
    assert caught.value.remedy == f"one of {', '.join(WORDS)}"


def test_every_source_and_sign_is_a_word() -> None:
    assert {*map(str, Source), *map(str, Sign)} <= set(WORDS)


def test_signs_hold_beside_names_and_do_not_stand_for_one(make) -> None:
    tunnel = make.seen()._replace(signs=(Sign.TUNNEL,))
    assert ways(tunnel) == {"none", "tunnel"}
    assert ways(make.seen(sni="a")._replace(signs=(Sign.HIDDEN,))) == {"sni", "hidden"}
    assert ways(tunnel._replace(names_open=True)) == {"tunnel"}
