from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from firewall.text import inert
from rules.observation import Place, Sign
from tui import format as f
from tui.glyphs import ASCII, UNICODE

labels = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True)
names = st.lists(labels, min_size=1, max_size=8).map(".".join)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (812, "812"), (999, "999"), (1000, "1.0k"), (1229, "1.2k"), (14_336, "14k"), (1_048_576, "1.0M"), (5 << 40, "5.0T")],
)
def test_sizes_are_short(number, text):
    assert f.size(number) == text


@given(st.integers(min_value=0, max_value=1 << 59))
def test_sizes_fit_their_column(number):
    assert len(f.size(number)) <= 5
    assert len(f.size(number, 1000)) <= 5


def test_counts_carry_their_noun():
    assert f.count(1, "episode") == "1 episode"
    assert f.count(1204, "episode") == "1,204 episodes"
    assert f.count(2, "try", "tries") == "2 tries"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (41.4, "41 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (200_000, "2 d"), (-3, "0 s")])
def test_durations(seconds, text):
    assert f.duration(seconds) == text


def test_a_moment_is_the_more_exact_the_nearer():
    noon = datetime(2026, 11, 20, 12, 0, 5).astimezone()
    now = noon.timestamp()
    assert f.moment(now, now) == "12:00:05"
    assert f.moment((noon - timedelta(days=1)).timestamp(), now) == "Thu 12:00"
    assert f.moment((noon - timedelta(days=30)).timestamp(), now) == "21 Oct 26"


def test_a_name_is_cut_in_the_middle_and_keeps_what_was_registered():
    assert f.cut_name("api.account.xiaomi.com", 14) == "api…xiaomi.com"
    assert f.cut_name("a.very.long.name.bbc.co.uk", 13) == "a.v…bbc.co.uk"
    assert f.cut_name("a.very.long.name.someone.github.io", 21) == "a.v…someone.github.io"  # github.io lends names to anybody
    assert f.cut_name("api.account.xiaomi.com", 40) == "api.account.xiaomi.com"


def test_a_registered_domain_that_does_not_fit_loses_its_end_in_sight():
    """Never its beginning: `evil-xiaomi.com` must not look like a cut `xiaomi.com`."""
    assert f.cut_name("www.evil-xiaomi.com", 10) == "evil-xiao…"


@given(names, st.integers(min_value=0, max_value=60))
def test_cut_names_fit_and_are_honest(name, width):
    cut = f.cut_name(name, width)
    assert cell_len(cut) <= width
    if cut != name and cut:
        assert cut.count("…") == 1
        head, tail = cut.split("…")
        assert name.startswith(head) or not tail
        assert not tail or (name.endswith("." + tail) and "." in tail)


@given(st.text(max_size=80), st.integers(min_value=0, max_value=40))
def test_whatever_a_phone_says_fits_its_column(text, width):
    assert cell_len(f.cut(inert(text), width)) <= width
    assert cell_len(f.cut_name(inert(text), width)) <= width
    assert cell_len(f.fit(inert(text), width)) == width


@given(st.text(max_size=80))
def test_nothing_that_acts_reaches_the_screen(text):
    shown = f.cut_name(inert(text), 60)
    assert not any(ord(c) < 32 or ord(c) == 127 or "\u202a" <= c <= "\u202e" or "\u2066" <= c <= "\u2069" for c in shown)


def test_a_sparkline_tells_nothing_from_something():
    assert f.sparkline([0, 1, 1000], 10) == "▁▂█"
    assert f.sparkline([0, 0], 10) == "▁▁"
    assert f.sparkline([1, 2, 3], 2) == "▆█"
    assert f.sparkline([5], 0) == ""
    assert f.sparkline([0, 9], 2, ASCII.ramp) == "_#"


@given(st.lists(st.integers(min_value=0, max_value=10**9), max_size=80), st.integers(min_value=0, max_value=30))
def test_a_sparkline_has_one_glyph_a_value(values, width):
    line = f.sparkline(values, width)
    assert len(line) == min(len(values), width)
    assert all((glyph == "▁") == (value == 0) for glyph, value in zip(line, values[len(values) - len(line) :], strict=True))


@given(st.dictionaries(st.integers(0, 59), st.integers(1, 100)), st.integers(1, 30))
def test_a_series_loses_no_try(tries, width):
    bins = f.series(tries, width)
    assert sum(bins) == sum(tries.values())
    assert len(bins) <= width


def test_where_it_went(episode):
    assert f.what(episode(1, "a.example.com"), 30) == "a.example.com"
    assert f.what(episode(1, "a.example.com", port=5222), 30) == "a.example.com:5222"
    assert f.what(episode(1, dst="2001:db8::1"), 30) == "[2001:db8::1]:443"
    assert f.what(episode(1, dst="1.2.4.8", port=0), 30) == "1.2.4.8"
    assert cell_len(f.what(episode(1, "a.example.com", port=65535), 3)) <= 6
    assert f.what(episode(1, "a.example.com", port=1194, signs=(Sign.TUNNEL,)), 30) == "a.example.com:1194 (tunnel)"
    assert f.what(episode(1, dst="1.2.4.8", signs=(Sign.TUNNEL,)), 22) == "1.2.4.8:443 (tunnel)"
    assert cell_len(f.what(episode(1, "a.very.long.name.of.example.com", port=1194, signs=(Sign.TUNNEL,)), 30)) <= 30


def test_a_clock_is_local():
    now = time.time()
    assert f.clock(now) == time.strftime("%H:%M:%S", time.localtime(now))


def test_both_sets_of_shapes_tell_everything_apart():
    for glyphs in (UNICODE, ASCII):
        assert len(set(glyphs.verdicts.values())) == len(glyphs.verdicts)
        assert len(set(glyphs.states.values())) == len(glyphs.states)
        assert len(set(glyphs.ramp)) == 8
    assert "".join((*ASCII.verdicts.values(), *ASCII.states.values(), ASCII.ramp, ASCII.ellipsis)).isascii()


@pytest.mark.parametrize(("row", "where"), [
    ((Place("CN", "CN", 4808, "China Unicom"), "xiaomi"), ("CN", "xiaomi")),
    ((Place("US", "US", 15169, "Google LLC"), ""), ("US", "Google LLC")),
    ((Place(None, None, None, ""), ""), ("", "")),  # no valid database
])
def test_where_a_row_went(episode, row, where):
    assert f.place(replace(episode(1), place=row[0], operator=row[1])) == where
