"""A hostile phone on the same network gains nothing by another one's addresses: judged by what arrives outside.

Every forged frame has its positive control: the very same bytes through the port of the phone they speak for do arrive.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

import families
import frames
import pytest
from judge import Lab, lab_up, lines, wait_for

pytestmark = pytest.mark.lab

SERVER = {4: "198.51.100.90", 6: "2001:db8:feed::90"}
GATEWAY = {4: "10.77.0.1", 6: "2001:db8:77::1"}
VICTIM = {4: "10.77.0.10", 6: "2001:db8:77::10"}
OWN = {4: "10.77.0.11", 6: "2001:db8:77::11"}  # the hostile phone's
MAC, HOSTILE = bytes.fromhex("020000000101"), bytes.fromhex("020000000102")
PSH_ACK, RST = 0x18, 0x04
SECONDS = 1.0  # what would arrive has arrived by then
BOTH = pytest.mark.parametrize("family", [4, 6])

TALK = """
import socket, struct, sys
s = socket.create_connection((sys.argv[1], 4444), 5, (sys.argv[2], 0))  # it may have other addresses, too
def numbers():
    s.setsockopt(6, 19, 1)                                     # TCP_REPAIR: look at the numbers (tcp(7), criu)
    found = []
    for queue in (2, 1):
        s.setsockopt(6, 20, queue); found.append(s.getsockopt(6, 21) & 0xffffffff)
    s.setsockopt(6, 19, -1)
    return found
for line in sys.stdin:
    try:
        if line.strip() != "where": s.sendall(line.strip().encode())
        print(s.getsockname()[1], *numbers(), flush=True)
    except OSError as error:
        print(type(error).__name__, flush=True)
"""
WATCH = """
import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3)); s.bind(("eth0", 0)); s.settimeout(0.2)
print("looking", flush=True)
until, seen = time.monotonic() + float(sys.argv[2]), 0
while time.monotonic() < until:
    try: seen += sys.argv[1].encode() in s.recv(65535)
    except TimeoutError: pass
print(seen)
"""


class Connection:
    """A TCP connection of a phone's own, kept open."""

    def __init__(self, namespace: str, server: str, source: str) -> None:
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, sys.executable, "-c", TALK, server, source],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )

    def say(self, word: str) -> list[str]:
        """Port, next sequence number, number awaited; or the error's name."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        return self._process.stdout.readline().split()

    def numbers(self) -> tuple[int, int, int]:
        port, seq, ack = self.say("where")
        return int(port), int(seq), int(ack)

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def talking(lab: Lab, family: int) -> Iterator[Connection]:
    """The victim's connection, allowed and alive."""
    connection = Connection(victim(lab), SERVER[family], VICTIM[family])
    try:
        token = token_hex(8)
        connection.say(token)
        wait_for(lambda: lab.arrived(token))
        yield connection
    finally:
        connection.end()


def victim(lab: Lab) -> str:
    return lab.namespaces["phones"][0]


def hostile(lab: Lab) -> str:
    return lab.namespaces["phones"][1]


def sends(lab: Lab, family: int, token: str, *, phone: str = "phone1", source: str = "", port: int = 5555) -> None:
    bind = f"s.bind(({source!r}, 0)); " if source else ""
    kind = "AF_INET6" if family == 6 else "AF_INET"
    lab.phone(sys.executable, "-c", f"import socket; s = socket.socket(socket.{kind}, socket.SOCK_DGRAM); {bind}s.sendto(b'{token}', ('{SERVER[family]}', {port}))", phone=phone)


def known(lab: Lab, family: int) -> None:
    """The gateway knows the victim by its packets."""
    token = token_hex(8)
    sends(lab, family, token)
    wait_for(lambda: lab.arrived(token))


def never(lab: Lab, token: str) -> bool:
    time.sleep(SECONDS)
    return not lab.arrived(token)


@BOTH
def test_no_upload_in_another_ones_connection_and_no_end_of_it(lab: Lab, family: int) -> None:
    with talking(lab, family) as connection:
        port, seq, ack = connection.numbers()
        forged = token_hex(8)

        def inject(token: str) -> bytes:
            return frames.tcp(HOSTILE, VICTIM[family], port, SERVER[family], 4444, seq=seq, ack=ack, flags=PSH_ACK, payload=token.encode())

        reset = frames.tcp(HOSTILE, VICTIM[family], port, SERVER[family], 4444, seq=seq, ack=ack, flags=RST)
        frames.send(hostile(lab), inject(forged), reset)
        assert never(lab, forged)
        after = token_hex(8)
        connection.say(after)
        wait_for(lambda: lab.arrived(after))  # neither reset nor out of step

        # the control: the same through the port of the phone that they speak for
        port, seq, ack = connection.numbers()
        own = token_hex(8)

        def again() -> bool:  # as TCP would: one frame may be lost
            frames.send(victim(lab), mine(inject(own)))
            time.sleep(0.5)
            return lab.arrived(own)

        wait_for(again)
        frames.send(victim(lab), mine(frames.tcp(HOSTILE, VICTIM[family], port, SERVER[family], 4444, seq=seq + len(own), ack=ack, flags=RST)))
        last = token_hex(8)
        connection.say(last)
        assert never(lab, last)


def mine(frame: bytes) -> bytes:
    """From the victim's MAC."""
    return frame[:6] + MAC + frame[12:]


@BOTH
def test_no_new_connection_in_another_ones_name(lab: Lab, family: int) -> None:
    known(lab, family)
    forged, own, honest = (token_hex(8) for _ in range(3))
    frames.send(hostile(lab), frames.udp(HOSTILE, VICTIM[family], SERVER[family], 5555, forged.encode()))
    assert never(lab, forged)
    frames.send(victim(lab), mine(frames.udp(HOSTILE, VICTIM[family], SERVER[family], 5555, own.encode())))
    wait_for(lambda: lab.arrived(own))
    sends(lab, family, honest, phone="phone2")
    wait_for(lambda: lab.arrived(honest))  # under its own address it is a phone as any other
    trouble = wait_for(lambda: json.loads(lab.consentry("status", "--json").stdout)["trouble"], 5)
    assert "uses an address of phone1" in trouble


@BOTH
def test_no_question_in_another_ones_name(lab: Lab, family: int, tmp_path: Path) -> None:
    known(lab, family)

    def question(name: str) -> bytes:
        labels = b"".join(bytes([len(word)]) + word.encode() for word in f"{name}.example".split("."))
        return frames.udp(HOSTILE, VICTIM[family], GATEWAY[family], 53, b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0" + labels + b"\0\0\x01\0\x01")

    forged, own = f"forged{token_hex(6)}", f"own{token_hex(6)}"
    with lab.capture(tmp_path / "wan.pcap") as pcap:
        frames.send(hostile(lab), question(forged))
        frames.send(victim(lab), mine(question(own)))
        wait_for(lambda: own.encode() in pcap.read_bytes().lower())
        time.sleep(SECONDS)
    asked = pcap.read_bytes().lower()  # upper and lower case are mixed on the way up
    assert forged.encode() not in asked
    assert own.encode() in asked


@BOTH
def test_nobody_else_answers_for_its_address(lab: Lab, family: int) -> None:
    """ARP and neighbour discovery: what is for the victim goes to the victim, whatever the other claims."""
    known(lab, family)
    stranger = {4: "10.77.0.99", 6: "2001:db8:77::99"}[family]
    lab.gateway("ip", "neigh", "replace", stranger, "lladdr", "02:00:00:00:00:ee", "dev", "lan0", "nud", "stale")

    def claim(address: str) -> bytes:
        if family == 4:
            return frames.arp_reply(HOSTILE, address, frames.GATEWAY_MAC, GATEWAY[4])
        return frames.neighbour_advert(HOSTILE, OWN[6], address, GATEWAY[6])

    def neighbour(address: str) -> str:
        return lab.gateway("ip", "neigh", "show", address, "dev", "lan0").stdout

    echo = f"""
import socket
s = socket.socket(socket.AF_INET{"6" if family == 6 else ""}, socket.SOCK_DGRAM); s.settimeout(20)
s.sendto(b"WORD", ("{SERVER[family]}", 7777)); print(s.recv(99))
"""
    word = token_hex(8)
    watcher = subprocess.Popen(
        ["ip", "netns", "exec", hostile(lab), sys.executable, "-c", WATCH, word, "5"], stdout=subprocess.PIPE, text=True,
    )
    assert watcher.stdout is not None
    assert watcher.stdout.readline() == "looking\n"
    time.sleep(1.2)  # the kernel believes no change of what is younger than a second (locktime, arp(7))
    for _ in range(3):
        frames.send(hostile(lab), claim(VICTIM[family]), claim(stranger))
    assert word in lab.phone(sys.executable, "-c", echo.replace("WORD", word)).stdout
    assert watcher.communicate(timeout=10)[0] == "0\n"
    assert "02:00:00:00:01:01 PERMANENT" in neighbour(VICTIM[family])
    wait_for(lambda: "02:00:00:00:01:02" in neighbour(stranger))  # the control: of an address that is nobody's, it was believed
    lab.gateway("ip", "neigh", "del", stranger, "dev", "lan0")


@BOTH
def test_a_locked_port_stops_another_ones_mac(lab: Lab, family: int) -> None:
    known(lab, family)
    forged, own = token_hex(8), token_hex(8)
    frames.send(hostile(lab), mine(frames.udp(HOSTILE, VICTIM[family], SERVER[family], 5555, forged.encode())))
    assert never(lab, forged)
    frames.send(victim(lab), mine(frames.udp(HOSTILE, VICTIM[family], SERVER[family], 5555, own.encode())))
    wait_for(lambda: lab.arrived(own))


@BOTH
def test_a_new_address_of_the_same_phone(lab: Lab, family: int) -> None:
    """IPv6 privacy addresses change by the day; the phone does not."""
    address = {4: "10.77.0.200", 6: "2001:db8:77:0:5c1:ff:fe0a:77"}[family]
    subprocess.run(["ip", "-n", victim(lab), "addr", "add", f"{address}/{24 if family == 4 else 64}", "dev", "eth0", *(["nodad"] if family == 6 else [])], check=True)
    token, forged = token_hex(8), token_hex(8)
    sends(lab, family, token, source=address, port=5600 + family)
    wait_for(lambda: lab.arrived(token))
    (row,) = wait_for(lambda: lab.history(f"port:{5600 + family} last:1m"), 5)
    assert (row["phone"], row["src"]) == ("phone1", address)
    frames.send(hostile(lab), frames.udp(HOSTILE, address, SERVER[family], 5555, forged.encode()))
    assert never(lab, forged)


CLONE = "ip link set eth0 down; ip link set eth0 address 02:00:00:00:01:01; ip addr add 10.77.0.10/24 dev eth0; ip link set eth0 up; ip addr add 2001:db8:77::10/64 dev eth0 nodad; ip route add default via 10.77.0.1 src 10.77.0.10; ip -6 route replace default via 2001:db8:77::1; true"


@pytest.fixture(autouse=True)
def phone1_speaks(request: pytest.FixtureRequest) -> None:
    """An address that is silent for a minute may go over to another: before each test its owner uses both."""
    if "lab" in request.fixturenames:
        built: Lab = request.getfixturevalue("lab")
        for family in ("-4", "-6"):
            built.phone("curl", family, "-s", "-m", "5", "-o", "/dev/null", "http://example.com/", check=False)
        families.crossed()  # this is no part of the test


@pytest.mark.parametrize("one_wire", [False, True])
def test_an_exact_clone_is_stopped_where_ports_are_locked_and_only_there(one_wire: bool) -> None:
    """The control, and what no gateway can know: on one shared wire a clone is the phone (docs: threat model)."""
    with lab_up(one_wire=one_wire) as lab:
        for family in (4, 6):
            known(lab, family)
        lab.phone("sh", "-c", CLONE, phone="phone2")
        for family in (4, 6):
            token = token_hex(8)
            subprocess.run(
                ["ip", "netns", "exec", hostile(lab), sys.executable, "-c",
                 f"import socket; s = socket.socket(socket.AF_INET{'6' if family == 6 else ''}, socket.SOCK_DGRAM); s.bind(('{VICTIM[family]}', 0)); s.sendto(b'{token}', ('{SERVER[family]}', 5555))"],
                check=False,
            )
            if one_wire:
                wait_for(lambda token=token: lab.arrived(token))
            else:
                assert never(lab, token)


def test_its_owner_names_and_groups_a_stranger() -> None:
    """By the command line; a phone with a MAC that was made up is a new one until it is joined to an old one."""
    with lab_up() as lab:
        _named_and_grouped(lab)


def _named_and_grouped(lab: Lab) -> None:
    def phone(name: str) -> dict[str, object]:
        (row,) = [row for row in lines(lab.consentry("phones", "list", "--json").stdout) if row["name"] == name]
        return row

    port = "port2"
    lab.gateway("bridge", "fdb", "add", "8c:be:be:00:00:05", "dev", port, "master", "static")
    for words in ("ip link set eth0 down", "ip link set eth0 address 8c:be:be:00:00:05", "ip addr flush dev eth0", "ip link set eth0 up",
                  "ip addr add 10.77.0.55/24 dev eth0", "ip route add default via 10.77.0.1",
                  "ip addr add 2001:db8:77::55/64 dev eth0 nodad", "ip -6 route replace default via 2001:db8:77::1"):
        lab.phone(*words.split(), phone="phone2")

    def both(token: str) -> list[str]:
        for family in (4, 6):
            sends(lab, family, f"{token}{family}", phone="phone2")
        return [f"{token}{family}" for family in (4, 6)]

    refused = both("stranger")
    wait_for(lambda: "phone-0005" in lab.consentry("phones").stdout, 5)
    new = phone("phone-0005")
    assert (new["group"], new["vendor"], new["random"], new["macs"]) == ("strict", "Xiaomi Communications Co Ltd", False, ["8c:be:be:00:00:05"])
    wait_for(lambda: {"10.77.0.55", "2001:db8:77::55"} <= set(phone("phone-0005")["addresses"]))
    assert phone("phone1")["random"] is True
    lab.consentry("phones", "name", "phone-0005", "Redmi 1S")
    lab.consentry("phones", "group", "Redmi 1S", "home")
    passed = both("athome")
    wait_for(lambda: all(map(lab.arrived, passed)))
    assert not any(map(lab.arrived, refused))
    told = json.loads(lab.consentry("phones", "watch", "Redmi 1S", "--json").stdout)
    assert (told["mode"], told["named"]) == ("watch", True)
    refused = lab.consentry("phones", "name", "Redmi 1S", "phone1", check=False)
    assert (refused.returncode, "phones join" in refused.stderr) == (1, True)
    assert "there is no phone 'nobody'" in lab.consentry("phones", "forget", "nobody", check=False).stderr
    joined = json.loads(lab.consentry("phones", "join", "Redmi 1S", "phone2", "--json").stdout)
    assert set(joined["macs"]) == {"02:00:00:00:01:02", "8c:be:be:00:00:05"}
    assert "Redmi" not in lab.consentry("phones").stdout
    told = json.loads(lab.consentry("phones", "as-all", "phone2", "--json").stdout)
    assert told["mode"] == ""
    assert json.loads(lab.consentry("phones", "watch", "--json").stdout) == {"mode": "watch"}
    watched = both("watched")
    wait_for(lambda: all(map(lab.arrived, watched)))
    lab.consentry("phones", "enforce")
    assert json.loads(lab.consentry("phones", "forget", "phone2", "--json").stdout) == {"forgotten": "phone2"}
