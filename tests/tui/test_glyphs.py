import pytest

from tui.glyphs import ASCII, UNICODE, choose


@pytest.mark.parametrize(
    ("encoding", "term", "glyphs"),
    [
        ("UTF-8", "xterm-256color", UNICODE), ("utf8", "screen", UNICODE), ("ANSI_X3.4-1968", "xterm", ASCII),
        ("ISO-8859-1", "xterm", ASCII), ("UTF-8", "linux", ASCII), ("UTF-8", "dumb", ASCII),
    ],
)
def test_shapes_are_what_the_terminal_can_draw(encoding, term, glyphs):
    assert choose(encoding, term) is glyphs
