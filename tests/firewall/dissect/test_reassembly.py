from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from firewall.dissect.reassembly import MOST_PIECES, Reassembly

TEXT = bytes(range(256)) * 4


def test_in_order_goes_straight_through():
    stream = Reassembly()
    assert [stream.add(at, TEXT[at : at + 100]) for at in (0, 100, 200)] == [TEXT[:100], TEXT[100:200], TEXT[200:300]]
    assert (stream.end, stream.gaps, stream.disagrees, stream.overflows) == (300, False, False, False)


def test_reversed():
    stream = Reassembly()
    assert [stream.add(at, TEXT[at : at + 10]) for at in (20, 10)] == [b"", b""]
    assert stream.gaps
    assert stream.add(0, TEXT[:10]) == TEXT[:30]


def test_a_repeat_says_nothing_new():
    stream = Reassembly()
    stream.add(0, b"abc")
    assert (stream.add(0, b"abc"), stream.add(1, b"bcd"), stream.disagrees) == (b"", b"d", False)


def test_an_overlap_that_disagrees_is_told_and_the_first_counts():
    behind = Reassembly()
    behind.add(0, b"abc")
    assert behind.add(1, b"Xcd") == b"d"
    assert behind.disagrees
    ahead = Reassembly()
    ahead.add(2, b"cd")
    ahead.add(1, b"bXYe")
    assert ahead.add(0, b"a") == b"abcde"
    assert ahead.disagrees


def test_what_lies_between_two_pieces_is_filled():
    stream = Reassembly()
    stream.add(2, b"c")
    stream.add(5, b"f")
    assert stream.add(0, b"abcdefg") == b"abcdefg"
    assert not stream.disagrees


def test_what_is_too_far_ahead_is_forgotten():
    stream = Reassembly(most=10)
    assert stream.add(8, b"abcd") == b""
    assert stream.overflows
    assert stream.add(0, bytes(8)) == bytes(8) + b"ab"


def test_too_many_pieces():
    stream = Reassembly()
    for at in range(MOST_PIECES + 5):
        stream.add(2 + 2 * at, b"x")
    assert stream.overflows
    assert stream.add(0, b"..") == b"..x"


def test_a_long_stream_keeps_little():
    stream = Reassembly(most=100)
    for at in range(0, 10_000, 50):
        stream.add(at, bytes(50))
    stream.add(0, b"x" * 50)
    assert not stream.disagrees, "too long ago to compare"
    stream.add(9_950, b"x")
    assert stream.disagrees


PIECES = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 80)), max_size=40)


@given(PIECES)
def test_any_order_and_any_overlap_gives_the_stream(pieces):
    stream, got = Reassembly(), b""
    for at, size in pieces:
        got += stream.add(at, TEXT[at : at + size])
        assert got == TEXT[: stream.end]
    covered = 0
    for at, size in sorted(pieces):
        if at <= covered:
            covered = max(covered, at + size)
    assert stream.end == covered
    assert not stream.disagrees
    assert not stream.overflows


@given(st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=20)), max_size=30))
def test_disagreement_is_told_exactly_when_there_is_one(pieces):
    stream, said, differs = Reassembly(), {}, False
    for at, data in pieces:
        stream.add(at, data)
        for place, octet in enumerate(data, at):
            differs |= said.setdefault(place, octet) != octet
    assert stream.disagrees is differs
