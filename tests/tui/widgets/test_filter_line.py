import pytest

from rules.expression import ExpressionError, parse_filter
from tui.widgets.filter_line import pointing


def error(text):
    with pytest.raises(ExpressionError) as caught:
        parse_filter(text)
    return caught.value


def test_the_mark_stands_under_the_character():
    assert pointing(error("verdict:refused nam:x"), 78).startswith(" " * 16 + "^^^ unknown term 'nam'")


def test_at_the_right_edge_the_words_stand_before_the_mark():
    text = "name:" + "a" * 60 + ".example.com verdict:no"
    line = pointing(error(text), 78)
    assert "no verdict" in line
    assert line.rindex("^^") == text.index("no", 70)
