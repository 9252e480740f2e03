from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.dissect.httpdns import MOST_NAMES, asked

QUERY = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01"


@pytest.mark.parametrize(("target", "names"), [
    ("/164566/sign_d?host=appmarket.micloud.xiaomi.net&t=1612345678&s=0123456789abcdef", ("appmarket.micloud.xiaomi.net",)),
    ("/100000/d?host=www.aliyun.com", ("www.aliyun.com",)),
    ("http://203.107.1.33/100000/resolve?host=a.example,b.example&query=4,6", ("a.example", "b.example")),
    ("/d?dn=www.DNSPod.cn.&ttl=1", ("www.dnspod.cn",)),
    ("/d?dn=c7e1f0a2b3d4&id=122&alg=des", ()),
    ("/v4/resolve?account_id=1&dn=map.example,img.example", ("map.example", "img.example")),
    ("/gslb/?ver=4.0&type=wifi&list=app.chat.xiaomi.net%2Cresolver.msg.xiaomi.net", ("app.chat.xiaomi.net", "resolver.msg.xiaomi.net")),
    ("/resolve?name=miui.com&type=A", ("miui.com",)),
    ("/dns-query?dns=" + urlsafe_b64encode(QUERY).decode().rstrip("="), ("www.example.com",)),
    ("/dns-query?dns=!!!", ()), ("/dns-query", ()), ("http://192.0.2.1/dns-query/", ()),
])
def test_questions(target, names):
    assert asked(target).names == names


@pytest.mark.parametrize("target", ["/", "/d", "/?dn=a.example", "/search?name=a.example", "/d?q=a.example", "/dns-query/docs", "/my/dns-query", "/index/d?host=a.example", "a.example:443", ""])
def test_other_requests(target):
    assert asked(target) is None


def test_names_are_bounded():
    many = ",".join(f"n{at}.example" for at in range(500))
    assert len(asked("/1/d?host=" + many).names) <= MOST_NAMES


@given(st.text(max_size=60) | st.builds("/{}?{}={}".format, st.sampled_from(["d", "1/d", "dns-query", "gslb/"]), st.sampled_from(["dn", "host", "dns", "list"]), st.text(max_size=40)))
def test_whatever_comes_there_is_an_answer(target):
    seen = asked(target)
    assert seen is None or all("." in name and name.isascii() for name in seen.names)
