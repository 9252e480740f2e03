from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from talk import HEADER, conn, field

from firewall.dissect import NEED_MORE, NOT_MINE, xiaomi
from firewall.dissect.xiaomi import MAGIC, Frame


def test_the_first_frame_names_its_server_and_whose_it_is():
    seen = xiaomi.frame(conn(b"fr.app.chat.global.xiaomi.net:5222"))
    assert seen == Frame(("fr.app.chat.global.xiaomi.net", "xiaomi.com"), (), "Redmi Note 8T")


def test_an_address_in_the_place_of_a_name():
    assert xiaomi.frame(conn(b"47.241.35.73")) == Frame(("xiaomi.com",), ("47.241.35.73",), "Redmi Note 8T")


def test_every_truncation_waits():
    whole = conn(b"a.example")
    for end in range(len(whole) - 4):
        assert xiaomi.frame(whole[:end]) is NEED_MORE


def test_keep_alives_and_encrypted_frames_say_no_more():
    assert xiaomi.frame(MAGIC + bytes(4) + b"\x12\x34\x56\x78") == Frame((), (), "")
    assert xiaomi.frame(conn(b"a.example", header=field(5, b"PING"))) == Frame((), (), "")


@pytest.mark.parametrize("data", [b"\x16\x03\x01", b"\xc2\xfe\x00\x06", MAGIC + b"\xff\xff\xff\xff", MAGIC + struct.pack("!IHHI", 8, 2, 9, 9) + bytes(9)])
def test_other_things(data):
    assert xiaomi.frame(data) is NOT_MINE


FIELDS = st.lists(st.builds(field, st.integers(0, 40), st.integers(0, 1 << 40) | st.binary(max_size=30)) | st.binary(max_size=6), max_size=80).map(b"".join)


@given(FIELDS, FIELDS, st.binary(max_size=30))
def test_whatever_comes_there_is_an_answer(header, more, host):
    assert isinstance(xiaomi.frame(conn(host, header + HEADER, more)), Frame) or len(header + more) > 3_000
    assert xiaomi.frame(MAGIC + more) in (NEED_MORE, NOT_MINE) or isinstance(xiaomi.frame(MAGIC + more), Frame)
