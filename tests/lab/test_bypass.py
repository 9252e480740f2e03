"""Ways around our DNS, tried by a phone over both families: each is closed by a rule that can be switched off."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dnslib import DNSRecord
from judge import Lab, environment, lab_up, wait_for
from quicwriter import crypto, initial
from stub import framed
from talk import alpn, extension, hello, message, server_name

pytestmark = pytest.mark.lab

SAY = Path(__file__).parents[1] / "helpers/say.py"
FRIENDS = "198.51.100.90", "2001:db8:feed::90"
GOOGLE = "8.8.8.8", "2001:4860:4860::8888"
Ways = dict[str, tuple[str, str, int, bytes]]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_up() as built:  # its own: packs are switched off
        yield built


def say(lab: Lab, ways: Ways, phone: str = "phone1") -> dict[str, str]:
    """What became of each, by its token."""
    listed = json.dumps([[proto, addr, port, data.hex()] for proto, addr, port, data in ways.values()])
    argv = [sys.executable, "-m", "firewall.cli", "lab", "exec", phone, "--", sys.executable, str(SAY)]
    done = subprocess.run(argv, input=listed, capture_output=True, text=True, timeout=60, check=True, env=environment(lab.name))
    return dict(zip(ways, json.loads(done.stdout), strict=True))


def tls(token: str, *names: str, protocols: tuple[bytes, ...] = ()) -> bytes:
    """A hello whose token everybody can read."""
    more = [alpn(*protocols)] if protocols else []
    return hello(server_name(*(name.encode() for name in names)), *more, extension(0x7A7A, token.encode()))


def asks(token: str, target: str) -> bytes:
    return f"GET {target}{token} HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n".encode()


def ways(mark: str) -> Ways:
    """Token -> how it tries to get out. Every one is closed by the pack `bypass`."""
    found: Ways = {}
    for number, (friend, google) in enumerate(zip(FRIENDS, GOOGLE, strict=True)):
        for word, proto, addr, port, data in (
            ("dot", "tcp", friend, 853, lambda t: tls(t, "resolver.example.net")),
            ("dotport", "tcp", friend, 8853, lambda t: tls(t, "resolver.example.net", protocols=(b"dot",))),
            ("doq", "udp", friend, 853, lambda t: t.encode()),
            ("dohname", "tcp", friend, 443, lambda t: tls(t, "mozilla.cloudflare-dns.com", protocols=(b"h2",))),
            ("dohaddr", "tcp", google, 443, lambda t: tls(t, "harmless.example.net")),
            ("doh3", "udp", google, 443, lambda t: t.encode()),
            ("relay", "tcp", friend, 443, lambda t: tls(t, "mask.icloud.com")),
            ("plainudp", "udp", friend, 5353, lambda t: DNSRecord.question(f"{t}.example").pack()),
            ("plaintcp", "tcp", friend, 5353, lambda t: framed(DNSRecord.question(f"{t}.example"))),
            ("httpdns", "tcp", friend, 80, lambda t: asks(t, "/164566/sign_d?host=appmarket.example.net&s=")),
            ("dnsquery", "tcp", friend, 80, lambda t: asks(t, "/dns-query?name=www.example.net&t=")),
        ):
            token = f"{mark}-{word}-v{4 + 2 * number}"
            found[token] = proto, addr, port, data(token)
    for family, tencent in ((4, "119.29.29.98"), (6, "64:ff9b::119.29.29.98")):
        token = f"{mark}-tencent-v{family}"
        found[token] = "tcp", tencent, 80, asks(token, "/d?dn=www.example.net&t=")
    return found


def answers(lab: Lab, *asked: tuple[str, str], at: str = "10.77.0.1") -> list[tuple[int, list[str]]]:
    """Of each (name, type): the rcode, and the data of what our DNS says."""
    code = """
import socket, sys
from dnslib import DNSQuestion, DNSRecord, QTYPE
at, *asked = sys.argv[1:]
s = socket.socket(socket.AF_INET6 if ":" in at else socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(9); s.connect((at, 53))
for name, qtype in zip(asked[::2], asked[1::2]):
    s.send(DNSRecord(q=DNSQuestion(name, int(qtype) if qtype.isdigit() else getattr(QTYPE, qtype))).pack()); print(s.recv(4096).hex())
"""
    told = lab.phone(sys.executable, "-c", code, at, *(word for one in asked for word in one)).stdout.split()
    replies = [DNSRecord.parse(bytes.fromhex(line)) for line in told]
    return [(reply.header.rcode, [str(rr.rdata) for rr in reply.rr]) for reply in replies]


def tokens(lab: Lab, wanted: Ways) -> set[str]:
    """Those that arrived."""
    payloads = [row["payload"] for row in lab.sinks()]
    return {token for token in wanted if any(token in payload for payload in payloads)}


def test_every_way_is_closed_by_a_rule_that_can_be_switched_off(lab: Lab) -> None:
    closed = ways("shut")
    became = say(lab, closed)
    assert {token for token, how in became.items() if how == "answered"} == set()
    lab.consentry("rules", "disable", "bypass")
    try:
        became = say(lab, ways("open"))
        assert {token for token, how in became.items() if how != "answered"} == set()
        wait_for(lambda: tokens(lab, ways("open")) == set(ways("open")))
        assert answers(lab, ("use-application-dns.net", "A"))[0][0] == 0
    finally:
        lab.consentry("rules", "enable", "bypass")
    assert tokens(lab, closed) == set()
    rules = {row["rule"] for row in lab.history("verdict:block last:5m")}
    assert {f"bypass/{number}" for number in (1, 2, 3, 4, 5, 7, 8, 11)} <= rules


def test_dns_over_quic_on_another_port_says_what_it_is(lab: Lab) -> None:
    def datagrams(port: int) -> Ways:
        return {addr: ("udp", addr, port, initial(crypto(0, message(server_name(b"dns.example.net") + alpn(b"doq"))))) for addr in FRIENDS}

    say(lab, datagrams(8853))
    rows = wait_for(lambda: lab.history("via:doq port:8853 last:5m"), 3)
    assert {(row["verdict"], row["rule"]) for row in rows} == {("block", "bypass/8")}
    lab.consentry("rules", "disable", "bypass/8")
    try:
        say(lab, datagrams(8854))
        wait_for(lambda: {row["dst"] for row in lab.sinks() if row["dport"] == 8854} == set(FRIENDS))
    finally:
        lab.consentry("rules", "enable", "bypass/8")
    assert not [row for row in lab.sinks() if row["dport"] == 8853 and row["proto"] == "udp"]


def test_names_of_such_ways_do_not_exist(lab: Lab) -> None:
    names = [(name, qtype) for name in ("use-application-dns.net", "mask.icloud.com", "mask-h2.icloud.com", "dns.google") for qtype in ("A", "AAAA", "HTTPS")]
    names += [("_dns.resolver.arpa", "64"), ("_dns.dns.google", "64")]
    assert answers(lab, *names) == [(3, [])] * len(names)


def test_private_dns_that_is_automatic_falls_back_and_strict_is_told(lab: Lab) -> None:
    """Android tries the resolver it was given, finds no DNS over TLS there, and goes on in the clear."""
    resolvers = "10.77.0.1", "2001:db8:77::1"
    assert "answered" not in say(lab, {at: ("tcp", at, 853, tls("probe", "dot.example.net")) for at in resolvers}, "phone2").values()
    for at in resolvers:
        assert answers(lab, ("example.com", "A"), at=at) == [(0, ["93.184.216.34"])]
    assert not [row for row in lab.sinks() if row["dport"] == 853 and "probe" in row["payload"]]

    said = {at: ("tcp", at, 853, tls("strict", "my.resolver.example")) for at in FRIENDS}
    assert say(lab, said, "phone2") == dict.fromkeys(FRIENDS, "reset")

    def told() -> str:
        return json.loads(lab.consentry("status", "--json").stdout)["trouble"] or ""

    assert "set it to Automatic" in wait_for(lambda: "phone2 wants encrypted DNS at my.resolver.example; rule bypass/1" in told() and told(), 3)
    wait_for(lambda: lab.consentry("history", "notes", "--json").stdout.count("phone2 wants") == 1)


def test_an_https_record_leads_nowhere_around_the_rules(lab: Lab) -> None:
    names = "modern.example.com", "api.account.xiaomi.com", "alias.example.com"
    (_, [good]), (_, [listed]), (_, alias) = answers(lab, *((name, "HTTPS") for name in names))
    assert "ipv4hint=93.184.216.35" in good
    assert "ipv6hint=2606:2800:220:1:248:1893:25c8:1947" in good
    assert "ech" not in good
    assert "alpn=h2" in listed
    assert "hint" not in listed
    assert "ech" not in listed
    assert alias == ["0 modern.example.com."]
    # who goes by a hint is known by the name it was asked for
    hints = "93.184.216.35", "2606:2800:220:1:248:1893:25c8:1947"
    assert say(lab, {at: ("udp", at, 7777, b"hinted") for at in hints}) == dict.fromkeys(hints, "answered")
    (row,) = wait_for(lambda: [row for row in lab.history("port:7777 last:5m") if row["count"] == len(hints)], 3)
    assert (row["name"], row["via"]) == ("modern.example.com", "dns")
