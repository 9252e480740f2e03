"""From phone to phone: refused by a rule of the packs, opened and shut by one of the owner's, judged by what the other phone got."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex

import frames
import hostile
import pytest
from judge import Lab, lab_up, wait_for
from play import packed

from firewall.selftest import packets

pytestmark = pytest.mark.lab

BOTH = pytest.mark.parametrize("family", [4, 6])
GATEWAY = {4: "10.77.0.1", 6: "2001:db8:77::1"}
PHONE = {name: {4: f"10.77.0.{9 + number}", 6: f"2001:db8:77::{9 + number}"} for number, name in ((1, "phone1"), (2, "phone2"), (3, "phone3"))}
MAC1, MAC2, MAC3 = (bytes.fromhex(f"02000000010{number}") for number in (1, 2, 3))
PORT = 9100  # a printer's

PRINTER = """
import select, socket, sys, threading
def serve(family):
    udp, tcp = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_STREAM)
    for s in (udp, tcp):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6: s.setsockopt(41, 26, 1)  # IPV6_V6ONLY
        s.bind(("", int(sys.argv[1])))
    tcp.listen(); talks = [udp, tcp]
    while True:
        for s in select.select(talks, [], [])[0]:
            if s is tcp: talks.append(tcp.accept()[0])
            elif s is udp: data, who = s.recvfrom(99); udp.sendto(data, who)
            else:
                try: data = s.recv(99)
                except OSError: data = b""
                s.sendall(data) if data else talks.remove(s)
for family in (socket.AF_INET, socket.AF_INET6): threading.Thread(target=serve, args=(family,)).start()
wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.ntohs(3)); wire.bind(("eth0", 0))
print("ready", flush=True)
while True:
    packet, where = wire.recvfrom(65535)
    if where[2] != 4: print(packet.hex(), flush=True)
"""
ASK = """
import socket, sys
kind, to, port, token = sys.argv[1:]
s = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM); s.settimeout(20)
try:
    s.connect((to, int(port))); s.send(token.encode()); print(s.recv(99).decode(), flush=True)
    for line in sys.stdin:
        s.send(line.strip().encode()); print(s.recv(99).decode() or "the end", flush=True)
except OSError as error: print(type(error).__name__, error.errno, flush=True)
"""


class Printer:
    """A phone that serves, and hears every packet that comes to it."""

    def __init__(self, lab: Lab, phone: str) -> None:
        self._lab, self._phone = lab, phone
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", namespace(lab, phone), sys.executable, "-c", PRINTER, str(PORT)], stdout=subprocess.PIPE, text=True, bufsize=1,
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def heard(self, word: bytes) -> bool:
        """Whether it came, since the last look. The gateway's own word, behind it on the same wire, ends the wait."""
        last, found = token_hex(8), False
        send = f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'{last}', ('{PHONE[self._phone][4]}', 9))"
        self._lab.gateway(sys.executable, "-c", send)
        while last.encode().hex() not in (packet := self._line()):
            assert packet, "the printer is gone"
            found |= word.hex() in packet
        return found

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


class Talk:
    """Of another phone with it: `first` is what came back, or the error."""

    def __init__(self, lab: Lab, phone: str, kind: str, to: str, port: int = PORT, word: str = "") -> None:
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", namespace(lab, phone), sys.executable, "-c", ASK, kind, to, str(port), word or token_hex(8)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )
        assert self._process.stdout is not None
        self.first = self._process.stdout.readline().strip()

    def say(self, word: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        return self._process.stdout.readline().strip()

    def end(self) -> str:
        self._process.kill()
        self._process.communicate()
        return self.first


def namespace(lab: Lab, phone: str) -> str:
    return lab.namespaces["phones"][int(phone[-1]) - 1]


def tried(lab: Lab, phone: str, kind: str, to: str, port: int = PORT, word: str = "") -> str:
    return Talk(lab, phone, kind, to, port, word).end()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """As on a box, whatever one phone sends another goes by the gateway: there by proxy ARP and off-link prefixes, here by routes."""
    with lab_up(phones=3) as built:
        for phone in PHONE:
            for other in PHONE.keys() - {phone}:
                for family in (4, 6):
                    built.phone("ip", f"-{family}", "route", "replace", PHONE[other][family], "via", GATEWAY[family], phone=phone)
        yield built


@pytest.fixture(scope="module")
def printer(lab: Lab) -> Iterator[Printer]:
    built = Printer(lab, "phone2")
    yield built
    built.end()


@contextmanager
def rule(lab: Lab, text: str) -> Iterator[None]:
    lab.consentry("rules", "add", text)
    try:
        yield
    finally:
        lab.consentry("rules", "undo")


REFUSED = {"tcp": "ConnectionRefusedError 111", "udp4": "OSError 113", "udp6": "PermissionError 13"}


@BOTH
def test_by_default_nothing_passes_not_even_a_handshake_and_the_history_says_so(lab: Lab, printer: Printer, family: int) -> None:
    to, source = PHONE["phone2"][family], packed(PHONE["phone1"][family])
    tried(lab, "phone2", "udp", PHONE["phone3"][family])  # it is known
    assert tried(lab, "phone1", "tcp", to) == REFUSED["tcp"]
    assert tried(lab, "phone1", "udp", to) == REFUSED[f"udp{family}"]
    frames.send(namespace(lab, "phone1"), packets.frame(frames.GATEWAY_MAC, MAC1, packets.ping(source, packed(to), b"hello")))
    rows = wait_for(lambda: len(found := lab.history(f"phone:phone1 via:neighbour addr:{to}")) >= 3 and found)
    assert {(row["verdict"], row["rule"]) for row in rows} == {("block", "baseline/3")}
    assert {row["proto"] for row in rows} == {"tcp", "udp", "icmp"}
    assert not printer.heard(source)
    for asleep in (to, f"{to}9"):  # nobody has this one
        assert json.loads(lab.consentry("explain", "phone1", asleep, "--json").stdout)["rule"] == "baseline/3"


@BOTH
def test_a_rule_opens_this_way_alone_and_without_it_what_went_on_is_cut(lab: Lab, printer: Printer, family: int) -> None:
    to = PHONE["phone2"][family]
    with rule(lab, f"allow addr:{to} phone:phone1 port:{PORT}"):
        talk, datagrams = (Talk(lab, "phone1", kind, to, word="hello") for kind in ("tcp", "udp"))
        try:
            assert talk.first == datagrams.first == "hello"
            assert talk.say("more") == datagrams.say("more") == "more"
            assert printer.heard(packed(PHONE["phone1"][family]))  # the control of the test above
            assert tried(lab, "phone1", "tcp", to, PORT + 1) == REFUSED["tcp"]
            assert tried(lab, "phone3", "tcp", to) == REFUSED["tcp"]
            assert tried(lab, "phone2", "udp", PHONE["phone1"][family]) == REFUSED[f"udp{family}"]  # it answers, and begins nothing
            forged = token_hex(8).encode()
            source, hostile = PHONE["phone1"][family], namespace(lab, "phone3")
            frames.send(hostile, frames.udp(MAC3, source, to, PORT, forged))
            assert tried(lab, "phone3", "udp", to) == REFUSED[f"udp{family}"]  # sent behind it, and answered
            assert not printer.heard(forged)
            frames.send(namespace(lab, "phone1"), frames.udp(MAC1, source, to, PORT, forged))
            assert wait_for(lambda: printer.heard(forged))  # the control: the same through the port of the phone that it speaks for
            lab.consentry("rules", "undo")
            try:
                assert talk.say("again") in {"the end", "ConnectionResetError 104"}
                assert datagrams.say("again") == REFUSED[f"udp{family}"]
                assert tried(lab, "phone1", "tcp", to) == REFUSED["tcp"]
                assert not printer.heard(b"again")
            finally:
                lab.consentry("rules", "add", f"allow addr:{to} phone:phone1 port:{PORT}")
        finally:
            talk.end()
            datagrams.end()


@BOTH
def test_a_consent_opens_it_where_a_rule_asks(lab: Lab, printer: Printer, family: int) -> None:
    to = PHONE["phone2"][family]
    with rule(lab, f"ask addr:{to}"):
        assert tried(lab, "phone1", "tcp", to) == REFUSED["tcp"]
        lab.consentry("consents", "grant", "phone1", f"addr:{to}", "--for", "1h")
        assert tried(lab, "phone1", "tcp", to, word="hello") == "hello"
        assert tried(lab, "phone3", "tcp", to) == REFUSED["tcp"]


@pytest.fixture(scope="module")
def neighbour(lab: Lab) -> Iterator[Printer]:
    """The phone that asks the others listens, too."""
    built = Printer(lab, "phone1")
    yield built
    built.end()


@BOTH
def test_an_error_about_what_another_phone_was_allowed_stays_here(lab: Lab, printer: Printer, neighbour: Printer, family: int) -> None:
    """Neither its connections to the internet nor those to its printer are a third one's way to it, or theirs to end."""
    mine, to, friend, sport = PHONE["phone1"][family], PHONE["phone2"][family], hostile.FRIEND[family], 5_000 + family
    with rule(lab, f"allow addr:{to} phone:phone1"):
        for far in (to, friend):
            frames.send(namespace(lab, "phone1"), frames.udp(MAC1, mine, far, PORT, b"allowed", sport=sport))
            wait_for(lambda far=far: lab.history(f"phone:phone1 verdict:allow addr:{far} port:{PORT}"))
            word = token_hex(8).encode()
            quoted = frames.udp(MAC1, mine, far, PORT, word, sport=sport)[14:]
            frames.send(namespace(lab, "phone3"), frames.too_big(MAC3, PHONE["phone3"][family], mine, quoted))
            assert tried(lab, "phone3", "udp", mine) == REFUSED[f"udp{family}"]  # sent behind it, and answered
            assert not neighbour.heard(word), far


@BOTH
def test_who_is_asked_answers_only_what_was_allowed(lab: Lab, printer: Printer, neighbour: Printer, family: int) -> None:
    """The kernel may know of a connection and nobody any more why: until it is asked about again, nothing comes back."""
    mine, to = PHONE["phone1"][family], PHONE["phone2"][family]

    def answered() -> bool:
        word = token_hex(8).encode()
        frames.send(namespace(lab, "phone2"), frames.udp(MAC2, to, mine, 5_100, word, sport=PORT))
        tried(lab, "phone2", "udp", PHONE["phone3"][family])  # sent behind it, and refused
        return neighbour.heard(word)

    with rule(lab, f"allow addr:{to} phone:phone1"):
        frames.send(namespace(lab, "phone1"), frames.udp(MAC1, mine, to, PORT, word := token_hex(8).encode(), sport=5_100))
        wait_for(lambda: printer.heard(word))
        assert answered()
        lab.gateway("conntrack", "-U", "-f", f"ipv{family}", "-p", "udp", "-s", mine, "-d", to, "--sport", "5100", "-m", "0")
        assert not answered()


@BOTH
def test_without_the_seal_nothing_passes_between_phones_either(lab: Lab, printer: Printer, family: int) -> None:
    """It is put right within a moment; what is refused meanwhile is refused by who stands behind it."""
    source, to = packed(PHONE["phone1"][family]), packed(PHONE["phone2"][family])
    for _ in range(3):
        word = token_hex(8).encode()
        lab.gateway("nft", "flush chain inet consentry seal")
        frames.send(namespace(lab, "phone1"), packets.frame(frames.GATEWAY_MAC, MAC1, packets.ping(source, to, word)))
        assert not printer.heard(word)
