from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.networks import after, beside, embedded, images, merged, parse_network, show_range, translators

V4 = st.binary(min_size=4, max_size=4)
RANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6)).map(lambda r: (bytes([0, 0, 0, r[0]]), bytes([0, 0, 0, r[0] + r[1]]))))


@pytest.mark.parametrize("text", ["42.62.48.0/24", "1.2.3.4", "0.0.0.0/0", "2001:db8::/32", "2001:db8::1", "::/0"])
def test_networks_are_printed_as_they_are_read(text: str) -> None:
    assert show_range(parse_network(text)) == text


@pytest.mark.parametrize(("text", "words"), [
    ("10.0.0.1/8", "did you mean 10.0.0.0/8"), ("2001:db8::1/32", "did you mean 2001:db8::/32"), ("10.0.0", "no address"), ("010.1.1.1", "no address"), ("fe80::1%eth0/64", "no address|did you mean"),
])
def test_what_is_no_network_is_refused_with_what_was_meant(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_network(text)


@given(V4)
def test_every_image_of_an_ipv4_address_leads_back_to_it(v4: bytes) -> None:
    assert all(embedded(first) == embedded(last) == v4 for first, last in images((v4, v4)))


# RFC 6052, 2.4: what 192.0.2.33 is behind prefixes of every length
@pytest.mark.parametrize(("prefix", "size", "addr"), [
    ("2001:db8::", 4, "2001:db8:c000:221::"), ("2001:db8:100::", 5, "2001:db8:1c0:2:21::"), ("2001:db8:122::", 6, "2001:db8:122:c000:2:2100::"),
    ("2001:db8:122:300::", 7, "2001:db8:122:3c0:0:221::"), ("2001:db8:122:344::", 8, "2001:db8:122:344:c0:2:2100::"),
    ("2001:db8:122:344::", 12, "2001:db8:122:344::c000:221"),
])
def test_a_translator_of_this_network(prefix: str, size: int, addr: str) -> None:
    packed, inner = ipaddress.IPv6Address(addr).packed, ipaddress.IPv4Address("192.0.2.33").packed
    own = ipaddress.IPv6Address(prefix).packed[:size]
    assert embedded(packed) is None
    assert embedded(packed, [b"\x3f\xff\0\0", own]) == inner
    first, last = images((inner, inner), [own])[-1]
    assert first == packed <= last < images((after(inner),) * 2, [own])[-1][0]
    assert translators([images((bytes((192, 0, 0, 170)),) * 2, [own])[-1][0]]) == (own,)


def test_who_translates_nothing_has_no_translator() -> None:
    told = ["64:ff9b::192.0.0.170", "::ffff:192.0.0.171", "2001:db8::1", "2001:db8:122:344:1c0:0:aa00:0", "2002:c000:aa::"]
    assert translators(ipaddress.IPv6Address(addr).packed for addr in told) == ()
    many = [ipaddress.IPv6Address(f"2001:db8:{n}::192.0.0.170").packed for n in range(1, 9)]
    assert len(translators(many + many)) == 4


@given(V4, V4, st.integers(0, 0xFFFF))
def test_teredo_agrees_with_the_standard_library(server: bytes, client: bytes, port: int) -> None:
    addr = b"\x20\x01\0\0" + server + b"\0\0" + port.to_bytes(2) + bytes(255 - byte for byte in client)
    assert (embedded(addr), beside(addr)) == (client, (server,))
    assert ipaddress.IPv6Address(addr).teredo == (ipaddress.IPv4Address(server), ipaddress.IPv4Address(client))


@pytest.mark.parametrize("addr", [
    "2001:db8:5::5efe:c000:221", "2001:db8:5::200:5efe:c000:221", "::192.0.2.33", "::ffff:0:192.0.2.33",
    "64:ff9b:1::192.0.2.33", "64:ff9b:1:ab:cd:ef:192.0.2.33", "64:ff9b:1:c000:2:2100::", "64:ff9b:1:0:c0:2:2100::", "64:ff9b:1::c0:2:2100:0",
])
def test_of_forms_that_only_some_router_takes_for_ipv4_the_address_stands_beside(addr: str) -> None:
    """ISATAP, two of old, and RFC 8215's network of translators that nobody told of (RFC 6052, 2.2: any length)."""
    packed = ipaddress.IPv6Address(addr).packed
    assert embedded(packed) is None
    assert ipaddress.IPv4Address("192.0.2.33").packed in beside(packed)


@pytest.mark.parametrize("addr", ["2001:db8::1", "::", "::1", "2001:1::1", "64:ff9b:1::1", "2003::1", "2001:db8::1:5efe:c000:221"])
def test_other_ipv6_addresses_hide_nothing(addr: str) -> None:
    packed = ipaddress.IPv6Address(addr).packed
    assert (embedded(packed), beside(packed)) == (None, ())


def test_after_the_last_comes_nothing() -> None:
    assert after(b"\0\0\0\xff") == b"\0\0\1\0"
    assert after(b"\xff" * 16) is None


@given(RANGES)
def test_merged_holds_the_same_addresses_in_as_few_ranges_as_possible(ranges) -> None:
    def addresses(spans):
        return {n for first, last in spans for n in range(first[3], last[3] + 1)}

    found = merged(ranges)
    assert addresses(found) == addresses(ranges)
    assert all(one[1][3] + 1 < two[0][3] for one, two in zip(found, found[1:], strict=False))
