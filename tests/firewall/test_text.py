from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from firewall.text import inert


def test_what_acts_is_shown_and_does_not_act() -> None:
    assert inert("a\x1b[31m\u202eb") == "a‹U+001B›[31m‹U+202E›b"
    assert inert("münchen.example") == "münchen.example"


@given(st.text())
def test_nothing_that_acts_is_left(text: str) -> None:
    assert inert(text).isprintable()
    assert inert(inert(text)) == inert(text)
