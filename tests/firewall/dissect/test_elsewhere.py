from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.dissect import NEED_MORE, NOT_MINE
from firewall.dissect.elsewhere import Questions

QUERY = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03wWw\x07example\0\0\x1c\0\x01"
OTHER = QUERY.replace(b"wWw", b"api")


def framed(*messages: bytes) -> bytes:
    return b"".join(len(one).to_bytes(2) + one for one in messages)


@pytest.mark.parametrize("cut", range(1, len(framed(QUERY)) + 1))
def test_a_question_is_read_however_it_is_cut(cut: int) -> None:
    talk = Questions()
    *before, last = [framed(QUERY)[at : at + cut] for at in range(0, len(framed(QUERY)), cut)]
    assert [talk.feed(piece) for piece in before] == [NEED_MORE] * len(before)
    assert talk.feed(last) == ("www.example",)
    assert talk.size == 0


def test_several_are_read_one_after_the_other_each_once() -> None:
    talk = Questions()
    assert talk.feed(framed(QUERY, OTHER, QUERY) + framed(OTHER)[:9]) == ("www.example", "api.example")
    assert talk.size == 9
    assert talk.feed(framed(OTHER)[9:]) == ("api.example",)


@pytest.mark.parametrize("other", [
    framed(QUERY[:2] + b"\x81" + QUERY[3:])[:5], framed(QUERY[:2] + b"\x29" + QUERY[3:])[:5],  # an answer; an update
    framed(QUERY[:5] + b"\2" + QUERY[6:])[:9], framed(QUERY[:6] + b"\0\2" + QUERY[8:])[:10],  # two questions, two answers in it
    framed(QUERY[:11] + b"\x10" + QUERY[12:])[:14], b"\0\x10", b"\0\0", framed(QUERY[:-1] + b"\3"),  # too short; of another class
])
def test_of_what_no_question_begins_like_nothing_is_kept(other: bytes) -> None:
    talk = Questions()
    assert talk.feed(other) is NOT_MINE
    assert talk.size == 0
    assert talk.feed(framed(QUERY)[:-1]) is NEED_MORE
    assert Questions().feed(framed(QUERY) + other) == ("www.example",)


@given(st.lists(st.binary(max_size=40) | st.sampled_from([framed(QUERY), framed(OTHER)[:20], framed(OTHER)[20:], b"\0\x1d"]), max_size=8))
def test_whatever_comes_there_is_an_answer_and_no_more_than_a_message_is_kept(pieces: list[bytes]) -> None:
    talk = Questions()
    for piece in pieces:
        found = talk.feed(piece)
        assert found in (NEED_MORE, NOT_MINE) or set(found) <= {"www.example", "api.example"} or all(found)
        assert talk.size <= 2 + 0xFFFF
        assert talk.size == 0 or found is not NOT_MINE
