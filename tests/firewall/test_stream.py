from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall import stream
from firewall.stream import Place, Remembered, Stream


def begun(said: bytes = b"hello", at: int = 1_000) -> Stream:
    one = Stream()
    assert one.add(at, said, first=True) == said
    return one


@given(st.binary(min_size=1, max_size=200), st.integers(0, 2**32 - 1), st.data())
def test_segments_in_any_order_are_read_as_the_server_reads_them(said: bytes, isn: int, data: st.DataObject) -> None:
    cuts = sorted({0, len(said), *data.draw(st.lists(st.integers(0, len(said)), max_size=8))})
    pieces = data.draw(st.permutations([(at, said[at:end]) for at, end in zip(cuts, cuts[1:], strict=False)]))
    one, read = Stream(), b""
    for at, piece in pieces:
        fresh = one.add((isn + at) % 2**32, piece, first=at == 0)
        if fresh is Place.LIFE:
            assert len(piece) == 1
            pieces.append((at, piece))  # it did not pass, and comes again
        assert isinstance(fresh, bytes) or fresh in (Place.WAITS, Place.LIFE)
        read += fresh if isinstance(fresh, bytes) else b""
    assert read == said


def test_before_the_beginning_is_known_nothing_is_read() -> None:
    one = Stream()
    assert one.add(1_005, b"world", first=False) is Place.WAITS
    assert one.next is None
    assert one.add(1_000, b"hello", first=True) == b"helloworld"


@pytest.mark.parametrize("at, said", [(995, b"in front"), (1_002, b"LLO"), (0, b"long ago")])
def test_what_contradicts_is_odd(at: int, said: bytes) -> None:
    one = begun()
    assert one.add(at, said, first=False) is Place.ODD
    judged = begun()
    assert judged.judged()
    assert judged.compare(at, said) is Place.ODD
    assert judged.follow(at, said) is Place.ODD


def test_what_came_before_the_beginning_and_stands_in_front_of_it_is_odd() -> None:
    one = Stream()
    one.add(990, b"an older fake", first=False)
    assert one.add(1_000, b"hello", first=True) is Place.ODD


def test_a_judged_stream_goes_on_where_it_was() -> None:
    one = begun()
    one.judged()
    assert one.compare(1_000, b"hello") is Place.KNOWN
    assert one.compare(1_003, b"lo and more") is Place.BEHIND
    assert one.follow(1_003, b"lo and more") == b" and more"
    assert one.follow(1_014, b"later") == b"later"
    assert one.follow(1_030, b"ahead") is Place.WAITS
    assert one.next == 1_019


def test_a_sign_of_life_is_asked_for_with_a_byte_of_anything() -> None:
    one = begun()
    one.judged()
    assert one.compare(1_004, b"\0") is Place.LIFE
    assert one.compare(1_004, b"o") is Place.KNOWN
    assert one.compare(1_003, b"\0") is Place.ODD
    assert one.follow(1_004, b"\0") is Place.LIFE
    one.forget()
    assert one.compare(1_004, b"o") is Place.LIFE


def test_it_is_asked_for_before_anything_was_said_too() -> None:
    """Nobody knows yet where it begins."""
    one = Stream()
    assert [one.add(999, said, first=False) for said in (b"\0", b"\0", b"x")] == [Place.LIFE] * 3
    assert one.add(1_000, b"hello", first=True) == b"hello"
    assert one.add(999, b"\0", first=False) is Place.KNOWN


def test_what_did_not_pass_was_not_said() -> None:
    """A byte out of its turn looks like that, too: its server has not got it, and gets it when it comes again."""
    one = Stream()
    assert one.add(1_001, b"E", first=False) is Place.LIFE
    assert one.add(1_000, b"G", first=True) == b"G"
    assert one.add(1_001, b"E", first=False) == b"E"


def test_only_so_much_is_remembered_and_nothing_else_may_be_said_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_HEARD", 12)
    one = begun(b"first!")
    one.judged()
    for word in (b"second", b"third!"):
        assert one.follow(one.next or 0, word) == word
        one.remember(word)
    assert one.size == 12
    assert one.compare(1_006, b"second") is Place.KNOWN
    assert one.compare(1_000, b"first!") is Place.ODD


def test_what_one_owner_has_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_OF_ONE", 12)
    kept: Remembered[str] = Remembered()
    streams = [begun() for _ in range(4)]
    for one, owner in zip(streams, ("a", "a", "a", "b"), strict=True):
        one.judged()
        kept.keep(owner, one)
    assert [one.size for one in streams] == [0, 5, 5, 5]
    assert streams[0].compare(1_000, b"hello") is Place.ODD
    kept.drop("a", streams[1])
    again = begun()
    again.judged()
    kept.keep("a", again)
    assert streams[2].size == 5
    for one in streams[2:]:
        kept.drop("a", one)
        kept.drop("b", one)
    kept.drop("b", streams[0])


def test_how_far_ahead_of_what_was_read_a_segment_stands() -> None:
    one = begun()
    assert [one.ahead(seq) for seq in (1_000, 1_005, 1_006 + stream.FAR)] == [-5, 0, stream.FAR + 1]
