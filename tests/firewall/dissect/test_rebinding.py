from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.dissect.rebinding import is_home, is_local

LOCAL4 = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.0.1",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255", "198.18.0.1", "198.19.255.255",
    "224.0.0.251", "239.255.255.250", "240.0.0.1", "255.255.255.255",
]
PUBLIC4 = ["1.1.1.1", "9.255.255.255", "11.0.0.0", "42.62.48.9", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "192.167.1.1", "198.20.0.1", "223.255.255.255"]
LOCAL6 = [
    "::", "::1", "fc00::1", "fdff::1", "fe80::1", "febf::1", "fec0::1", "ff02::fb", "64:ff9b:1::1", "64:ff9b:1:fffe::1.2.3.4",
]
PUBLIC6 = ["2001:4860:4860::8888", "2400:3200::9", "fbff::1", "64:ff9b:2::1", "2003::1"]


def packed(text):
    return ip_address(text).packed


@pytest.mark.parametrize("text", LOCAL4 + LOCAL6)
def test_local(text):
    assert is_local(packed(text))


@pytest.mark.parametrize("text", PUBLIC4 + PUBLIC6)
def test_public(text):
    assert not is_local(packed(text))


@pytest.mark.parametrize("form", ["::ffff:{}", "::{}", "64:ff9b::{}"])
@pytest.mark.parametrize(("texts", "local"), [(LOCAL4, True), (PUBLIC4, False)])
def test_ipv4_inside_ipv6(form, texts, local):
    assert {is_local(packed(form.format(text))) for text in texts} == {local}


@pytest.mark.parametrize(("texts", "local"), [(LOCAL4, True), (PUBLIC4, False)])
def test_6to4(texts, local):
    assert {is_local(b"\x20\x02" + socket.inet_aton(text) + bytes(10)) for text in texts} == {local}


@given(st.ip_addresses())
def test_what_python_calls_private_or_local_is(addr: IPv4Address | IPv6Address):
    if addr.is_loopback or addr.is_link_local or addr.is_multicast or addr.is_unspecified:
        assert is_local(addr.packed)
    if is_local(addr.packed):
        assert not addr.is_global or addr.version == 6 or addr.is_multicast


@pytest.mark.parametrize(("name", "home"), [
    ("printer", True), ("nas.lan", True), ("x.home.arpa", True), ("a.internal", True), ("b.local", True),
    ("miui.com", False), ("lan.com", False), ("evillan", True), ("evil-lan.com", False), ("in-addr.arpa", False),
])
def test_home(name, home):
    assert is_home(name) is home
