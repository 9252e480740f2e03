"""Ways around our DNS, tried by a phone over both families: each is closed by a rule that can be switched off."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dnslib import DNSRecord
from judge import Lab, lab_up, wait_for
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


def say(lab: Lab, ways: Ways, phone: int = 1) -> dict[str, str]:
    """What became of each, by its token."""
    listed = json.dumps([[proto, addr, port, data.hex()] for proto, addr, port, data in ways.values()])
    argv = ["ip", "netns", "exec", lab.namespaces["phones"][phone - 1], sys.executable, str(SAY)]
    done = subprocess.run(argv, input=listed, capture_output=True, text=True, timeout=60, check=True)
    return dict(zip(ways, json.loads(done.stdout), strict=True))


def tls(token: str, *names: str, protocols: tuple[bytes, ...] = ()) -> bytes:
    """A hello whose token everybody can read."""
    more = [alpn(*protocols)] if protocols else []
    return hello(server_name(*(name.encode() for name in names)), *more, extension(0x7A7A, token.encode()))


def asks(token: str, target: str) -> bytes:
    return f"GET {target}{token} HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n".encode()


def strange(token: str) -> bytes:
    """A packet of a version of QUIC that nobody has (RFC 8999, 5.1)."""
    return (b"\xc9\xab\xcd\xef\x01\x08" + b"d" * 8 + b"\x08" + b"s" * 8 + token.encode()).ljust(1_200, b"\0")


def question(token: str) -> DNSRecord:
    return DNSRecord.question(f"{token}.example")


# the rule of `bypass` -> how a phone tries to get out that this rule alone closes. Where two addresses stand, one for each family
WAYS: dict[str, list[tuple[str, tuple[str, str], int, Callable[[str], bytes]]]] = {
    "bypass/1": [("tcp", FRIENDS, 853, lambda t: tls(t, "resolver.example.net")), ("udp", FRIENDS, 853, str.encode)],
    "bypass/2": [("tcp", FRIENDS, 443, lambda t: tls(t, "mozilla.cloudflare-dns.com", protocols=(b"h2",)))],
    "bypass/3": [("tcp", GOOGLE, 443, lambda t: tls(t, "harmless.example.net")), ("udp", GOOGLE, 443, str.encode)],
    "bypass/4": [("tcp", ("119.29.29.98", "64:ff9b::119.29.29.98"), 80, lambda t: asks(t, "/v/"))],
    "bypass/5": [("tcp", FRIENDS, 443, lambda t: tls(t, "mask.icloud.com"))],
    "bypass/6": [("tcp", FRIENDS, 443, lambda t: tls(t, "use-application-dns.net"))],
    "bypass/7": [
        ("tcp", FRIENDS, 80, lambda t: asks(t, "/164566/sign_d?host=appmarket.example.net&s=")),
        ("tcp", FRIENDS, 80, lambda t: asks(t, "/dns-query?name=www.example.net&t=")),
        ("tcp", FRIENDS, 8080, lambda t: asks(t, "/d?dn=www.example.net&t=")),
        ("tcp", FRIENDS, 80, lambda t: f"POST /dns-query HTTP/1.1\r\nHost: 192.0.2.1\r\nContent-Length: 0\r\nX-T: {t}\r\n\r\n".encode()),
    ],
    "bypass/8": [
        ("tcp", FRIENDS, 8853, lambda t: tls(t, "resolver.example.net", protocols=(b"dot",))),
        ("udp", FRIENDS, 8853, lambda t: initial(crypto(0, message(server_name(f"{t}.example.net".encode()) + alpn(b"doq")))) + t.encode()),
    ],
    "bypass/9": [("udp", FRIENDS, 8443, strange)],
    "bypass/10": [("tcp", FRIENDS, 443, lambda t: tls(t, "dns.resolver.arpa"))],
    "bypass/11": [("udp", FRIENDS, 5353, lambda t: question(t).pack()), ("tcp", FRIENDS, 5353, lambda t: framed(question(t)))],
}
# and what our DNS is asked for: a name of its service, and whether the lab's internet has it
ASKED = {"bypass/2": ("dns.google", "A"), "bypass/5": ("mask.icloud.com", "A"), "bypass/6": ("use-application-dns.net", "A")}


def ways(mark: str) -> dict[str, Ways]:
    """Rule -> token -> how it tries to get out."""
    return {
        rule: {
            (token := f"{mark}-{rule[7:]}{chr(97 + number)}-v{family}"): (proto, addr, port, data(token))
            for number, (proto, addrs, port, data) in enumerate(tried) for family, addr in zip((4, 6), addrs, strict=True)
        }
        for rule, tried in WAYS.items()
    }


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


def tokens(lab: Lab, mark: str) -> set[str]:
    """Those that arrived."""
    return {token for row in lab.sinks() for token in re.findall(rf"{mark}-\d+[a-z]-v[46]", row["payload"])}


@pytest.mark.parametrize("rule", [*WAYS, "bypass"])
def test_every_way_is_closed_by_a_rule_of_its_own_that_can_be_switched_off(lab: Lab, rule: str) -> None:
    """Live: with it off its ways are open and no other, with it on again they are closed."""
    mark = f"off{rule.replace('/', '')}"
    tried = ways(mark)
    every = {token: way for of in tried.values() for token, way in of.items()}
    opened = set(every) if rule == "bypass" else set(tried[rule])
    lab.consentry("rules", "disable", rule)
    try:
        say(lab, every)
        wait_for(lambda: tokens(lab, mark) >= opened)
        exists = {other for other, (code, _) in zip(ASKED, answers(lab, *ASKED.values()), strict=True) if code != 3}
        assert exists == (set(ASKED) if rule == "bypass" else {rule} & set(ASKED))
    finally:
        lab.consentry("rules", "enable", rule)
    closed = {token.replace("off", "shut"): every[token] for token in opened}
    assert "answered" not in say(lab, closed).values()
    assert tokens(lab, mark) == opened
    assert tokens(lab, mark.replace("off", "shut")) == set()


def test_each_rule_says_what_it_refused(lab: Lab) -> None:
    """With the name that was asked for, where it can be read."""
    tried = ways("told")
    every = {token: way for of in tried.values() for token, way in of.items()}
    assert "answered" not in say(lab, every).values()
    assert tokens(lab, "told") == set()
    wanted = {("bypass/11", f"{token}.example", "dns-elsewhere", way[0]) for token, way in tried["bypass/11"].items()}
    wanted |= {("bypass/8", f"{token}.example.net", "quic", "udp") for token, way in tried["bypass/8"].items() if way[0] == "udp"}
    wanted |= {("bypass/7", f"{name}.example.net", "httpdns", "tcp") for name in ("www", "appmarket")}

    def told(*fields: str) -> set[tuple[str, ...]]:
        return {tuple(row[field] for field in fields) for row in lab.history("verdict:block last:5m")}

    wait_for(lambda: told("rule", "name", "via", "proto") >= wanted and {rule for (rule,) in told("rule")} >= set(WAYS), 3)


def test_a_question_in_pieces_is_one_and_nothing_of_its_name_leaves(lab: Lab) -> None:
    """DNS over TCP may be cut anywhere; in more pieces than are held it never ends. The echo there answers all that arrives."""
    code = """
import socket, sys, time
for cut, to, said in zip(*[iter(sys.argv[1:])] * 3):
    cut, said, echoed = int(cut), bytes.fromhex(said), b""
    with socket.create_connection((to, 5353), 9) as s:
        s.settimeout(9); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for at in range(0, len(said), cut):
                s.sendall(said[at : at + cut]); time.sleep(0.002)
            while echoed != said and (more := s.recv(4096)):
                echoed += more
        except OSError:
            pass
    print(echoed.hex() == said.hex())
"""
    def whole(mark: str, *cuts: int) -> list[str]:
        tried = [(str(cut), to, framed(question(f"{mark}-{cut}a-v{family}")).hex()) for cut in cuts for family, to in zip((4, 6), FRIENDS, strict=True)]
        return lab.phone(sys.executable, "-c", code, *(word for one in tried for word in one)).stdout.split()

    assert whole("cut", 6, 1) == ["False"] * 4
    lab.consentry("rules", "disable", "bypass/11")
    try:
        assert whole("joined", 6) == ["True"] * 2
    finally:
        lab.consentry("rules", "enable", "bypass/11")
    assert not [row for row in lab.sinks() if "cut" in row["payload"]]
    wait_for(lambda: {row["name"] for row in lab.history("via:dns-elsewhere verdict:block last:5m")} >= {"cut-6a-v4.example", "cut-6a-v6.example"}, 3)


def test_names_of_such_ways_do_not_exist(lab: Lab) -> None:
    names = [(name, qtype) for name in ("use-application-dns.net", "mask.icloud.com", "mask-h2.icloud.com", "dns.google") for qtype in ("A", "AAAA", "HTTPS")]
    names += [("_dns.resolver.arpa", "64"), ("_dns.dns.google", "64")]
    assert answers(lab, *names) == [(3, [])] * len(names)


def test_private_dns_that_is_automatic_falls_back_and_strict_is_told(lab: Lab) -> None:
    """Android tries the resolver it was given, finds no DNS over TLS there, and goes on in the clear."""
    resolvers = "10.77.0.1", "2001:db8:77::1"
    probes = {at: ("tcp", at, 853, tls("probe", "dot.example.net")) for at in resolvers}
    assert say(lab, probes, 2) == dict.fromkeys(probes, "refused"), "it is told so, and does not wait"
    for at in resolvers:
        assert answers(lab, ("example.com", "A"), at=at) == [(0, ["93.184.216.34"])]
    assert not [row for row in lab.sinks() if row["dport"] == 853 and "probe" in row["payload"]]

    said = {at: ("tcp", at, 853, tls("strict", "my.resolver.example")) for at in FRIENDS}
    assert say(lab, said, 2) == dict.fromkeys(FRIENDS, "reset")

    def told() -> list[str]:
        notes = lab.consentry("history", "notes", "--json").stdout.splitlines()
        return [note for note in notes if "phone2 offline? Set its Private DNS to Automatic" in note]

    assert "at my.resolver.example, which rule bypass/1" in "".join(wait_for(told))
    assert len(told()) == 1


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
