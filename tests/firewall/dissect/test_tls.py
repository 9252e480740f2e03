from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from talk import alpn, ech, extension, hello, message, record, server_name

from firewall.dissect import NEED_MORE, NOT_MINE, tls

NAME = "api.account.xiaomi.com"


COMMON = hello(extension(0x0A0A, b""), server_name(NAME.encode()), alpn(b"h2", b"http/1.1"), extension(43, bytes(7)))


def test_common_hello():
    assert tls.client_hello(COMMON) == tls.Hello((NAME,), ech=False, alpn=("h2", "http/1.1"))
    assert tls.client_hello(COMMON + record(b"early data", kind=23)).sni == NAME


def test_every_truncation_waits():
    for end in range(len(COMMON)):
        assert tls.client_hello(COMMON[:end]) is NEED_MORE


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 60, 511])
def test_a_hello_cut_into_records_is_put_together(size):
    whole = message(server_name(NAME.encode()))
    cut = [record(whole[at : at + size]) for at in range(0, len(whole), size)]
    assert tls.client_hello(b"".join(cut)).names == (NAME,)
    assert tls.client_hello(b"".join(cut[:-1])) is NEED_MORE


def test_empty_records_and_warnings_before_are_read_over():
    assert tls.client_hello(record(b"\x01\x70", kind=21) + record(b"") + COMMON).sni == NAME


def test_so_many_empty_records_that_no_server_reads_over_them_are_not_looked_through():
    empty = b"\x16\3\1\0\0"
    assert tls.client_hello(empty * 1_000 + COMMON).sni == NAME
    assert tls.client_hello(empty * 5_000 + COMMON) is NEED_MORE


def test_another_record_inside_a_hello_is_none():
    whole = message(server_name(NAME.encode()))
    assert tls.client_hello(record(whole[:9]) + record(b"\x01\x70", kind=21) + record(whole[9:])) is NOT_MINE


@pytest.mark.parametrize(("said", "names"), [
    ([b"MIUI.com."], ("miui.com",)),
    ([b"miui.com:443"], ("miui.com",)),
    ([b"42.62.48.9"], ()),
    ([b""], ()),
    ([b"a\x1b[2Jb.com"], ("2jb.com",)),
    ([b"[@click=app.quit]"], ("app.quit",)),
    ([b"miui.com\0.good.com"], ("miui.com", "good.com")),
    ([b"good.com", b"miui.com"], ("good.com", "miui.com")),
])
def test_names_are_names(said, names):
    assert tls.client_hello(hello(server_name(*said))).names == names


def test_said_in_two_extensions_both_count():
    assert tls.client_hello(hello(server_name(b"good.com"), server_name(b"miui.com"))).names == ("good.com", "miui.com")


def test_another_kind_of_name_is_none():
    assert tls.client_hello(hello(server_name(b"miui.com", kind=1))) == tls.NAMELESS


def test_without_extensions():
    assert tls.client_hello(record(message(None))) == tls.NAMELESS
    assert tls.client_hello(record(message(None))).sni is None


def test_encrypted_hello():
    seen = tls.client_hello(hello(server_name(b"public.example"), extension(0xFE0D, bytes(20))))
    assert seen.ech
    assert seen.names == ("public.example",)


@pytest.mark.parametrize(("extensions", "hidden"), [
    ([server_name(b"shop.example"), ech(208)], False),  # Chromium's, for show
    ([server_name(b"shop.example"), ech(239)], False),  # Firefox's
    ([server_name(b"shop.example"), ech(201)], True),
    ([server_name(b"cloudflare-ech.com"), ech(208)], True),
    ([ech(208)], True),
    ([server_name(b"shop.example"), extension(0xFE0D, b"\x01")], False),  # the inner hello, in the open
    ([server_name(b"shop.example"), extension(0xFE0D, b"")], True),
    ([server_name(b"shop.example"), extension(0xFFCE, bytes(300))], True),
    ([server_name(b"shop.example")], False),
])
def test_whether_the_true_name_may_be_hidden(extensions, hidden):
    assert tls.client_hello(hello(*extensions)).hidden is hidden


@pytest.mark.parametrize(("said", "addresses"), [
    (b"104.236.167.107", ("104.236.167.107",)), (b"10.0.0.1:443", ("10.0.0.1",)), (b"2001:DB8::1", ("2001:db8::1",)),
    (b"[2001:db8::1]:8443", ("2001:db8::1",)), (b"1.2.3.999", ()), (b"server4:443", ()), (b":::", ()), (b"....", ()),
])
def test_an_address_where_a_name_should_stand(said, addresses):
    seen = tls.client_hello(hello(server_name(said)))
    assert seen.addresses == addresses
    assert not (seen.names and seen.addresses)


def test_a_post_quantum_hello():
    key_share = extension(51, struct.pack("!HHH", 1220, 0x11EC, 1216) + bytes(1216))  # X25519MLKEM768
    kyber = extension(51, struct.pack("!HHH", 1220, 0x6399, 1216) + bytes(1216))
    for share in (key_share, kyber):
        assert tls.client_hello(hello(share, server_name(NAME.encode()))).names == (NAME,)
        assert tls.client_hello(hello(share, server_name(NAME.encode()))[:1300]) is NEED_MORE


def test_a_hello_of_nearly_sixteen_kibibytes():
    whole = message(extension(21, bytes(16_000)) + server_name(NAME.encode()))
    cut = [record(whole[at : at + 1400]) for at in range(0, len(whole), 1400)]
    assert tls.client_hello(b"".join(cut)).names == (NAME,)


def test_a_message_without_records():
    assert tls.message(message(server_name(NAME.encode()))).names == (NAME,)
    for data in (b"", b"\x01\0\0\x00", message(b"")[:-1], message(b"") + b"x", b"\x02" + message(b"")[1:]):
        assert tls.message(data) is NOT_MINE


def test_alpn_is_printable_and_bounded():
    seen = tls.client_hello(hello(alpn(b"\x1b[2J", *[b"h2"] * 40)))
    assert set(seen.alpn) == {"h2"}
    assert len(seen.alpn) <= tls.MOST_PROTOCOLS


def test_a_list_that_lies_gives_what_was_before_the_lie():
    entries = struct.pack("!BH", 0, 8) + b"miui.com" + struct.pack("!BH", 0, 900) + b"x"
    assert tls.client_hello(hello(extension(0, struct.pack("!H", len(entries)) + entries))).names == ("miui.com",)
    assert tls.client_hello(hello(extension(0, b"\0\x0b\0\0\x99miui.com"))).names == ("miui.com",)


@pytest.mark.parametrize("major", [0, 2, 3, 15])
def test_a_record_of_any_version_that_servers_take(major):
    """Go's take any below 16 of the first one (crypto/tls, readRecordOrCCS)."""
    whole = message(server_name(NAME.encode()))
    assert tls.client_hello(bytes((22, major, 1)) + struct.pack("!H", len(whole)) + whole).names == (NAME,)


@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.1\r\n\r\n", b"\x16\x10", b"\x17\x03\x03", b"\x80\x2e\x01\x03\x01",  # SSLv2
    record(b"\x02\0\0\0"), b"\x16\x03\x01\x40\x01",  # a ServerHello; a record of more than 16 KiB
    record(b"\x01\0\0\x05" + bytes(5)), record(message(b"")[:-1] + b"\x09"),
    record(message(struct.pack("!HH", 0, 99))), record(message(b"\0\0\0")),
])
def test_not_a_hello(data):
    assert tls.client_hello(data) is NOT_MINE


def test_a_huge_hello_never_becomes_whole():
    whole = message(extension(21, bytes(20_000)) + server_name(NAME.encode()))
    assert tls.client_hello(record(whole[:16_000]) + record(whole[16_000:])) is NEED_MORE


@given(st.binary(max_size=300) | st.binary(max_size=300).map(record) | st.binary(max_size=200).map(lambda b: record(message(b))))
def test_never_raises(data):
    assert isinstance(tls.client_hello(data), tls.Hello) or tls.client_hello(data) in (NEED_MORE, NOT_MINE)


@given(st.lists(st.tuples(st.integers(0, len(COMMON) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_mutations_end_in_an_answer(changes):
    data = bytearray(COMMON)
    for at, value in changes:
        data[at] = value
    seen = tls.client_hello(bytes(data))
    assert seen in (NEED_MORE, NOT_MINE) or all(name.isprintable() for name in seen.names + seen.alpn)


def test_a_post_quantum_hello_may_come_with_one_byte_in_each_record():
    whole = message(server_name(b"account.xiaomi.com") + extension(51, bytes(1_600)))
    seen = tls.client_hello(b"".join(record(whole[at : at + 1]) for at in range(len(whole))))
    assert isinstance(seen, tls.Hello)
    assert seen.names == ("account.xiaomi.com",)


EXTENSIONS = st.lists(
    st.builds(server_name, st.binary(max_size=30) | st.sampled_from([b"miui.com", b"1.2.3.4", b"::1", b"x:443"]))
    | st.builds(ech, st.sampled_from([0, 144, 201]), st.integers(0, 2))
    | st.builds(extension, st.sampled_from([0, 16, 0xFE0D, 0xFFCE, 51]), st.binary(max_size=40)),
    max_size=5,
)


@given(EXTENSIONS, st.integers(1, 300), st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=2))
def test_any_hello_ends_in_an_answer(extensions, size, changes):
    whole = bytearray(message(b"".join(extensions)))
    for at, value in changes:
        whole[at % len(whole)] = value
    seen = tls.client_hello(b"".join(record(bytes(whole[at : at + size])) for at in range(0, len(whole), size)))
    assert seen in (NEED_MORE, NOT_MINE) or all(text.isprintable() for text in (*seen.names, *seen.addresses, *seen.alpn))
    if not changes:
        assert isinstance(seen, tls.Hello)


# -- what stands behind it -------------------------------------------------------------------------------------------

CHANGE, EARLY_DATA = b"\x14\x03\x03\0\1\1", b"\x17\x03\x03\0\x06\x16\x03\x01\0\1\x01"


def test_what_is_read_next_of_a_handshake():
    first, second = (message(server_name(name)) for name in (b"a.example", b"b.example"))
    whole, cut = record(first), b"".join(record(first[n : n + 20]) for n in range(0, len(first), 20))
    assert tls.alone(whole)
    for data in (whole, cut, whole + CHANGE, cut + CHANGE + EARLY_DATA, whole + EARLY_DATA[:8], whole + b"\x14", first, whole[:40], b""):
        assert tls.behind(data) == b""
    for data in (whole, cut, whole + CHANGE * 3, cut + EARLY_DATA * 2 + CHANGE):
        for end in (1, 5, 50, None):
            assert not tls.alone(data + record(second)[:end])
            assert tls.behind(data + record(second)[:end]) == record(second)[:end]
    assert not tls.alone(record(first + second))
    assert tls.behind(record(first + second)) == second
