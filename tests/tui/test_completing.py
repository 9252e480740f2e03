from __future__ import annotations

import pytest

from rules.completion import Completion, Vocabulary
from rules.expression import ExpressionError
from tui.completing import complete, offer, possible, unfinished
from tui.glyphs import ASCII, UNICODE

KNOWN = Vocabulary(services=(("xiaomi-account", "Xiaomi account"), ("xiaomi-ads", "Xiaomi advertising")), phones=("anna's pixel",))


class Box:
    """What a Textual Input is asked for."""

    def __init__(self, value, cursor=None):
        self.value, self.cursor_position = value, len(value) if cursor is None else cursor


@pytest.mark.parametrize(("typed", "then"), [
    ("b", "block "), ("block ser", "block service:"), ("block service:x", "block service:xiaomi-a"),
    ("block service:xiaomi-a", "block service:xiaomi-account"), ("block phone:", 'block phone:"anna\'s pixel"'),
    ("block -ser", "block -service:"), ("block nonsense:", "block nonsense:"),
])
def test_tab_writes_as_far_as_it_is_certain(typed, then):
    box = Box(typed)
    complete(box, possible(box, KNOWN, rule=True))
    assert (box.value, box.cursor_position) == (then, len(then))


def test_what_stands_behind_the_cursor_stays():
    box = Box("block ser port:443", 9)
    complete(box, possible(box, KNOWN, rule=True))
    assert box.value == "block service: port:443"
    assert box.cursor_position == len("block service:")


@pytest.mark.parametrize(("start", "end", "no_mistake"), [(6, 9, True), (5, 10, True), (0, 5, False), (6, 15, False)])
def test_a_word_that_can_become_one_is_no_mistake_yet(start, end, no_mistake):
    found = [Completion(6, 9, "service:", "")]
    assert unfinished(ExpressionError("", start, end), found) is no_mistake
    assert not unfinished(ExpressionError("", start, end), [])


def test_one_offer_says_what_it_means_and_many_fit_the_line():
    assert offer([Completion(0, 1, "block ", "refuse")], 40, UNICODE).plain == "tab: block  refuse"
    many = offer([Completion(0, 1, f"service-{n}", "") for n in range(9)], 40, ASCII).plain
    assert len(many) == 40
    assert many.isascii()
    assert "\x1b" not in offer([Completion(0, 1, "a\x1b", "[red]")], 40, ASCII).plain
