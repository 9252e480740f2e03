import pytest

from tui.forecast import forecast, sentence
from tui.glyphs import ASCII, UNICODE


@pytest.mark.parametrize(("told", "said"), [
    ({"changed": 14, "of": 2210, "cut": 2}, "the last 24 h: 14 of 2,210 decisions would change; 2 live flows are cut"),
    ({"changed": 1, "of": 1, "cut": 1}, "the last 24 h: 1 of 1 decision would change; 1 live flow is cut"),
    ({"changed": 0, "of": 2210, "cut": 0}, "the last 24 h: none of 2,210 decisions would change; no live flow is cut"),
    ({"changed": 0, "of": 0, "cut": 0}, "the last 24 h: nothing was decided; no live flow is cut"),
])
def test_what_would_change_in_one_sentence(told, said):
    assert sentence(told) == said


def test_warnings_and_examples_are_a_line_each():
    told = {"changed": 1, "of": 2, "cut": 0, "warnings": ["rule 3 stands above"], "examples": [{"phone": "phone1", "what": "a.example", "before": "allow", "after": "block", "last": 0}]}
    assert forecast(told, 76, UNICODE).plain.split("\n")[1:] == ["! rule 3 stands above", "✔ allow becomes ✖ block  phone1  a.example"]
    assert forecast(told, 76, ASCII).plain.isascii()


def test_what_phones_say_is_written_out():
    told = {"examples": [{"phone": "[b]\x1b", "what": "\u202e[/]", "before": "\x07", "after": "block"}], "warnings": ["\x1b[0m"]}
    assert not set("\x1b\u202e\x07") & set(forecast(told, 76, UNICODE).plain)
