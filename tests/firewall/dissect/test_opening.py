from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.dissect.opening import Opening
from firewall.dissect.tunnels import LONGEST_OPENVPN

QUERY = b"\0\x1d\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\0\0\x1c\0\x01"
BEGINNINGS = {
    "openvpn": b"\0\x0e\x38sessions" + bytes(5), "socks": b"\x05\x03\0\1\2", "pptp": b"\0\x9c\0\x01\x1a\x2b\x3c\x4d\0\x01" + bytes(146),
    "socks4": b"\x04\x01\x01\xbb\0\0\0\x07user\0a.example\0", "crypt": b"\0\x36\x38sessions\0\0\0\x01" + bytes(range(41)), "dns": QUERY,
}


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1_000])
@pytest.mark.parametrize("what", BEGINNINGS)
def test_what_a_connection_begins_with_is_known_however_it_is_cut(what: str, cut: int) -> None:
    said, opening, fed = BEGINNINGS[what], Opening(), 0
    while not opening.word:
        assert fed < len(said), "all of it is known"
        goes_on = opening.feed(said[fed : fed + cut])
        fed += cut
        assert goes_on == (not opening.word or what == "dns")
    assert opening.word == {"socks4": "socks", "crypt": "openvpn"}.get(what, what)
    assert opening.names == (("www.example",) if what == "dns" else ())


def test_a_question_is_held_from_where_its_name_may_begin_and_a_tunnel_is_not() -> None:
    for what, said in BEGINNINGS.items():
        opening = Opening()
        opening.feed(said[:8])
        assert opening.asking == (what == "dns")


@pytest.mark.parametrize("other", [
    b"\x10\x20\0\4MQTT", b"\0\0\0\x08\4\xd2\x16\x2f", b"\x30\x1d\x02\x01\x01\x77\x18\x80", b"\x05\xff\0\0\x20", b"\x04\x09\0\0\x20", b"\x03\0\0\x2b\x26\xe0", b"\xff\xff\x38sessions",
    b"\x04\x01" + b"x" * 600, (LONGEST_OPENVPN - 1).to_bytes(2) + b"\x38" + bytes(9),
])
def test_other_beginnings_are_soon_let_go(other: bytes) -> None:
    opening = Opening()
    assert not opening.feed(other)
    assert (opening.word, opening.names, opening.size) == ("", (), 0)


@given(st.lists(st.binary(max_size=30) | st.sampled_from(list(BEGINNINGS.values())) | st.sampled_from(list(BEGINNINGS.values())).map(lambda said: said[:9]), max_size=9))
def test_whatever_comes_there_is_an_answer_and_little_is_kept(pieces: list[bytes]) -> None:
    opening = Opening()
    for piece in pieces:
        if not opening.feed(piece):
            assert opening.size == 0
            break
        assert opening.size <= sum(map(len, pieces)) * 2
