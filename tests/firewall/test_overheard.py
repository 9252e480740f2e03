"""What a recording's DNS is told as: questions and answers, cut, forged or of another kind."""

import captures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall import overheard
from firewall.dissect import dns, link
from firewall.inputs import AnswerSeen, FlowKey, QuerySeen
from firewall.recorded import Recorded


@pytest.fixture
def flow() -> Recorded:
    return talk()


def talk() -> Recorded:
    return Recorded(FlowKey(17, bytes(4), 5300, b"\x09\x09\x09\x09", 53), link.NOBODY, 0.0)


def test_a_question_and_its_answer(flow: Recorded) -> None:
    asked = overheard.question(flow, captures.question("www.example.com"))
    told = overheard.answer(flow, captures.reply("www.example.com", "198.51.100.7", chain=("cdn.example.net",)))
    assert isinstance(asked, QuerySeen)
    assert asked.qname == "www.example.com"
    assert isinstance(told, AnswerSeen)
    assert told.chain == ("www.example.com", "cdn.example.net")
    assert told.addresses == (bytes((198, 51, 100, 7)),)
    assert not told.hints
    assert list(flow.asked) == ["www.example.com"]


def test_hints_of_an_https_record_are_told_with_the_names_that_it_leads_to(flow: Recorded) -> None:
    hint = b"\0\4\0\4\xc6\x33\x64\x08"
    data = b"\0\1" + captures.labels("svc.example.net") + hint
    section = captures.question("www.example.com", dns.HTTPS)[12:]
    record = b"\xc0\x0c" + dns.HTTPS.to_bytes(2) + b"\0\1\0\0\0\x3c" + len(data).to_bytes(2) + data
    told = overheard.answer(flow, b"\0\7\x81\x80\0\1\0\1\0\0\0\0" + section + record)
    assert told is not None
    assert told.hints
    assert told.chain == ("www.example.com", "svc.example.net")
    assert told.addresses == (bytes((198, 51, 100, 8)),)


def test_what_our_resolver_takes_out_is_not_learnt(flow: Recorded) -> None:
    assert overheard.answer(flow, captures.reply("www.example.com", "192.168.1.1")) is None
    assert overheard.answer(flow, captures.reply("nas.lan", "192.168.1.1")) is not None
    assert list(flow.asked) == ["www.example.com", "nas.lan"]
    assert overheard.answer(flow, captures.reply("www.example.com", "192.168.1.1"), local=True) is not None


def test_messages_over_tcp_have_their_length_in_front() -> None:
    first, second = captures.question("a.example"), captures.question("b.example")
    data = b"".join(len(one).to_bytes(2) + one for one in (first, second))
    for size in range(1, len(data) + 1):
        flow = talk()
        parts = [data[at : at + size] for at in range(0, len(data), size)]
        assert [one for part in parts for one in overheard.messages(flow, part, up=True)] == [first, second]
        assert not flow.rest


def test_messages_over_tcp_are_found_again_behind_what_is_missing(flow: Recorded) -> None:
    question = captures.question("a.example")
    assert overheard.messages(flow, question[7:], up=True) == []
    assert overheard.messages(flow, b"\0", up=False) == []
    assert overheard.messages(flow, len(question).to_bytes(2) + question, up=True) == [question]


def changed(at: int, byte: int) -> bytes:
    reply = bytearray(captures.reply("www.example.com", "198.51.100.7"))
    reply[at % len(reply)] = byte
    return bytes(reply)


@given(st.binary(max_size=80) | st.builds(changed, st.integers(0, 60), st.integers(0, 255)))
def test_no_bytes_make_it_raise(message: bytes) -> None:
    for part in (message, *overheard.messages(talk(), message, up=True)):
        overheard.question(talk(), part)
        overheard.answer(talk(), part)
