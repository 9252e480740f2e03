"""What the probe says is what a phone would: read here by the gate's own readers."""

from __future__ import annotations

from dnslib import AAAA, A, DNSRecord

from firewall.dissect import NOT_MINE, host
from firewall.dissect.quic import Initials
from firewall.dissect.tls import Hello, client_hello, message
from firewall.selftest import hellos

TOKEN = b"0123456789abcdef"


def test_a_question_and_its_answer() -> None:
    query = hellos.question("Abc.eXample.CoM", hellos.A, 0x1234)
    asked = DNSRecord.parse(query)
    assert (asked.header.id, str(asked.q.qname), asked.q.qtype, asked.header.rd) == (0x1234, "Abc.eXample.CoM.", 1, 1)
    reply = asked.reply()
    assert hellos.answers(reply.pack(), hellos.A) == []
    from_zone = asked.replyZone("abc.example.com 60 CNAME other.example.\nother.example 60 A 192.0.2.7\nother.example 60 AAAA 2001:db8::7")
    assert hellos.answers(from_zone.pack(), hellos.A) == [bytes(A("192.0.2.7").data)]
    assert hellos.answers(from_zone.pack(), hellos.AAAA) == [bytes(AAAA("2001:db8::7").data)]


def test_damaged_answers_are_no_answers() -> None:
    whole = DNSRecord.question("a.example").replyZone("a.example 60 A 192.0.2.7").pack()
    for size in range(len(whole)):
        assert hellos.answers(whole[:size], hellos.A) == []


def test_a_hello_names_its_host_and_carries_the_token() -> None:
    said = hellos.client_hello("api.account.xiaomi.com", TOKEN)
    seen = client_hello(said)
    assert isinstance(seen, Hello)
    assert seen.sni == "api.account.xiaomi.com"
    assert TOKEN in said
    nameless = client_hello(hellos.client_hello(None, TOKEN))
    assert isinstance(nameless, Hello)
    assert nameless.sni is None


def test_quic_says_the_same() -> None:
    said = hellos.quic("api.account.xiaomi.com", TOKEN)
    assert len(said) >= 1_200
    assert TOKEN in said  # its connection id
    found = Initials().feed(said)
    assert isinstance(found, tuple)
    (hello,) = found
    seen = message(hello)
    assert seen is not NOT_MINE
    assert seen.sni == "api.account.xiaomi.com"


def test_http_says_its_host_where_the_token_is() -> None:
    said = hellos.http("api.account.xiaomi.com", TOKEN)
    assert said.startswith(b"POST /" + TOKEN + b" HTTP/1.1\r\n")
    assert host.host_name(b"api.account.xiaomi.com") == "api.account.xiaomi.com"
    assert b"\r\nHost: api.account.xiaomi.com\r\n" in said
