from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.speech import MORE, NO_NAME, NO_NAME_YET, NOTHING_NEW, Heard, Speech
from rules.observation import Name, Source


def names(heard: object) -> list[str]:
    assert isinstance(heard, Heard), heard
    return [name.name for name in heard.said]


def request(host: str, body: bytes = b"") -> bytes:
    return f"POST /x HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_a_hello_says_its_name_and_no_more(wire) -> None:
    heard = Speech().hear(wire.hello("Example.COM."))
    assert heard == Heard((Name("example.com", Source.SNI),), may_say_more=False, unfinished=False)


def test_a_hello_without_a_name_ends_the_waiting(wire) -> None:
    assert Speech().hear(wire.hello(None)) == Heard((), may_say_more=False, unfinished=False)


@pytest.mark.parametrize("cut", [1, 5, 43, 60])
def test_a_hello_in_two_pieces(wire, cut: int) -> None:
    hello, speech = wire.hello("example.com"), Speech()
    assert speech.hear(hello[:cut]) is MORE
    assert names(speech.hear(hello[cut:])) == ["example.com"]


def test_every_request_of_a_connection_names_its_host() -> None:
    speech = Speech()
    first = speech.hear(request("a.example", b"12345"))
    assert names(first) == ["a.example"]
    assert first.may_say_more
    assert names(speech.hear(request("b.example"))) == ["b.example"]


def test_a_body_says_nothing_new() -> None:
    speech = Speech()
    whole = request("a.example", b"x" * 100)
    assert names(speech.hear(whole[:-60])) == ["a.example"]
    assert speech.hear(whole[-60:-10]) is NOTHING_NEW
    assert speech.hear(whole[-10:]) is NOTHING_NEW


def test_requests_in_one_packet_are_judged_together() -> None:
    assert names(Speech().hear(request("a.example") + request("b.example"))) == ["a.example", "b.example"]


def test_a_request_that_begins_behind_another_keeps_both_back() -> None:
    speech = Speech()
    second = request("b.example")
    assert speech.hear(request("a.example") + second[:20]) is MORE
    assert names(speech.hear(second[20:])) == ["a.example", "b.example"]


def test_text_that_is_no_http_is_let_go_on_but_listened_to() -> None:
    speech = Speech()
    assert speech.hear(b"hello there") == NO_NAME_YET


def test_a_line_that_ends_unlike_http_is_nameless() -> None:
    assert Speech().hear(b"EHLO phone.example\r\n") == NO_NAME
    assert Speech().hear(b"USER anna\r\n") == NO_NAME


def test_binary_is_nameless_at_once() -> None:
    assert Speech().hear(b"\x00\x01\x02\x03") == NO_NAME


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_nothing_a_phone_says_is_an_error(pieces: list[bytes]) -> None:
    speech = Speech()
    for piece in pieces:
        speech.hear(piece)


@given(st.integers(1, 80), st.sampled_from([b"", b"GET / HTTP/1.1\r\nHost: z.example\r\n\r\n"]))
def test_cuts_change_nothing(size: int, behind: bytes) -> None:
    stream, speech, said = request("a.example", b"body") + behind, Speech(), []
    for at in range(0, len(stream), size):
        heard = speech.hear(stream[at : at + size])
        if isinstance(heard, Heard):
            said += [name.name for name in heard.said]
    assert list(dict.fromkeys(said)) == ["a.example", *(["z.example"] if behind else [])]
