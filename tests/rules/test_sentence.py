from __future__ import annotations

import pytest

from rules.expression import ExpressionError
from rules.sentence import parse_sentence


@pytest.mark.parametrize("text", ["allow", "block name:example.com phone:phone1", 'ask phone:"tv upstairs" -port:443'])
def test_what_is_printed_can_be_parsed(text: str) -> None:
    assert str(parse_sentence(f"  {text} ")) == text


@pytest.mark.parametrize(("text", "start", "end", "said"), [
    ("", 0, 0, "a rule begins with one of allow, ask, block"),
    ("blok name:a.example", 0, 4, "did you mean block?"),
    ("name:a.example", 0, 14, "a rule begins with one of"),
    (" block nam:x", 7, 10, "did you mean name:?"),
    ("ask service:xiaomi-acount", 12, 25, "did you mean xiaomi-account?"),
    ("allow verdict:block", 6, 13, "filters the history"),
])
def test_what_is_wrong_is_said_at_its_place(text: str, start: int, end: int, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_sentence(text, ["xiaomi-account"])
    assert (caught.value.start, caught.value.end) == (start, end)
    assert said in caught.value.remedy
