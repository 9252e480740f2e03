from __future__ import annotations

import time

import pytest
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st
from talk import fields, frame, headers

from firewall.dissect import NEED_MORE, NOT_MINE, h2
from firewall.dissect.h2 import PREFACE, Requests
from firewall.dissect.http import Request

SETTINGS = frame(4, b"\0\x03\0\0\0\x64", stream=0)


def hosts(found):
    return [request.hosts for request in found]


def test_a_request():
    machine = Requests()
    data = PREFACE + SETTINGS + headers(Encoder(), "Good.com:8080")
    assert machine.feed(data) == (Request("GET", "/a", ("good.com",)),)
    assert (machine.begun, machine.in_body, machine.opaque) == (False, False, False)


def test_a_preface_alone_waits_and_has_not_begun_a_request():
    machine = Requests()
    assert machine.feed(PREFACE + SETTINGS) is NEED_MORE
    assert not machine.begun
    assert machine.feed(frame(4, flags=1, stream=0)) is NEED_MORE
    assert not machine.begun


def test_byte_by_byte_and_with_the_connections_own_table():
    encoder, machine = Encoder(), Requests()
    data = PREFACE + SETTINGS + headers(encoder, "a.example") + frame(0, b"body" * 9) + headers(encoder, "a.example") + headers(encoder, "miui.com")
    found = [machine.feed(bytes((octet,))) for octet in data]
    assert [hosts(some) for some in found if isinstance(some, tuple) and some] == [[("a.example",)], [("a.example",)], [("miui.com",)]]


def test_padding_priority_and_continuations():
    block = Encoder().encode(fields("miui.com"))
    padded = frame(h2.HEADERS, b"\x03" + bytes(5) + block[:4] + bytes(3), h2.PADDED | h2.PRIORITY)
    machine = Requests()
    assert machine.feed(PREFACE + padded) is NEED_MORE
    assert machine.begun
    assert machine.feed(frame(h2.CONTINUATION, block[4:6])) is NEED_MORE
    assert hosts(machine.feed(frame(h2.CONTINUATION, block[6:], h2.END_HEADERS))) == [("miui.com",)]


def test_authority_and_host_both_count():
    assert hosts(Requests().feed(PREFACE + headers(Encoder(), "good.com", ("host", "miui.com")))) == [("good.com", "miui.com")]


def test_connect_and_an_address():
    encoder = Encoder()
    block = encoder.encode([(":method", "CONNECT"), (":authority", "miui.com:443")])
    (request,) = Requests().feed(PREFACE + frame(h2.HEADERS, block, h2.END_HEADERS))
    assert (request.method, request.hosts) == ("CONNECT", ("miui.com",))
    (request,) = Requests().feed(PREFACE + headers(Encoder(), "42.62.48.9"))
    assert (request.hosts, request.addresses) == ((), ("42.62.48.9",))


def test_trailers_are_no_request():
    encoder, machine = Encoder(), Requests()
    machine.feed(PREFACE + headers(encoder, "a.example"))
    assert machine.feed(frame(h2.HEADERS, encoder.encode([("x-sum", "1")]), h2.END_HEADERS)) == ()


def test_data_is_skipped():
    machine = Requests()
    machine.feed(PREFACE + headers(Encoder(), "a.example"))
    body = frame(0, bytes(20_000))
    assert machine.feed(body[:5_000]) == ()
    assert machine.in_body
    assert machine.feed(body[5_000:]) == ()
    assert not machine.in_body


@pytest.mark.parametrize("data", [
    frame(h2.HEADERS, b"\xff\xff\xff\xff\xff\x0f", h2.END_HEADERS), frame(h2.CONTINUATION, b""), frame(h2.HEADERS, b"\xff", h2.PADDED),
    frame(h2.HEADERS, b"") + SETTINGS, b"\xff\xff\xff\x01" + bytes(5), frame(h2.HEADERS, bytes(20_000)), frame(h2.HEADERS, b"\xbe", h2.END_HEADERS),
    frame(h2.HEADERS, b"") + frame(h2.CONTINUATION, bytes(16_000)) * 2, SETTINGS * 5_000,
])
def test_what_breaks_the_rules_ends_in_doubt(data):
    machine = Requests()
    machine.feed(PREFACE + data)
    assert machine.opaque
    assert machine.unsure


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"PRI * HTTP/1.1\r\n\r\n", b"\x16\x03\x01"])
def test_another_beginning(data):
    assert Requests().feed(data) is NOT_MINE


@pytest.mark.parametrize("block", [b"\x20" * 16_000, b"\x00\x00\x00" * 5_000, b"\x7f" + b"\xff" * 16_000, b"\x40\x01a\x01b" * 3_000, b"\x82" * 16_000])
def test_what_is_meant_to_cost_time_costs_little(block):
    begun = time.thread_time()
    for _ in range(5):
        Requests().feed(PREFACE + frame(h2.HEADERS, block, h2.END_HEADERS))
    assert (time.thread_time() - begun) / 5 < 0.2


FRAMES = st.builds(
    frame, st.integers(0, 10), st.binary(max_size=40) | st.sampled_from(["a.example", "1.2.3.4", "\x1b[2J"]).map(lambda host: Encoder().encode(fields(host))),
    st.sampled_from([0, 4, 8, 12, 36, 44]),
)


@given(st.lists(FRAMES, max_size=6).map(b"".join), st.integers(1, 60))
def test_whatever_comes_there_is_an_answer(frames, size):
    machine, data = Requests(), PREFACE + frames
    for at in range(0, len(data), size):
        found = machine.feed(data[at : at + size])
        assert found in (NEED_MORE, NOT_MINE) or all(name.isprintable() for request in found for name in request.hosts)
        assert machine.begun + machine.in_body + machine.opaque <= 1


@given(st.lists(st.sampled_from(["a.example", "b.example", "miui.com"]), min_size=1, max_size=5), st.integers(1, 50), st.integers(0, 60))
def test_cuts_change_nothing(names, size, body):
    encoder, machine = Encoder(), Requests()
    data = PREFACE + SETTINGS + b"".join(headers(encoder, name) + frame(0, bytes(body)) for name in names)
    found = [machine.feed(data[at : at + size]) for at in range(0, len(data), size)]
    assert [host for some in found if isinstance(some, tuple) for (host,) in hosts(some)] == names
