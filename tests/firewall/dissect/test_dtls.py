from __future__ import annotations

import itertools
import socket
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from talk import alpn, dtls, message, server_name

from firewall.dissect import NEED_MORE, NOT_MINE, tls
from firewall.dissect.dtls import LARGEST, Hellos

HELLO = message(server_name(b"good.example") + alpn(b"coap"))
OTHER = message(server_name(b"miui.com") + alpn(b"coap"))


def names(found):
    assert isinstance(found, tuple), found
    return [tls.message(hello).names for hello in found]


@pytest.mark.parametrize("cookie", [b"", b"c" * 32, b"c" * 255])
@pytest.mark.parametrize("version", [0xFEFF, 0xFEFD, 0xFE00])
def test_a_hello_is_what_tls_would_say(cookie, version):
    assert Hellos().feed(*dtls(HELLO, cookie, version=version)) == (HELLO,)


@pytest.mark.parametrize("cut", [3, 20, 60])
def test_fragments_in_any_order_and_twice(cut):
    pieces = dtls(HELLO, b"cookie", cut=cut)
    for order in (pieces, pieces[::-1], [piece for piece in pieces for _ in range(2)][:-1]):
        reader = Hellos()
        assert {reader.feed(piece) for piece in order[:-1]} == {NEED_MORE}
        assert reader.begun
        assert reader.feed(order[-1]) == (HELLO,)
        assert not reader.begun
        assert not reader.size


def test_all_in_one_datagram_and_a_second_hello_with_a_cookie():
    reader = Hellos()
    assert reader.feed(b"".join(dtls(HELLO, cut=60))) == (HELLO,)
    assert reader.feed(*dtls(HELLO, b"cookie", number=1)) == (HELLO,)
    assert reader.feed(*dtls(OTHER)) == (OTHER,), "it connects anew"


def test_a_hello_put_together_from_two_is_none():
    """A server may have got the one's beginning and the other's end."""
    reader = Hellos()
    reader.feed(dtls(OTHER, cut=100)[1])
    assert reader.feed(dtls(HELLO, cut=100)[0]) is NEED_MORE
    assert reader.begun
    reader = Hellos()
    assert reader.feed(*dtls(HELLO)) == (HELLO,)
    assert reader.feed(dtls(OTHER, cut=100)[1]) is NEED_MORE
    assert reader.begun


@pytest.mark.parametrize("data", [b"", b"\x16", b"\x17\xfe\xfd" + bytes(40), b"\x16\x03\x03" + bytes(40), b"\x16\xfe\xfd\0\1" + bytes(40), b"\x16\xfe\xfd\0\0" + bytes(40)])
def test_what_is_no_hello(data):
    reader = Hellos()
    assert reader.feed(data) is NOT_MINE
    assert not reader.begun


def test_lengths_that_lie_stay_begun():
    (whole,) = dtls(HELLO)
    for at, value in ((14, b"\xff"), (15, b"\0\0"), (19, b"\1"), (22, b"\xff")):
        reader = Hellos()
        assert reader.feed(whole[:at] + value + whole[at + len(value) :]) is NEED_MORE
        assert reader.begun, at


ALERT, ENCRYPTED = struct.pack("!BHHHIH", 21, 0xFEFD, 0, 0, 0, 2) + b"\1\0", struct.pack("!BHHHIH", 23, 0xFEFD, 1, 0, 0, 9) + bytes(9)
STRANGE = bytes.fromhex("05 000002 0007 000000 000002 ffff")  # a message that nobody waits for


@pytest.mark.parametrize("before", [ALERT, ENCRYPTED, ENCRYPTED[:11] + b"\0\0", ALERT * 90])
def test_behind_records_that_a_server_drops(before):
    assert Hellos().feed(before + dtls(HELLO)[0]) == (HELLO,)
    assert Hellos().feed(before) is NOT_MINE


def test_behind_another_message_in_one_record():
    (whole,) = dtls(HELLO)
    for before, found in ((STRANGE, (HELLO,)), (STRANGE * 20, (HELLO,)), (STRANGE * 200, NEED_MORE)):
        reader = Hellos()
        assert reader.feed(whole[:11] + len(before + whole[13:]).to_bytes(2) + before + whole[13:]) == found
        assert reader.begun is (found is NEED_MORE)


def test_a_datagram_full_of_empty_records_hides_nothing():
    reader = Hellos()
    assert reader.feed((ENCRYPTED[:11] + b"\0\0") * 500 + dtls(HELLO)[0]) is NEED_MORE
    assert reader.begun


def test_many_beginnings_are_bounded():
    reader = Hellos()
    first = dtls(HELLO, cut=40)[0]
    for number in range(500):
        assert reader.feed(first[:17] + number.to_bytes(2) + first[19:]) is NEED_MORE
    assert reader.begun
    assert reader.size < 5 * LARGEST


def test_openssls_hello_is_read():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        s.settimeout(20)
        to = f"127.0.0.1:{s.getsockname()[1]}"
        client = subprocess.Popen(["openssl", "s_client", "-dtls1_2", "-connect", to, "-servername", "shop.example"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert names(Hellos().feed(s.recv(4_096))) == [("shop.example",)]
        finally:
            client.kill()
            client.communicate()


PIECES = st.sampled_from([*dtls(HELLO), *dtls(HELLO, b"x", number=1, cut=50), *dtls(OTHER, cut=70)])
BENT = st.builds(lambda piece, at, value: piece[: at % len(piece)] + value + piece[at % len(piece) + len(value) :], PIECES, st.integers(0, 200), st.binary(max_size=3))


@given(st.lists(st.one_of(PIECES, BENT, st.binary(max_size=60)), max_size=12))
def test_whatever_comes_is_an_answer_and_bounded(datagrams):
    reader = Hellos()
    for one, two in itertools.zip_longest(datagrams[::2], datagrams[1::2], fillvalue=b""):
        found = reader.feed(one + two)
        assert found in (NEED_MORE, NOT_MINE) or all(isinstance(hello, bytes) for hello in found)
        assert reader.size <= 5 * 2 * LARGEST
