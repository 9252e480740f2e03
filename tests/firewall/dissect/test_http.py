from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.dissect import NEED_MORE, NOT_MINE
from firewall.dissect.http import LARGEST_HEAD, Request, Requests, odd_head_begins, searched

GET = b"GET /a HTTP/1.1\r\nHost: good.com\r\nAccept: */*\r\n\r\n"
EVIL = b"POST /up HTTP/1.1\r\nHost: miui.com\r\nContent-Length: 0\r\n\r\n"


def head(*lines, line=b"POST /x HTTP/1.1"):
    return b"\r\n".join((line, *lines)) + b"\r\n\r\n"


def hosts(data):
    """The hosts of every request in `data`, and the machine after it."""
    machine = Requests()
    found = machine.feed(data)
    return [request.hosts for request in found], machine


def test_a_request():
    machine = Requests()
    assert machine.feed(GET) == (Request("GET", "/a", ("good.com",)),)
    assert (machine.begun, machine.in_body, machine.opaque) == (False, False, False)


def test_every_truncation_waits():
    for end in range(len(GET)):
        machine = Requests()
        assert machine.feed(GET[:end]) is NEED_MORE
        assert machine.begun is (end > 0)


def test_byte_by_byte():
    machine = Requests()
    found = [machine.feed(bytes((octet,))) for octet in GET + EVIL]
    assert found[len(GET) - 1] == (Request("GET", "/a", ("good.com",)),)
    assert found[-1] == (Request("POST", "/up", ("miui.com",)),)
    assert sum(isinstance(some, tuple) for some in found) == 2


@pytest.mark.parametrize("before", [b"\r\n", b"\n", b"\r\n\r\n\r\n"])
def test_empty_lines_before_a_request(before):
    assert hosts(before + GET)[0] == [("good.com",)]
    assert hosts(GET + before + EVIL)[0] == [("good.com",), ("miui.com",)]


def test_pipelining_and_keep_alive_with_another_host():
    assert hosts(GET + EVIL)[0] == [("good.com",), ("miui.com",)]
    machine = Requests()
    machine.feed(GET)
    assert machine.feed(EVIL)[0].hosts == ("miui.com",)


def test_the_next_head_has_begun():
    machine = Requests()
    assert len(machine.feed(GET + EVIL[:9])) == 1
    assert machine.begun
    assert machine.feed(EVIL[9:])[0].hosts == ("miui.com",)


@pytest.mark.parametrize(("line", "said"), [
    (b"Host: miui.com", ("miui.com",)),
    (b"hOsT:MIUI.COM", ("miui.com",)),
    (b"Host:  \t miui.com:8080 \t", ("miui.com",)),
    (b"Host: miui.com.", ("miui.com",)),
    (b"Host : miui.com", ("miui.com",)),
    (b"Host:\r\n miui.com", ("miui.com",)),
    (b"Host: good.com\r\nHost: miui.com", ("good.com", "miui.com")),
    (b"Host: 42.62.48.9", ()),
    (b"Host:", ()),
    (b"Host: [2001:db8::1]:80", ()),
    (b"Host: a\x1b[2Jb", ()),
    (b"X-Host: miui.com", ()),
    (b"Accept: */*", ()),
])
def test_hosts(line, said):
    assert hosts(head(line))[0] == [said]


@pytest.mark.parametrize(("target", "said"), [
    (b"http://miui.com/x", ("miui.com", "good.com")),
    (b"HTTPS://user:pw@Miui.com:80?x", ("miui.com", "good.com")),
    (b"http://good.com", ("good.com",)),
    (b"/http://miui.com/", ("good.com",)),
    (b"*", ("good.com",)),
])
def test_absolute_form(target, said):
    assert hosts(head(b"Host: good.com", line=b"GET " + target + b" HTTP/1.1"))[0] == [said]


@pytest.mark.parametrize("line", [b"GET  /a  HTTP/1.1", b"GET /a HTTP/1.1 ", b"GET\t/a HTTP/1.1", b"GET /a b HTTP/1.0", b"GET /a HTTP/2.0", b"GET /a HTTP/9.9"])
def test_lenient_request_lines(line):
    assert hosts(head(b"Host: miui.com", line=line))[0] == [("miui.com",)]


def test_bare_line_feeds():
    assert hosts(GET.replace(b"\r", b"") + EVIL)[0] == [("good.com",), ("miui.com",)]


def test_a_body_is_counted_over():
    machine = Requests()
    body = b"\r\n\r\n" + GET
    machine.feed(head(b"Host: good.com", b"Content-Length: %d" % len(body)) + body[:5])
    assert machine.in_body
    assert machine.body_left == len(body) - 5
    assert machine.feed(body[5:]) == ()
    assert not machine.in_body
    assert machine.feed(EVIL)[0].hosts == ("miui.com",)


CHUNKED = head(b"Host: good.com", b"Transfer-Encoding: chunked") + b"5;a=b\r\nGET /\r\n0a\r\n" + b"x" * 10 + b"\r\n0\r\n"


@pytest.mark.parametrize("trailers", [b"\r\n", b"Host: nobody.com\r\nX: y\r\n\r\n"])
def test_a_chunked_body_is_counted_over(trailers):
    assert hosts(CHUNKED + trailers + EVIL)[0] == [("good.com",), ("miui.com",)]
    machine = Requests()
    said = []
    for octet in CHUNKED + trailers + EVIL:
        found = machine.feed(bytes((octet,)))
        said += [request.hosts for request in found] if isinstance(found, tuple) else []
    assert said == [("good.com",), ("miui.com",)]


@pytest.mark.parametrize("lines", [
    (b"Content-Length: 3", b"Transfer-Encoding: chunked"),
    (b"Content-Length: 3", b"Content-Length: 4"),
    (b"Content-Length: 3, 4",),
    (b"Content-Length: +3",),
    (b"Content-Length: 0x3",),
    (b"Content-Length:",),
    (b"Content-Length : 3",),
    (b"Content-Length:\r\n 3",),
    (b"Transfer-Encoding: identity",),
    (b"Transfer-Encoding: chunked, gzip",),
    (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    (b"Transfer-Encoding: \x0bchunked",),
    (b"Transfer-Encoding:\r\n chunked",),
    (b"Transfer-Encoding\t: chunked",),
    (b"X: a\rContent-Length: 3",),
    (b"Content-Length: " + b"9" * 30,),
])
def test_where_servers_may_disagree_it_does_not_guess(lines):
    said, machine = hosts(head(b"Host: good.com", *lines) + EVIL)
    assert said == [("good.com",)]
    assert machine.opaque
    assert machine.unsure
    assert machine.feed(EVIL) == ()


@pytest.mark.parametrize("lines", [
    (b"Content-Length: 2", b"Content-Length: 2"), (b"Content-Length: 2, 2",), (b"X-Upload-Content-Length: 9", b"Content-Length: 2"),
])
def test_the_same_length_twice_is_one(lines):
    assert hosts(head(b"Host: good.com", *lines) + b"ab" + EVIL)[0] == [("good.com",), ("miui.com",)]


def test_chunked_in_http_1_0():
    assert hosts(head(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0"))[1].unsure


@pytest.mark.parametrize("body", [b"zz\r\n", b"\r\n", b"3\nabc\r\n", b"3\r\nabcX", b"3\r\nabc\n0\r\n", b"-1\r\n", b"f" * 16 + b"\r\n", b"1" * LARGEST_HEAD])
def test_broken_chunks(body):
    machine = hosts(head(b"Transfer-Encoding: chunked") + body + b"\r\n\r\n")[1]
    assert machine.opaque
    assert machine.unsure


def test_a_bare_line_feed_in_trailers_may_be_their_end():
    machine = hosts(head(b"Transfer-Encoding: chunked") + b"0\r\nX: y\n\nGET / HTTP/1.1\r\n\r\n")[1]
    assert machine.unsure


def test_a_header_before_all_headers_may_count_or_not():
    assert hosts(head(b" Host: miui.com", b"Host: good.com"))[1].unsure


def test_connect_and_upgrade_end_in_something_else():
    said, machine = hosts(head(b"Host: proxy", line=b"CONNECT miui.com:443 HTTP/1.1"))
    assert said == [("miui.com", "proxy")]
    assert not machine.opaque
    assert machine.feed(b"\x16\x03\x01") == ()
    assert machine.opaque
    assert not machine.unsure
    machine = hosts(head(b"Host: good.com", b"Upgrade: websocket", line=b"GET / HTTP/1.1"))[1]
    assert machine.feed(b"\x81\x85abcd") == ()
    assert machine.opaque
    assert not machine.unsure


def test_an_upgrade_that_the_server_refused_goes_on_as_http():
    machine = hosts(head(b"Host: good.com", b"Upgrade: h2c", line=b"GET / HTTP/1.1"))[1]
    assert machine.feed(EVIL)[0].hosts == ("miui.com",)


def test_a_body_of_connect():
    assert hosts(head(b"Content-Length: 5", line=b"CONNECT a:1 HTTP/1.1"))[1].unsure


@pytest.mark.parametrize("data", [
    b"\x16\x03\x01", b"\0", b"SSH-2.0-OpenSSH_9.2 Debian\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"EHLO me\r\n", b"GET /\r\n",
    b"A" * 33, b" GET / HTTP/1.1", b"get(\r\n", b"\r\nUSER x\n",
])
def test_something_else(data):
    machine = Requests()
    assert machine.feed(data) is NOT_MINE
    assert machine.opaque
    assert machine.feed(GET) is NOT_MINE


def test_pri_is_a_method_like_any_other_unless_http_2_begins():
    for line in (b"PRI /x HTTP/1.1", b"PRI * HTTP/1.1", b"PRI /x HTTP/2.0", b"PRI * HTTP/2.0"):
        for cut in range(len(line) + 8):
            machine, data = Requests(), head(b"Host: miui.com", line=line)
            assert machine.feed(data[:cut]) is NEED_MORE
            assert machine.feed(data[cut:])[0].hosts == ("miui.com",)
    machine = Requests()
    assert machine.feed(b"PRI * HTTP/2.0\r\n") is NEED_MORE
    assert machine.feed(b"\r\nSM\r\n\r\n") is NOT_MINE
    assert hosts(GET + b"PRI * HTTP/2.0\r\n\r\n")[1].unsure


def test_garbage_after_a_request():
    said, machine = hosts(GET + b"\x16\x03\x01")
    assert said == [("good.com",)]
    assert machine.unsure


def test_a_head_without_end():
    machine = Requests()
    assert machine.feed(b"GET / HTTP/1.1\r\nHost: good.com\r\n" + b"X: y\r\n" * 3000) == ()
    assert machine.unsure
    late = Requests()
    assert late.feed(b"GET / HTTP/1.1\r\nX: " + b"y" * LARGEST_HEAD + b"\r\nHost: miui.com\r\n\r\n") == ()
    assert late.unsure


@given(st.lists(st.binary(max_size=80) | st.sampled_from([GET, EVIL, CHUNKED, b"\r\n", b"0\r\n\r\n", b"HTTP/1.1\r\n"]), max_size=6))
def test_never_raises(pieces):
    machine = Requests()
    for piece in pieces:
        found = machine.feed(piece)
        assert found in (NEED_MORE, NOT_MINE) or all(host.isprintable() for request in found for host in request.hosts)
        assert machine.begun + machine.in_body + machine.opaque <= 1


@given(st.integers(0, len(GET + CHUNKED) + 1), st.integers(0, len(GET + CHUNKED) + 1))
def test_where_segments_are_cut_changes_nothing(first, second):
    data = GET + CHUNKED + b"\r\n" + EVIL
    first, second = sorted((first, second))
    machine = Requests()
    said = []
    for piece in (data[:first], data[first:second], data[second:]):
        found = machine.feed(piece)
        said += [request.hosts for request in found] if isinstance(found, tuple) else []
    assert said == [("good.com",), ("good.com",), ("miui.com",)]


@given(st.lists(st.tuples(st.integers(0, len(GET + CHUNKED) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_mutations_end_in_an_answer(changes):
    data = bytearray(GET + CHUNKED)
    for at, value in changes:
        data[at] = value
    machine = Requests()
    found = machine.feed(bytes(data))
    assert found in (NEED_MORE, NOT_MINE) or isinstance(found, tuple)
    assert machine.begun + machine.in_body + machine.opaque <= 1


SEARCH = b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: x\r\n\r\n"


@pytest.mark.parametrize(("said", "told"), [
    (SEARCH, ("239.255.255.250",)),
    (SEARCH.replace(b"M-SEARCH", b"NOTIFY").replace(b"239.255.255.250", b"[FF02::C]"), ("ff02::c",)),
    (SEARCH.replace(b"239.255.255.250:1900", b"box.local"), ("box.local",)),
    (SEARCH.replace(b"HOST", b"ST"), ()),
    (SEARCH[:30], ()),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", NOT_MINE),
    (b"HTTP/1.1 200 OK\r\n\r\n", NOT_MINE),
    (b"", NOT_MINE),
])
def test_where_a_search_in_a_datagram_goes(said: bytes, told: object) -> None:
    assert searched(said) == told


@pytest.mark.parametrize("line", [b'192.0.2.1 - - [1] "GET /a HTTP/1.1" 200 7\n', b'{"said": "GET /a HTTP/1.1"}\n'])
def test_a_line_that_tells_of_a_request_begins_none(line: bytes) -> None:
    assert not odd_head_begins(line)
    assert odd_head_begins(b"get /a HTTP/1.x\n")


@pytest.mark.parametrize(("line", "upgrade", "said", "tunnel"), [
    (b"GET /.well-known/masque/udp/miui.com/443/ HTTP/1.1", b"connect-udp", ("proxy.example", "miui.com"), True),
    (b"GET /.well-known/masque/ip/miui.com/6/ HTTP/1.1", b"foo, Connect-IP", ("proxy.example", "miui.com"), True),
    (b"GET /.well-known/masque/ip/*/*/ HTTP/1.1", b"connect-ip", ("proxy.example",), True),
    (b"GET /.well-known/masque/udp/2001%3Adb8%3A%3A1/443/ HTTP/1.1", b"connect-udp", ("proxy.example",), True),
    (b"GET /own/miui.com HTTP/1.1", b"connect-udp", ("proxy.example",), True),
    (b"CONNECT miui.com:443 HTTP/1.1", b"", ("miui.com", "proxy.example"), True),
    (b"GET /.well-known/masque/udp/miui.com/443/ HTTP/1.1", b"websocket", ("proxy.example",), False),
])
def test_a_proxy_for_datagrams_or_packets_is_a_tunnel(line, upgrade, said, tunnel):
    """RFC 9298, 9484: by an upgrade. The host that is wanted counts as CONNECT's does."""
    (found,) = Requests().feed(head(b"Host: proxy.example", b"Upgrade: " + upgrade, b"Connection: upgrade", line=line))
    assert (found.hosts, found.tunnel) == (said, tunnel)
