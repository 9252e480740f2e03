from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.dissect.host import address, claimed, host_name


@pytest.mark.parametrize(("said", "name"), [
    (b"api.account.xiaomi.com", "api.account.xiaomi.com"),
    (b"API.Account.Xiaomi.COM", "api.account.xiaomi.com"),
    (b"miui.com.", "miui.com"),
    (b"miui.com:8080", "miui.com"),
    (b"miui.com.:80", "miui.com"),
    (b"miui.com:", "miui.com"),
    (b"localhost", "localhost"),
    (b"_dns.resolver.arpa", "_dns.resolver.arpa"),
    (b"xn--fiqs8s", "xn--fiqs8s"),
    (b"1.2.3.4.in-addr.arpa", "1.2.3.4.in-addr.arpa"),
])
def test_names(said, name):
    assert host_name(said) == name


@pytest.mark.parametrize("said", [
    b"", b".", b"a..b", b".a", b"42.62.48.9", b"42.62.48.9:80", b"[2001:db8::1]", b"2001:db8::1", b"a b", b"a\0b", b"a\x1b[2J",
    b"a/b", b"a@b", b"m\xc3\xbcller.de", b"a:80x", b"x" * 64, b".".join([b"x" * 63] * 4), b"a." * 300,
])
def test_what_is_no_name(said):
    assert host_name(said) is None


@pytest.mark.parametrize(("said", "names"), [
    (b"API.miui.com:443", ("api.miui.com",)),
    (b"miui.com\0", ("miui.com",)),
    (b" miui.com\t", ("miui.com",)),
    (b"good.com\0.miui.com", ("good.com", "miui.com")),
    (b"good.com, miui.com", ("good.com", "miui.com")),
    (b"user@miui.com/path", ("miui.com",)),
    (b"https://miui.com", ("miui.com",)),
    (b"*.miui.com", ("miui.com",)),
    (b"..miui..com", ("miui.com",)),
    (b"api%2Emiui.com", ("api.miui.com",)),
    (b"x" * 64 + b".miui.com", ("miui.com",)),
    (b"m\xc3\xbcller.de", ("xn--mller-kva.de",)),
    ("miui\u3002com".encode(), ("miui.com",)),
    (b"\xff.miui.com", ("miui.com",)),
    (b"", ()), (b"42.62.48.9", ()), (b"[2001:db8::1]:443", ()), (b"42.62.48.9/", ()), (b"a b", ()), (b"\xff\xfe", ()),
])
def test_bytes_that_no_name_has_hide_none(said, names):
    assert claimed(said) == names


@pytest.mark.parametrize("much", [b"a." * 150, b"a." * 9_000, b"x" * 250 + b"."])
def test_a_name_that_is_too_long_ends_as_it_ends(much):
    (name,) = claimed(much + b"miui.com")
    assert name.endswith(".miui.com") or name == "miui.com"
    assert host_name(name.encode()) == name


@given(st.binary(max_size=2_000) | st.text("a.-%\0\u3002ü", max_size=900).map(str.encode))
def test_whatever_is_claimed_is_a_name(said):
    assert all(host_name(name.encode()) == name for name in claimed(said))


@given(st.binary(max_size=600))
def test_what_comes_out_is_printable_and_stays_the_same(said):
    name = host_name(said)
    assert name is None or (name.isascii() and name.isprintable() and host_name(name.encode()) == name)


@given(st.binary(max_size=60) | st.ip_addresses().map(lambda ip: str(ip).encode()))
def test_nothing_is_a_name_and_an_address(said):
    assert host_name(said) is None or address(said) is None


@given(st.ip_addresses(), st.sampled_from(["{}", "{}:443", "[{}]", "[{}]:80"]))
def test_an_address_is_read_however_it_is_written(ip, form):
    if ip.version == 4 and "[" in form:
        assert host_name(form.format(ip).encode()) is None
    elif ip.version == 4 or "[" in form or form == "{}":
        assert address(form.format(ip).encode()) == str(ip)
