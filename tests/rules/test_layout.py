from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.layout import Layout

LINES = st.sampled_from([
    "# head", "", "  ", "[[rule]]", "[[ rule ]]  # why", "[packs]", 'action = "block"', "match = '''", "'''", 'note = """a', '"""',
    "# [[rule]]", 'x = "# no comment"', "y = [", "  [1],", "]", "match = \"[[rule]]\"", "\t# tab",
])


@given(st.lists(LINES, max_size=25), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_what_is_cut_can_be_put_together_again(lines: list[str], newline: str, ended: bool) -> None:
    text = newline.join(lines) + (newline if ended else "")
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert str(Layout.of(text)) == text


TEXT = '''# head
# of the file

# about one
[[rule]]  # first
action = "allow"
match = """
[[rule]]
"""
# still one

# a section

# about two
[[rule]]
action = "block"
match = ''
[packs]
off = []
'''


def test_pieces_are_tables_with_the_comments_right_above() -> None:
    layout = Layout.of(TEXT)
    assert [piece.kind for piece in layout.pieces] == ["[[rule", "[[rule", "[packs"]
    assert layout.head == "# head\n# of the file\n\n"
    assert layout.pieces[0].core.startswith("# about one\n[[rule]]")
    assert layout.pieces[0].core.endswith("# still one\n")
    assert layout.pieces[0].gap == "\n# a section\n\n"


def test_a_rule_moves_with_its_comments_and_sections_stay() -> None:
    layout = Layout.of(TEXT)
    layout.move(1, 0)
    assert str(layout).startswith("# head\n# of the file\n\n# about two\n[[rule]]\n")
    assert "# a section\n\n# about one\n[[rule]]  # first\n" in str(layout)
    assert [piece.core for piece in Layout.of(str(layout)).rules()] == [piece.core for piece in layout.rules()]


@pytest.mark.parametrize(("value", "written"), [
    ("name:a", 'match = "name:a"'), ('phone:"tv"', "match = 'phone:\"tv\"'"), ("a'\"\n", 'match = "a\'\\"\\n"'),
])
def test_a_value_is_replaced_and_the_comment_on_its_line_stays(value: str, written: str) -> None:
    layout = Layout.of('[[rule]]\naction="ask"\nmatch   = "" # all\n# end')
    layout.set(layout.rules()[0], "match", value)
    assert str(layout) == f'[[rule]]\naction="ask"\n{written.replace("match =", "match   =")} # all\n# end'


def test_a_new_key_stands_behind_the_last_one() -> None:
    layout = Layout.of('[[rule]]\r\naction = "ask"\r\nmatch = ""\r\n# end')
    layout.set(layout.rules()[0], "note", "n")
    assert str(layout) == '[[rule]]\r\naction = "ask"\r\nmatch = ""\r\nnote = "n"\r\n# end'
    layout.set(layout.rules()[0], "note", None)
    assert str(layout) == '[[rule]]\r\naction = "ask"\r\nmatch = ""\r\n# end'
