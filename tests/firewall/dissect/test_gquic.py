"""Google's own QUIC: the name that its hello says, in the clear or under keys that everyone has."""

import pytest
import quicwriter
from hypothesis import given
from hypothesis import strategies as st

from firewall.dissect import gquic
from firewall.dissect.quic import Initials, Unknown

VERSIONS = (b"Q024", b"Q039", b"Q043", b"Q046", b"Q050")
HELLO = quicwriter.google_hello("www.example.com", 5)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_name_is_told_with_the_version(version: bytes) -> None:
    number = int.from_bytes(version)
    assert gquic.version(quicwriter.google("www.example.com", version)) == number
    reader = Initials()
    assert reader.feed(quicwriter.google("www.example.com", version)) == Unknown(number, ("www.example.com",))
    assert reader.feed(quicwriter.google("cdn.example.com", version)) == Unknown(number, ("cdn.example.com",))


def test_a_hello_of_q050_that_does_not_open_says_no_name() -> None:
    packet = bytearray(quicwriter.google("www.example.com", b"Q050"))
    packet[200] ^= 1
    assert Initials().feed(bytes(packet)) == Unknown(gquic.Q050)
    assert Initials().feed(quicwriter.google("www.example.com", b"Q050")[:700]) == Unknown(gquic.Q050)


@pytest.mark.parametrize("said", [b"192.0.2.1", b"not a name", b"", b"\xff\xfe"])
def test_what_is_no_name_is_none(said: bytes) -> None:
    hello = HELLO.replace(b"www.example.com", said.ljust(15))
    assert gquic.names(hello) == ()


def test_of_a_hello_that_is_cut_off_the_name_is_told_if_it_is_whole() -> None:
    whole = HELLO.index(b".com") + 4
    assert [gquic.names(HELLO[:end]) != () for end in range(len(HELLO))] == [end >= whole for end in range(len(HELLO))]


@pytest.mark.parametrize("noise", [b"", b"\x0d" + bytes(8) + b"R043", b"\x00" + bytes(8) + b"Q043", b"\x41Q046"])
def test_other_protocols_are_none(noise: bytes) -> None:
    assert gquic.version(noise) is None


def test_a_message_of_more_tags_than_google_reads_ends() -> None:
    assert gquic.names(b"CHLO\xff\xff\0\0" + b"ABCD\0\0\0\0" * 9_000) == ()


@given(st.lists(st.tuples(st.sampled_from([b"SNI\0", b"PAD\0", b"VER\0"]), st.integers(0, 2**32 - 1) | st.integers(0, 40)), max_size=6),
       st.integers(0, 2**16 - 1) | st.integers(0, 6), st.binary(max_size=60))
def test_no_tags_make_it_raise(tags: list[tuple[bytes, int]], count: int, rest: bytes) -> None:
    table = b"".join(tag + end.to_bytes(4, "little") for tag, end in tags)
    found = gquic.names(b"CHLO" + count.to_bytes(2, "little") + b"\0\0" + table + rest)
    assert all(name.encode() in (table + rest).lower() for name in found)
    gquic.version(rest)
