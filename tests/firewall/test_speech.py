from __future__ import annotations

import itertools

import pytest
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st
from quicwriter import crypto, initial
from talk import alpn, conn, dtls, ech, frame, headers, message, record, server_name
from talk import hello as tls_hello

from firewall.dissect.h2 import PREFACE
from firewall.speech import (
    MORE,
    MOST_NAMES,
    NO_NAME,
    NO_NAME_YET,
    NOTHING_NEW,
    UNFINISHED,
    Datagrams,
    Heard,
    Speech,
    listener,
)
from rules.observation import Name, Sign, Source


def names(heard: object) -> list[str]:
    assert isinstance(heard, Heard), heard
    return [name.name for name in heard.said]


def request(host: str, body: bytes = b"") -> bytes:
    return f"POST /x HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_a_hello_says_its_name_and_no_more(wire) -> None:
    heard = Speech().hear(wire.hello("Example.COM."))
    assert heard == Heard((Name("example.com", Source.SNI),), may_say_more=False, unfinished=False, protocol="tls")


def test_a_hello_without_a_name_ends_the_waiting(wire) -> None:
    assert Speech().hear(wire.hello(None)) == Heard((), may_say_more=False, unfinished=False, protocol="tls")


@pytest.mark.parametrize("cut", [1, 5, 43, 60])
def test_a_hello_in_two_pieces(wire, cut: int) -> None:
    hello, speech = wire.hello("example.com"), Speech()
    assert speech.hear(hello[:cut]) is MORE
    assert names(speech.hear(hello[cut:])) == ["example.com"]


def test_every_request_of_a_connection_names_its_host() -> None:
    speech = Speech()
    first = speech.hear(request("a.example", b"12345"))
    assert names(first) == ["a.example"]
    assert first.may_say_more
    assert names(speech.hear(request("b.example"))) == ["b.example"]


def test_a_body_says_nothing_new() -> None:
    speech = Speech()
    whole = request("a.example", b"x" * 100)
    assert names(speech.hear(whole[:-60])) == ["a.example"]
    assert speech.hear(whole[-60:-10]) is NOTHING_NEW
    assert speech.hear(whole[-10:]) is NOTHING_NEW


def test_requests_in_one_packet_are_judged_together() -> None:
    assert names(Speech().hear(request("a.example") + request("b.example"))) == ["a.example", "b.example"]


def test_a_request_that_begins_behind_another_keeps_both_back() -> None:
    speech = Speech()
    second = request("b.example")
    assert speech.hear(request("a.example") + second[:20]) is MORE
    assert names(speech.hear(second[20:])) == ["a.example", "b.example"]


def test_text_that_is_no_http_is_let_go_on_but_listened_to() -> None:
    speech = Speech()
    assert speech.hear(b"hello there") == NO_NAME_YET


@pytest.mark.parametrize("data", [b"QUIT now\r\n", b"USER anna\r\n", b"\x00\x01\x02\x03"])
def test_what_is_unlike_http_is_nameless_at_once_and_listened_to(data: bytes) -> None:
    assert Speech().hear(data) == NO_NAME_YET


@pytest.mark.parametrize("line", [
    b"GET / http/1.1", b"GET / HTTP/1.1x", b"GET / HTTP/1", b" GET / HTTP/1.1", b"A" * 40 + b" / HTTP/1.1", b"\0GET / HTTP/1.1",
])
def test_what_some_servers_take_for_a_request_says_its_host(line: bytes) -> None:
    whole = line + b"\r\nHost: late.example\r\n\r\n"
    assert names(Speech().hear(whole)) == ["late.example"]
    pieces, cut = Speech(), len(line) + 9
    assert pieces.hear(whole[:cut]) is MORE
    assert names(pieces.hear(whole[cut:])) == ["late.example"]


@pytest.mark.parametrize("said", [
    b"GET http://late.example/a\r\n", b"get http://user@late.example:80\n", b"OPTIONS rtsp://late.example/a RTSP/1.0\r\n\r\n",
])
def test_a_uri_says_its_host_also_without_a_version(said: bytes) -> None:
    assert names(Speech().hear(said)) == ["late.example"]


def test_mail_says_no_host() -> None:
    mail = Speech()
    assert mail.hear(b"EHLO x\r\n") == NO_NAME_YET
    assert mail.hear(b"DATA\r\nHost: late.example\r\n") == NO_NAME_YET


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_nothing_a_phone_says_is_an_error(pieces: list[bytes]) -> None:
    speech = Speech()
    for piece in pieces:
        speech.hear(piece)


@given(st.integers(1, 80), st.sampled_from([b"", b"GET / HTTP/1.1\r\nHost: z.example\r\n\r\n"]))
def test_cuts_change_nothing(size: int, behind: bytes) -> None:
    stream, speech, said = request("a.example", b"body") + behind, Speech(), []
    for at in range(0, len(stream), size):
        heard = speech.hear(stream[at : at + size])
        if isinstance(heard, Heard):
            said += [name.name for name in heard.said]
    assert list(dict.fromkeys(said)) == ["a.example", *(["z.example"] if behind else [])]


# -- other protocols than TLS and HTTP/1 -----------------------------------------------------------------------------


def test_http_2_with_prior_knowledge() -> None:
    encoder, speech = Encoder(), Speech()
    opening = PREFACE + frame(4, stream=0)
    assert speech.hear(opening) == NO_NAME_YET, "a client may wait for the server here"
    first = headers(encoder, "a.example")
    assert speech.hear(first[:12]) is MORE
    heard = speech.hear(first[12:])
    assert names(heard) == ["a.example"]
    assert (heard.may_say_more, heard.protocol) == (True, "h2")
    assert speech.hear(frame(0, b"body")) is NOTHING_NEW
    assert names(speech.hear(headers(encoder, "b.example") + headers(encoder, "c.example"))) == ["b.example", "c.example"]


def test_http_2_after_an_upgrade() -> None:
    speech = Speech()
    assert names(speech.hear(b"GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: h2c\r\n\r\n")) == ["a.example"]
    assert names(speech.hear(PREFACE + headers(Encoder(), "b.example"))) == ["b.example"]
    dripped = Speech()
    dripped.hear(b"GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: h2c\r\n\r\n")
    heard = [dripped.hear(PREFACE[at : at + 1]) for at in range(len(PREFACE))]
    assert any(isinstance(one, Heard) and one.unfinished for one in heard)


def test_connect_is_a_tunnel_to_a_name() -> None:
    heard = Speech().hear(b"CONNECT miui.com:443 HTTP/1.1\r\nHost: miui.com:443\r\n\r\n")
    assert names(heard) == ["miui.com"]
    assert heard.signs == (Sign.TUNNEL,)
    assert Speech().hear(request("a.example")).signs == ()


def test_httpdns_shows_what_was_asked_for() -> None:
    heard = Speech().hear(b"GET /164566/sign_d?host=miui.com HTTP/1.1\r\nHost: 203.107.1.65\r\n\r\n")
    assert heard.said == (Name("miui.com", Source.HTTPDNS),)
    assert (heard.signs, heard.addresses) == ((Sign.HTTPDNS,), ("203.107.1.65",))


def test_signs_are_of_the_requests_at_hand() -> None:
    speech = Speech()
    speech.hear(b"GET /1/d?host=miui.com HTTP/1.1\r\nHost: 203.107.1.65\r\n\r\n")
    later = speech.hear(request("a.example"))
    assert (later.signs, later.addresses, names(later)) == ((), (), ["a.example"])


def test_xiaomis_channel() -> None:
    heard, whole = Speech(), conn(b"fr.app.chat.global.xiaomi.net")
    assert heard.hear(whole[:30]) is MORE
    said = heard.hear(whole[30:])
    assert names(said) == ["fr.app.chat.global.xiaomi.net", "xiaomi.com"]
    assert said.signs == (Sign.XIAOMI,)


@pytest.mark.parametrize(("data", "what"), [(b"SSH-2.0-x\r\n", "ssh"), (b"\x05\x01\x00", "socks")])
def test_tunnels_over_tcp(data: bytes, what: str) -> None:
    heard = Speech().hear(data)
    assert (heard.signs, heard.protocol, heard.said) == ((Sign.TUNNEL,), what, ())


def test_mail_that_starts_tls_says_its_name_then(wire) -> None:
    speech = Speech()
    assert speech.hear(b"EHLO phone.example\r\n") == NO_NAME_YET
    assert speech.hear(b"STARTTLS\r\n") == NO_NAME_YET
    hello = wire.hello("mail.example")
    assert speech.hear(hello[:20]) is MORE
    assert names(speech.hear(hello[20:])) == ["mail.example"]


@pytest.mark.parametrize("cut", [1, 2, 5, 40])
def test_a_hello_behind_mail_is_read_wherever_it_is_cut(wire, cut: int) -> None:
    hello = wire.hello("mail.example")
    apart, together = Speech(), Speech()
    assert apart.hear(b"EHLO phone.example\r\n") == NO_NAME_YET
    assert apart.hear(hello[:cut]) in (MORE, NO_NAME_YET), "its first byte may pass"
    assert names(apart.hear(hello[cut:])) == ["mail.example"]
    assert together.hear(b"a1 STARTTLS\r\n" + hello[:cut]) in (MORE, NO_NAME_YET)
    assert names(together.hear(hello[cut:])) == ["mail.example"]
    assert names(Speech().hear(b"EHLO x\r\n\x16\x03\xff\xff\xff" + hello)) == ["mail.example"], "what only looks like one does not hide it"


STARTS_TLS = {  # what a client says before its hello; each piece after an answer of its server
    "smtp": [b"HELO phone\r\n", b"STARTTLS\r\n"], "imap": [b"a NOOP\r\n", b"b STARTTLS\r\n"], "pop3": [b"USER anna\r\n", b"STLS\r\n"],
    "ftp": [b"FEAT\r\n", b"AUTH SSL\r\n"], "nntp": [b"MODE READER\r\n", b"STARTTLS\r\n"], "irc": [b"NICK anna\r\n", b"STARTTLS\r\n"],
    "xmpp": [b"<?xml version='1.0'?><stream:stream to='x' version='1.0'>", b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"],
    "ldap": [b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16" + b"1.3.6.1.4.1.1466.20037"], "postgresql": [bytes.fromhex("0000000804d2162f")],
    "mysql": [bytes.fromhex("20000001 85aeff19 00000001 21") + bytes(23)], "rdp": [bytes.fromhex("030000130ee000000000000100080003000000")],
    "amqp": [b"AMQP\x02\1\0\0"], "tds": [bytes.fromhex("12010010000000000000ff0000000000"), b"\x12\1\0\x70\0\0\0\0"], "a proxy's line": [b"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n"],
    "a proxy's header": [bytes.fromhex("0d0a0d0a000d0a515549540a2111000c") + bytes(12)], "xiaomi, of another kind": [b"\xc2\xfe\0\5\xff\xff\xff\xff"],
    "anything": [bytes(range(128, 160)), b"\x16\x03", b"\x16", b"x"],
}


@pytest.mark.parametrize("cut", [0, 1, 3, 5, 6, 44])
@pytest.mark.parametrize("protocol", STARTS_TLS)
def test_a_hello_behind_whatever_a_protocol_begins_with_is_read(wire, protocol: str, cut: int) -> None:
    hello = wire.hello("late.example")
    apart, together = Speech(), Speech()
    *before, last = STARTS_TLS[protocol]
    for piece in (*before, last):
        assert apart.hear(piece) in (NO_NAME_YET, MORE)
    assert not cut or apart.hear(hello[:cut]) in (NO_NAME_YET, MORE)
    assert names(apart.hear(hello[cut:])) == ["late.example"]
    for piece in before:
        together.hear(piece)
    assert names(together.hear(last + hello) if not cut else together.hear(last + hello[:cut]) and together.hear(hello[cut:])) == ["late.example"]


EARLY = b"\x17\x03\x03\0\x40" + b"\x16\x03\xff\xff" * 16  # data that its server has refused, full of what looks like hellos


@pytest.mark.parametrize("before", [[], [b"EHLO phone.example\r\n"], [bytes.fromhex("0000000804d2162f")]])
@pytest.mark.parametrize("between", [b"", b"\x14\x03\x03\0\1\1", EARLY, b"\x14\x03\x03\0\1\1" + EARLY * 3])
def test_a_second_hello_in_one_piece_with_the_first_is_read_whatever_stands_between(wire, before: list[bytes], between: bytes) -> None:
    first, second = wire.hello("good.example"), wire.hello("miui.com")
    for cut in (None, 1, 5, 50):
        speech = Speech()
        for piece in before:
            speech.hear(piece)
        heard = speech.hear(first + between + second[:cut])
        if cut:
            assert heard is MORE
            heard = speech.hear(second[cut:])
        assert set(names(heard)) == {"good.example", "miui.com"}
        assert not heard.unfinished


def test_what_no_client_puts_behind_its_hello_is_unfinished(wire) -> None:
    first, second = (message(server_name(name)) for name in (b"good.example", b"miui.com"))
    bent = second[4:] + b"\0"
    for said in (record(first + second), record(first) + record(b"\x10rest"), record(first) + record(b"\x01" + len(bent).to_bytes(3) + bent), record(first) * 20):
        heard = Speech().hear(said)
        assert (names(heard), heard.unfinished) == (["good.example"], True)
    for said in (record(first) + EARLY, record(first) + b"\x14\x03\x03\0\1\1" + EARLY[:40], b"".join(record(first[n : n + 20]) for n in range(0, len(first), 20))):
        heard = Speech().hear(said)
        assert (names(heard), heard.unfinished) == (["good.example"], False)


@pytest.mark.parametrize("before", [b"EHLO x\r\n", b"\x80binary", b"\x15\x03\x01\0\2\1\0"])
def test_a_hello_whose_lengths_lie_is_unfinished_behind_other_words_too(before: bytes) -> None:
    bent = message(server_name(b"miui.com"))[4:] + b"\0"
    assert Speech().hear(before + record(b"\x01" + len(bent).to_bytes(3) + bent)).unfinished


def test_what_only_begins_like_a_record_does_not_hide_the_hello_behind_it(wire) -> None:
    heard = Speech().hear(b"\x16\x03\xff\xff\xff\r\n".join([b"EHLO x\r\n", *[b""] * 12]) + b"STARTTLS\r\n" + wire.hello("miui.com"))
    assert names(heard) == ["miui.com"]


@pytest.mark.parametrize("before", [b"\x80binary", b"EHLO x\r\n", b"GET / HTTP/1.1\r\nHost: good.example\r\nUpgrade: TLS/1.2\r\n\r\n", b"CONNECT good.example:443 HTTP/1.1\r\n\r\n"])
def test_a_hello_in_records_of_any_version_is_read_behind_other_words(wire, before: bytes) -> None:
    """A server looks at the first byte of a record's version alone (RFC 8446, 5.1)."""
    for version in (1, 3, 0x7F):
        speech, hello = Speech(), bytearray(wire.hello("late.example"))
        hello[2] = version
        speech.hear(before)
        assert names(speech.hear(bytes(hello)))[-1] == "late.example"


def test_who_switches_from_http_to_another_protocol_is_listened_to_and_keeps_its_name(wire) -> None:
    head = b"GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: anything\r\n\r\n"
    speech = Speech()
    speech.hear(head)
    for _ in range(12):
        assert names(speech.hear(b"\x82\x05hello")) == ["a.example"]
    assert not speech.hear(b"\x82\x05hello").may_say_more
    assert names(speech.hear(wire.hello("late.example"))) == ["a.example", "late.example"]
    assert Speech().hear(head + wire.hello("late.example")).unfinished, "before its server has agreed"


def test_no_message_is_kept_back_for_what_its_last_byte_might_begin() -> None:
    """Its phone would wait for an answer to it, and the gate for more."""
    speech = Speech()
    for _ in range(50):
        assert speech.hear(b"login\x00\x16") == NO_NAME_YET


def test_what_will_not_become_tls_is_listened_to_no_longer(wire) -> None:
    """It costs the gate each of its packets, and a connection that lives long is to need no gateway."""
    pieces, long, text, mail = Speech(), Speech(), Speech(), Speech()
    assert [pieces.hear(b"\x80ping") for _ in range(9)][-2:] == [NO_NAME, NO_NAME]
    assert [long.hear(bytes(1_400)) for _ in range(3)] == [NO_NAME_YET, NO_NAME_YET, NO_NAME]
    assert [text.hear(b"telemetry;" * 6_000) for _ in range(2)] == [NO_NAME_YET, NO_NAME]
    assert [mail.hear(b"EHLO x\r\n" + b"noop\r\n" * 9_000) for _ in range(9)][-1] == NO_NAME_YET
    assert names(mail.hear(wire.hello("late.example"))) == ["late.example"]


def test_a_request_in_pieces_behind_other_text_is_read() -> None:
    speech = Speech()
    assert speech.hear(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\nGET / HT") == NO_NAME_YET
    heard = [speech.hear(piece) for piece in (b"TP/1.1\r\nHo", b"st: late.example\r\n\r\n")]
    assert heard[0] is MORE
    assert names(heard[1]) == ["late.example"]


@pytest.mark.parametrize("family", [b"\x11\0\x0c" + bytes(12), b"\x21\0\x2c" + bytes(44), b"\0\0\0"])
def test_what_stands_behind_a_proxys_header_in_one_piece_is_read(wire, family: bytes) -> None:
    """PROXY protocol, version 2: of IPv4, of IPv6 and TLVs, of nobody."""
    header = b"\r\n\r\n\0\r\nQUIT\n\x21" + family
    for said in (request("late.example"), wire.hello("late.example")):
        assert names(Speech().hear(header + said)) == ["late.example"]
        speech = Speech()
        assert speech.hear(header + said[:30]) is MORE
        assert names(speech.hear(said[30:])) == ["late.example"]


def test_mail_in_pieces_and_ssh_in_pieces(wire) -> None:
    speech = Speech()
    assert speech.hear(b"EHLO phone") is MORE, "it could still be a request"
    assert speech.hear(b".example\r\n") == NO_NAME_YET
    assert names(speech.hear(wire.hello("mail.example"))) == ["mail.example"]
    speech = Speech()
    assert speech.hear(b"SSH-2.0-Open") == NO_NAME_YET
    assert speech.hear(b"SSH_9.6 Debian\r\n").signs == (Sign.TUNNEL,)
    assert speech.hear(b"more") == NO_NAME_YET._replace(signs=(Sign.TUNNEL,))


def test_openvpns_own_hello_is_not_listened_to(wire) -> None:
    """Over TCP each of its packets has its length in front; a hello in two of them would never end."""
    speech, hello = Speech(), wire.hello("a.example")
    begin = b"\x38" + b"session1" + bytes(5)
    assert speech.hear(len(begin).to_bytes(2) + begin) == NO_NAME._replace(signs=(Sign.TUNNEL,), protocol="openvpn")
    for part in (hello[:60], hello[60:]):
        framed = b"\x20" + b"session1" + bytes(5) + part
        assert speech.hear(len(framed).to_bytes(2) + framed) == NO_NAME


@pytest.mark.parametrize("begin", [b"SSH-2.0-x\r\n", b"\x05\x01\x00", b"\0\x1d" + bytes.fromhex("123401000001000000000000") + b"\3www\7example\0\0\x1c\0\x01"])
def test_what_looks_like_a_tunnel_may_be_nonsense_to_a_mail_server(wire, begin: bytes) -> None:
    """It says so, and goes on."""
    speech = Speech()
    sign = speech.hear(begin).signs
    assert sign in ((Sign.TUNNEL,), (Sign.DNS_ELSEWHERE,))
    speech.hear(b"STARTTLS\r\n")
    heard = speech.hear(wire.hello("miui.com"))
    assert (names(heard)[0], heard.signs) == ("miui.com", sign)
    assert names(Speech().hear(begin + wire.hello("miui.com")))[0] == "miui.com"
    speech = Speech()
    assert not [speech.hear(one) for one in (begin, *[b"\x80data"] * 9)][-1].may_say_more, "a tunnel needs no gateway"


def test_requests_behind_mail_are_read() -> None:
    speech = Speech()
    assert speech.hear(b"a ID\r\n") == NO_NAME_YET
    assert names(speech.hear(request("a.example"))) == ["a.example"]
    assert names(speech.hear(request("b.example"))) == ["b.example"]
    assert names(Speech().hear(b"EHLO x\r\n" + request("a.example"))) == ["a.example"]


TOKENS = st.text("!#$%&'*+-.^_`|~019AZaz", min_size=1, max_size=32) | st.sampled_from(
    ["EHLO", "LHLO", "STLS", "CAPA", "AUTH", "A", "GET", "SSH-", "SSH-A", "SSH-2.0-x", "SSH-1.99-x", "PRI", "P", "get"],
)
TARGETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20) | st.sampled_from(
    ["/x", "*", "id://tracker.example/x", "ID", "ID/?x", "STARTTLS", "CAPABILITY", "TLS", "id:\x16\x03", "http://c.example/\x16"],
)
HEADS = st.builds(
    "{}{} {} HTTP/{}\r\nA: {}\r\nHost: {}\r\n\r\n".format, st.sampled_from(["", "\r\n", "\n\n"]), TOKENS, TARGETS, st.sampled_from(["1.1", "1.0", "2.0", "0.9"]),
    st.sampled_from(["b", "EHLO x", "SSH-2.0-x", "\x16\x03\x01", "PRI * HTTP/2.0"]), st.sampled_from(["a.example", "b.example"]),
).map(str.encode)


@given(st.lists(HEADS, min_size=1, max_size=4), st.lists(st.integers(1, 300), max_size=4))
def test_whatever_a_request_looks_like_its_host_is_read(heads: list[bytes], cuts: list[int]) -> None:
    stream, speech, said = b"".join(heads), Speech(), set()
    cuts = [0, *sorted(cut for cut in set(cuts) if cut < len(stream)), len(stream)]
    for start, end in itertools.pairwise(cuts):
        heard = speech.hear(stream[start:end])
        if isinstance(heard, Heard):
            said |= {name.name for name in heard.said}
            assert heard.may_say_more, "the gate goes on listening"
            assert (heard.protocol, heard.signs) in (("http", ()), ("http", (Sign.HTTPDNS,)), ("", ())), heard
    assert heard is not MORE
    assert {head.partition(b"Host: ")[2].decode().strip() for head in heads} <= said


def test_dns_over_tls_says_so_and_tor_looks_so() -> None:
    assert Speech().hear(tls_hello(server_name(b"dns.example"), alpn(b"dot"))).signs == (Sign.DOT,)
    assert Speech().hear(tls_hello(server_name(b"www.4wqh2vnsbr6lxq.com"))).signs == (Sign.TUNNEL,)
    assert Speech().hear(tls_hello(server_name(b"cloudflare-ech.com"), ech(208))).signs == (Sign.HIDDEN,)


# -- UDP -------------------------------------------------------------------------------------------------------------

HELLO = message(server_name(b"quic.example") + alpn(b"h3"))


def test_a_quic_hello() -> None:
    heard = Datagrams().hear(initial(crypto(0, HELLO)))
    assert heard.said == (Name("quic.example", Source.QUIC),)
    assert (heard.may_say_more, heard.unfinished, heard.protocol) == (True, False, "quic")
    for protocol in (b"doq", b"doq-i02"):  # a draft's, which resolvers still take
        assert Datagrams().hear(initial(crypto(0, message(alpn(protocol))))).signs == (Sign.DOQ,)


def test_a_quic_hello_over_two_datagrams_is_waited_for() -> None:
    flow = Datagrams()
    assert flow.hear(initial(crypto(40, HELLO[40:]))) is MORE
    assert names(flow.hear(initial(crypto(0, HELLO[:40]), number=1))) == ["quic.example"]
    assert flow.hear(b"\x40" + bytes(50)) is NOTHING_NEW


def test_a_second_connection_behind_a_harmless_one_is_heard() -> None:
    flow, other = Datagrams(), message(server_name(b"miui.com"))
    flow.hear(initial(crypto(0, HELLO)))
    assert flow.hear(initial(crypto(0, other[:20]), dcid=b"another1")) is MORE
    assert names(flow.hear(initial(crypto(20, other[20:]), dcid=b"another1", number=1))) == ["miui.com", "quic.example"]


def test_so_many_names_on_the_same_ports_end_in_doubt() -> None:
    flow = Datagrams()
    for number in range(MOST_NAMES + 1):
        hello = message(server_name(b"n%d.example" % number))
        heard = flow.hear(initial(crypto(0, hello), dcid=b"number %d" % number))
        assert isinstance(heard, Heard)
        assert heard.unfinished is (number == MOST_NAMES)
    assert len(heard.said) == MOST_NAMES


def test_noise_before_a_quic_hello_is_nameless_and_may_say_more() -> None:
    flow = Datagrams()
    assert flow.hear(b"\x17noise") == NO_NAME_YET
    assert flow.hear(b"\x17noise") is NOTHING_NEW
    assert names(flow.hear(initial(crypto(0, HELLO)))) == ["quic.example"]


def test_unknown_quic_tunnels_and_searches_over_udp() -> None:
    strange = Datagrams().hear(b"\xc9\xab\xcd\xef\x01\x08" + bytes(9) + bytes(1200))
    assert (strange.signs, strange.protocol) == ((Sign.STRANGE_QUIC,), "quic 0xabcdef01")
    tunnel = Datagrams().hear(b"\x01\0\0\0" + bytes(144))
    assert (tunnel.signs, tunnel.protocol) == ((Sign.TUNNEL,), "wireguard")
    search = Datagrams().hear(b"M-SEARCH * HTTP/1.1\r\nHOST: box.local\r\n\r\n")  # its host is no name
    assert (search.said, search.signs, search.addresses, search.protocol) == ((), (), ("box.local",), "ssdp")


def test_plain_dns_past_ours() -> None:
    """Over either transport, with the name; answers, other classes and what only begins like a question are none."""
    asked = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\3wwW\7example\0\0\x1c\0\x01"
    name = Name("www.example", Source.DNS_ELSEWHERE)
    for heard in (Datagrams().hear(asked), Speech().hear(len(asked).to_bytes(2) + asked)):
        assert (heard.said, heard.signs, heard.protocol, heard.may_say_more) == ((name,), (Sign.DNS_ELSEWHERE,), "dns", True)
    more = asked[:7] + b"\1" + asked[8:11] + b"\3" + asked[12:] + b"records that BIND reads over"
    for odd in (more, asked[:-1] + b"\xff", asked[:-2] + b"\x80\1"):  # any class, mDNS's bit
        assert Datagrams().hear(odd).said == Speech().hear(len(odd).to_bytes(2) + odd).said == (name,)
    for other in (asked[:2] + b"\x81\x80" + asked[4:], asked[:-1] + b"\3", asked[:-2], asked[:5] + b"\2" + asked[6:]):
        assert Datagrams().hear(other).signs == ()
        assert Speech().hear(len(other).to_bytes(2) + other).signs == ()


def test_a_question_past_ours_is_read_in_any_pieces_and_so_is_the_next() -> None:
    """It is kept back from where its head can be told from other protocols' beginnings: nothing of its name has passed then."""
    asked = [bytes((0, 29)) + b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\3%s\7example\0\0\x1c\0\x01" % label for label in (b"www", b"api")]
    speech = Speech()
    heard = [speech.hear(asked[0][at : at + 1]) for at in range(len(asked[0]))]
    assert {(one.said, one.may_say_more) for one in heard[:7]} == {((), True)}
    assert set(heard[7:-1]) == {MORE}
    assert (names(heard[-1]), heard[-1].signs) == (["www.example"], (Sign.DNS_ELSEWHERE,))
    for _ in range(20):
        heard = [speech.hear(asked[1][:7]), speech.hear(asked[1][7:20]), speech.hear(asked[1][20:])]
    assert heard[1] is MORE
    assert names(heard[-1]) == ["api.example", "www.example"], "the newest stands first"


def test_a_tunnel_in_pieces_is_one_when_its_first_message_is_whole() -> None:
    for begin in (b"\0\x0e\x38sessions" + bytes(5), b"\x05\x03\0\1\2"):
        speech = Speech()
        heard = [speech.hear(begin[at : at + 1]) for at in range(len(begin))]
        assert {(one.signs, one.may_say_more) for one in heard[:-1]} == {((), True)}
        assert heard[-1].signs == (Sign.TUNNEL,)
        assert speech.hear(b"\x81more").signs == (Sign.TUNNEL,)


def test_who_asks_many_questions_past_ours_still_says_all_there_is() -> None:
    talk = Datagrams()
    for number in range(40):
        heard = talk.hear(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\3n%02d\7example\0\0\x1c\0\x01" % number)
    assert (names(heard)[0], len(heard.said), heard.unfinished) == ("n39.example", MOST_NAMES, False)
    heard = talk.hear(initial(crypto(0, HELLO)))
    assert (names(heard)[0], len(heard.said), heard.unfinished) == ("quic.example", MOST_NAMES, False)
    for number in range(40):
        heard = talk.hear(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\3m%02d\7example\0\0\x1c\0\x01" % number)
    assert "quic.example" in names(heard)


def test_who_listens() -> None:
    assert isinstance(listener(6), Speech)
    assert isinstance(listener(17), Datagrams)
    assert listener(1) is None


OPENINGS = [
    PREFACE, b"PRI", b"SSH-", b"\xc2\xfe", b"\x05\x01", b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"EHLO a\r\n", b"STARTTLS\r\n", b"\x16\x03\x01\x00\x20",
    request("a.example"), conn(b"a.example"), PREFACE + headers(Encoder(), "b.example"), tls_hello(server_name(b"c.example")),
]


@given(st.lists(st.sampled_from(OPENINGS) | st.binary(max_size=30), max_size=6).map(b"".join), st.integers(1, 40))
def test_whatever_a_stream_says_there_is_an_answer(stream: bytes, size: int) -> None:
    speech = Speech()
    for at in range(0, len(stream), size):
        heard = speech.hear(stream[at : at + size])
        assert heard in (MORE, NOTHING_NEW) or (isinstance(heard, Heard) and all(name.name.isprintable() for name in heard.said))


@given(st.lists(st.binary(max_size=40) | st.sampled_from([initial(crypto(0, HELLO)), initial(crypto(30, HELLO[30:])), b"\x01\0\0\0" + bytes(144)]), max_size=6))
def test_whatever_datagrams_say_there_is_an_answer(datagrams: list[bytes]) -> None:
    flow, said = Datagrams(), ()
    for datagram in datagrams:
        heard = flow.hear(datagram)
        if isinstance(heard, Heard):
            assert set(said) <= set(heard.said), "what was said stays said"
            said = heard.said


# -- what no server takes, and what stands behind it ---------------------------------------------------------------------

QUESTION = bytes.fromhex("1234010000010000000000000474657374076578616d706c650000010001")


def test_a_hello_whose_lengths_lie_is_unfinished(wire) -> None:
    """Some servers read over what others refuse: behind the extensions, or in front of their end."""
    whole = wire.hello("miui.com")
    body = whole[9:]
    for bent in (body + b"\0", body[:-1] + b"\0\0\0", body[:-3]):
        message_ = b"\x01" + len(bent).to_bytes(3) + bent
        heard = Speech().hear(b"\x16\x03\x01" + len(message_).to_bytes(2) + message_)
        assert heard == UNFINISHED
        heard = Datagrams().hear(initial(crypto(0, message_)))
        assert isinstance(heard, Heard)
        assert heard.unfinished


@pytest.mark.parametrize("before", [[], [b"\x17 noise"], [b"\x40" + bytes(1_300)], [initial(crypto(0, message(server_name(b"a.example"))))]])
def test_a_hello_of_dtls_is_read_whatever_came_before(before: list[bytes]) -> None:
    speech = Datagrams()
    for data in before:
        speech.hear(data)
    *first, last = dtls(message(server_name(b"late.example")), cut=40)
    assert {speech.hear(piece) for piece in first} == {MORE}
    heard = speech.hear(last)
    assert isinstance(heard, Heard)
    assert heard.said[0] == Name("late.example", Source.SNI)
    assert (heard.may_say_more, heard.protocol) == (True, "dtls")
    assert speech.hear(b"\x17\xfe\xfd\0\1" + bytes(50)) is NOTHING_NEW


def test_a_strange_version_beside_a_hello_is_told_with_it() -> None:
    strange = bytes.fromhex("c0abcdef0108") + bytes(8) + b"\x08" + bytes(8) + bytes(1_177)
    friend = initial(crypto(0, message(server_name(b"a.example"))))
    for train in (friend + strange, strange + friend):
        heard = Datagrams().hear(train)
        assert names(heard) == ["a.example"]
        assert heard.signs == (Sign.STRANGE_QUIC,)


@pytest.mark.parametrize(("data", "sign"), [(QUESTION, Sign.DNS_ELSEWHERE), (b"\1\0\0\0" + bytes(144), Sign.TUNNEL)])
def test_what_a_flow_is_shows_behind_noise_too(data: bytes, sign: Sign) -> None:
    speech = Datagrams()
    assert speech.hear(b"noise") == NO_NAME_YET
    heard = speech.hear(data)
    assert isinstance(heard, Heard)
    assert heard.signs == (sign,)
    assert speech.hear(data) is NOTHING_NEW


def test_what_a_socks_client_wants_is_read() -> None:
    speech, want = Speech(), b"\x05\x01\0\x03\x0cmiui.example\x01\xbb"
    assert [names(speech.hear(b"\x05\x01\0")), speech.hear(want[:9])] == [[], MORE]
    assert names(speech.hear(want[9:])) == names(Speech().hear(b"\x05\x01\0" + want)) == ["miui.example"]
