from __future__ import annotations

import pytest

from tui import consenting
from tui.glyphs import ASCII, UNICODE


def test_what_is_left_shrinks_with_the_time_that_passes(consent):
    one = consent(1, life="1h", left=1_800.0)
    assert consenting.left(one, 0.0) == 1_800.0
    assert consenting.share(one, 0.0) == 0.5
    assert consenting.share(one, 900.0) == 0.25
    assert consenting.remaining(one, 900.0) == "15 min"
    assert (consenting.left(one, 2_000.0), consenting.share(one, 2_000.0), consenting.remaining(one, 2_000.0)) == (0.0, 0.0, "ends now")


def test_until_tomorrow_is_measured_against_its_own_span(consent):
    assert consenting.share(consent(1, life="tomorrow", left=1_600.0), 0.0) == pytest.approx(0.5)


@pytest.mark.parametrize(("life", "words"), [("revoked", "until revoked"), ("once", "one flow")])
def test_what_has_no_end_does_not_shrink(consent, life, words):
    one = consent(1, life=life, left=None)
    assert consenting.share(one, 1e6) == 1.0
    assert consenting.remaining(one, 1e6) == words


def test_what_is_suspended_does_not_run_down(consent):
    one = consent(1, left=1_800.0, state="suspended")
    assert consenting.left(one, 1e6) == 1_800.0
    assert consenting.remaining(one, 1e6) == "waits: clock"
    assert "the time is not known, nothing passes" in text(one)


def test_what_has_ended_has_nothing_left(consent):
    one = consent(1, state="ended", left=None, why="revoked by anna")
    assert consenting.share(one, 0.0) == 0.0
    assert consenting.remaining(one, 0.0) == "ended"


@pytest.mark.parametrize(("part", "bar"), [(0.0, "░░░░░░"), (0.001, "█░░░░░"), (0.5, "███░░░"), (0.999, "█████░"), (1.0, "██████")])
def test_a_bar_is_never_empty_while_something_is_left_nor_full_when_something_is_gone(part, bar):
    assert consenting.bar(part, 6, UNICODE) == bar


def test_a_bar_without_unicode():
    assert consenting.bar(0.5, 4, ASCII) == "##--"


def text(one, width=78):
    return "\n".join(line.plain for line in consenting.in_full(one, 0.0, one["given"] + 60, width, UNICODE))


def test_in_full(consent):
    told = text(consent(1))
    for words in ("◆ redmi-1s may reach Xiaomi account and messaging  service:xiaomi-account", "given by anna on tui: asks, ", "for: 1 h", "33 min left, until ", "used: 3 flows, 4.1k up, 900 down"):
        assert words in told
    assert "not used yet" in text(consent(1, flows=0))
    assert "group family may reach" in text(consent(1, slot=0))


def test_in_full_says_why_it_ended(consent):
    told = text(consent(1, state="ended", why="revoked by root", left=None) | {"ended": 1_000_000.0})
    assert "could reach" in told
    assert ": revoked by root" in told
    assert "never used" in text(consent(1, state="ended", flows=0))


def test_text_of_others_is_inert_and_fits(consent):
    hostile = consent(1, "[b]p\u202e", "x\x1b" * 60, who="[red]w", why="\u2066" * 30, state="ended") | {"screen": "s\x07"}
    told = text(hostile, 60)
    assert not set("\x1b\x07\u202e\u2066") & set(told)
    assert "[b]p‹U+202E›" in told
    assert all(len(line) <= 60 for line in told.splitlines())
