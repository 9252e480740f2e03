from __future__ import annotations

import tomllib

import pytest

from rules.places import Places


@pytest.mark.parametrize(("text", "key", "offset", "place"), [
    ('[[rule]]\nmatch = "port:80 x"', "match", 8, (2, 18)),
    ("[[rule]]\n  match='a x'", "match", 2, (2, 12)),
    ('[[rule]]\nmatch = "phone:\\"a b\\" x"', "match", 12, (2, 24)),  # each \" is two characters of the file
    ('[[rule]]\nmatch = "\\u00e9\\U0001F600 x"', "match", 3, (2, 27)),
    ('[[rule]]\nmatch = """\na x"""', "match", 2, (3, 3)),
    ("[[rule]]\nmatch = '''a\nb x'''", "match", 4, (3, 3)),
    ('[[rule]]\nmatch = """a\\\n   b x"""', "match", 3, (3, 6)),
    ('[[rule]]\nnote = """\n[[rule]]\nmatch = "no"\n"""\nmatch = "x"', "match", 0, (6, 10)),
    ('# [[rule]]\n[[ rule ]] # match = "no"\nenabled = true', "enabled", 0, (3, 11)),
    ("[[rule]]\r\nnote = 'a'\r\nmatch = 'x'", "match", 0, (3, 10)),
    ("[[rule]]\nnote = 'match = 1'", "match", 0, (1, 0)),  # no such key: the rule's header
    ("rule = [{match = 'x'}]", "match", 0, (0, 0)),
])
def test_a_place_is_that_of_the_character(text: str, key: str, offset: int, place: tuple[int, int]) -> None:
    tomllib.loads(text)
    assert Places(text).value(0, key, offset) == place


def test_each_rule_has_its_own_keys() -> None:
    text = "[[rule]]\nmatch='a'\n\n[[rule]]\nmatch='b'"
    assert [Places(text).value(rule, "match") for rule in (0, 1, 2)] == [(2, 8), (5, 8), (0, 0)]


def test_what_stands_outside_of_rules() -> None:
    text = "# rule\ntitle = 'rule'\n[rule]\n"
    assert (Places(text).top("title"), Places(text).top("rule"), Places(text).top("none")) == (2, 3, 0)
