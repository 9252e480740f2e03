from __future__ import annotations

import struct
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.dissect.advert import translators

HEAD = struct.pack("!BBHBBHII", 134, 0, 0xBEEF, 64, 0, 1_800, 0, 0)
MTU, MAC = b"\x05\x01\0\0\0\0\x05\xdc", b"\x01\x01\x02\0\0\0\0\x01"


def option(prefix: str, code: int = 0, seconds: int = 600, units: int = 2) -> bytes:
    """RFC 8781, 4."""
    return struct.pack("!BBH", 38, units, seconds | code) + IPv6Address(prefix).packed[:12] + bytes(8 * units - 16)


def packed(prefix: str, size: int) -> bytes:
    return IPv6Address(prefix).packed[:size]


@pytest.mark.parametrize(("code", "size"), list(enumerate((12, 8, 7, 6, 5, 4))))
def test_prefixes_of_every_length(code: int, size: int) -> None:
    assert translators(HEAD + MTU + option("2001:db8:64:6400::", code) + MAC) == ((packed("2001:db8:64:6400::", size), 600),)


def test_a_lifetime_of_nothing_and_the_longest_there_is() -> None:
    told = translators(HEAD + option("2001:db8:64::", seconds=0) + option("fd00:64::", seconds=65_528))
    assert told == ((packed("2001:db8:64::", 12), 0), (packed("fd00:64::", 12), 65_528))


@pytest.mark.parametrize("message", [
    b"", HEAD, HEAD[:-1], b"\x85" + HEAD[1:] + option("2001:db8:64::"),
    HEAD + option("2001:db8:64::", 6), HEAD + option("2001:db8:64::", 7),  # codes of no length
    HEAD + option("2001:db8:64::", units=3), HEAD + b"\x26\x01" + bytes(6),  # not its size
    HEAD + option("2001:db8:64::") + b"\x05\0" + bytes(6), HEAD + option("2001:db8:64::") + b"\x05", HEAD + option("2001:db8:64::")[:-1],
    *(HEAD + option(prefix) for prefix in ("::", "::ffff:0:0", "64:ff9b::", "2002:102:304::", "2001:0:1::", "ff02::", "fe80::", "100::")),
])
def test_what_is_no_translator(message: bytes) -> None:
    assert translators(message) == ()


def test_one_message_names_four_at_most() -> None:
    assert len(translators(HEAD + b"".join(option(f"2001:db8:{n}::") for n in range(20)))) == 4


@given(st.lists(st.one_of(st.binary(max_size=20), st.sampled_from([MTU, MAC, option("2001:db8:64::"), option("2001:db8::", 5)]))).map(b"".join))
def test_nothing_raises_and_what_is_told_has_a_length_and_a_time(rest: bytes) -> None:
    for prefix, seconds in translators(HEAD + rest):
        assert len(prefix) in {4, 5, 6, 7, 8, 12}
        assert 0 <= seconds <= 65_528
        assert seconds % 8 == 0
