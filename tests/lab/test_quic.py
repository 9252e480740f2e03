"""QUIC through the gate: what may pass works, what must not never leaves. Sinks and a capture outside are the judges."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from secrets import token_hex
from typing import Any

import captures
import pytest
from judge import PATIENCE, Lab, in_time, wait_for
from quicphone import shuffled
from quicwriter import V2, crypto, initial

from firewall.flow import HELD_SECONDS

pytestmark = pytest.mark.lab

HELPERS = Path(__file__).parents[1] / "helpers"
NOBODYS = 0x1A2A3A4A  # a version that no server has: it says which ones it has
FRIEND, LISTED = "friendly.example", "api.account.xiaomi.com"
NOISE = bytes.fromhex("c00000000108") + bytes(8) + b"\x08" + bytes(8) + b"\0\x44\x96" + os.urandom(1_174)
STRANGE = bytes.fromhex("c0abcdef0108") + bytes(8) + b"\x08" + bytes(8) + os.urandom(1_200)
HOW: dict[str, dict[str, Any]] = {  # what a phone may do, and servers understand
    "version 1": {},
    "version 2": {"versions": [V2]},
    "three datagrams": {"pad": 2_200},
    "retry": {"port": 4433},
    "version negotiation": {"version": NOBODYS, "versions": [NOBODYS, 1]},
    "shuffled": {"pad": 1_500, "cut": 61},
    "HTTP/3": {"h3": True},
    "behind an Initial that nobody can open": {"noise": NOISE.hex()},
}
FAMILIES = {"4": "198.51.100.{}", "6": "2001:db8:feed::{:x}"}
REFUSED = 128  # addresses from here on are for what must not be reached


def as_phone(lab: Lab, folder: Path, cases: list[dict[str, Any]], phone: str = "phone1") -> dict[str, dict[str, Any]]:
    """What became of each case (see helpers/quicphone.py), by its name."""
    for case in cases:
        case.setdefault("port", 443)
        case.setdefault("token", f"{case['case']}:{token_hex(8)}")
    file = folder / f"{token_hex(4)}.json"
    file.write_text(json.dumps(cases))
    done = lab.phone(sys.executable, str(HELPERS / "quicphone.py"), str(file), phone=phone)
    return {row["case"]: row for row in json.loads(done.stdout)}


def place(family: str, number: int) -> str:
    return FAMILIES[family].format(number)


def handshakes(name: str, first: int) -> list[dict[str, Any]]:
    """Every way, each to an address of its own."""
    return [
        {"case": f"{word}, IPv{family}", "name": name, "addr": place(family, first + number), **how}
        for family in FAMILIES for number, (word, how) in enumerate(HOW.items())
    ]


def early(name: str, first: int) -> list[dict[str, Any]]:
    """Data in the first flight (0-RTT), with the ticket of a connection that is allowed."""
    cases = []
    for family in FAMILIES:
        before = {"name": FRIEND, "addr": place(family, 40), "port": 443, "token": f"before{token_hex(8)}"}
        cases.append({"case": f"early, IPv{family}", "name": name, "addr": place(family, first), "early": before})
    return cases


def arrived(lab: Lab, cases: list[dict[str, Any]]) -> set[str]:
    """Those whose token a server has decrypted."""
    rows = [row for row in lab.sinks() if row["proto"] == "quic"]
    return {case["case"] for case in cases if any(case["token"] in row["payload"] and case["name"] == row["name"] for row in rows)}


def reached(lab: Lab) -> dict[str, int]:
    """Bytes of datagrams by the address that they came to."""
    found: Counter[str] = Counter()
    for row in lab.sinks():
        if row["proto"] == "udp":
            found[row["dst"]] += row["bytes"]
    return found


def test_an_allowed_hello_arrives_however_it_is_sent(lab: Lab, tmp_path: Path) -> None:
    cases = handshakes(FRIEND, 1) + early(FRIEND, 12)
    found = as_phone(lab, tmp_path, cases)
    assert {word: row["error"] for word, row in found.items()} == dict.fromkeys(found, "")
    assert arrived(lab, cases) == set(found)
    assert wait_for(lambda: [row for row in lab.history(f"name:{FRIEND} via:quic verdict:allow") if row["proto"] == "udp"])


def test_a_refused_name_never_leaves_and_the_phone_is_told_at_once(lab: Lab, tmp_path: Path) -> None:
    cases = [{**case, "seconds": 3} for case in handshakes(LISTED, REFUSED) + early(LISTED, REFUSED + 12)]
    with lab.capture(tmp_path / "outer.pcap") as file:
        found = as_phone(lab, tmp_path, cases)
    assert not arrived(lab, cases)
    there = " or ".join(f"dst host {case['addr']}" for case in cases)
    seen = subprocess.run(["tcpdump", "-n", "-r", str(file), there], capture_output=True, text=True, check=True).stdout
    assert seen == ""
    errors = {word: row["error"].split()[0] for word, row in found.items()}
    assert set(errors.values()) == {"OSError", "PermissionError"}, errors  # EHOSTUNREACH over IPv4, EACCES over IPv6
    slowest = max(row["ms"] for row in found.values())
    print(f"a phone that tries QUIC knows that it is refused after {slowest:.0f} ms at most")
    in_time(slowest / 1_000, PATIENCE * 0.5)
    assert wait_for(lambda: lab.history(f"name:{LISTED} via:quic verdict:ask"))
    assert not lab.history(f"name:{LISTED} via:quic verdict:allow")


def test_the_positive_control_all_of_it_arrives_where_all_is_allowed(open_lab: Lab, tmp_path: Path) -> None:
    cases = handshakes(LISTED, REFUSED) + early(LISTED, REFUSED + 12)
    as_phone(open_lab, tmp_path, cases)
    assert arrived(open_lab, cases) == {case["case"] for case in cases}


# -- what no ordinary client sends -------------------------------------------------------------------------------------


def raw_tricks() -> dict[str, list[bytes]]:
    """E17 and E18 (threats-and-tests.md b), and what else a hostile phone may think of. Datagrams in hexadecimal."""
    hello = captures.hello(LISTED, pad=1_600)
    half = len(hello) // 2
    halves = crypto(0, hello[:half]), crypto(half, hello[half:])
    whole = initial(crypto(0, captures.hello(LISTED)), dcid=b"tricky!!")
    return {
        "frames shuffled over three datagrams": shuffled(hello, 40, b"tricky!!"),
        "behind an Initial that nobody can open": [NOISE, whole],
        "the second half for another connection id": [
            initial(halves[0], dcid=b"tricky!!"), initial(halves[1], dcid=b"another!", key_id=b"tricky!!", number=1),
        ],
        "version 2, an id of 20 bytes": [initial(crypto(0, captures.hello(LISTED)), dcid=bytes(range(20)), version=V2)],
        "half a hello, and no more": [initial(halves[0], dcid=b"tricky!!")],
        "something else first, for the same keys": [initial(crypto(0, b"\2\0\0\4else"), dcid=b"tricky!!"), initial(crypto(0, captures.hello(LISTED)), dcid=b"tricky!!", number=1)],
        "behind a packet that is too short": [bytes.fromhex("c000000001 08") + b"tricky!!" + b"\0\0\x0a" + bytes(10) + whole],
        "small": [initial(crypto(0, captures.hello(LISTED)), dcid=b"tricky!!", fill=400)],
    }


def throws(first: int, *, pause: float = 0.01) -> list[dict[str, Any]]:
    return [
        {"case": f"{word}, IPv{family}", "addr": place(family, first + number), "raw": [data.hex() for data in datagrams], "pause": pause}
        for family in FAMILIES for number, (word, datagrams) in enumerate(raw_tricks().items())
    ]


def test_tricks_with_the_hello_do_not_pass(lab: Lab, tmp_path: Path) -> None:
    as_phone(lab, tmp_path, throws(150))
    wait_for(lambda: lab.history("via:unfinished verdict:block last:1m"))  # the half: its three seconds are over
    found = reached(lab)
    assert {found[place(family, 150 + n)] for family in FAMILIES for n in range(len(raw_tricks()))} == {0}
    time.sleep(HELD_SECONDS + 0.5)


def test_the_positive_control_of_the_tricks(open_lab: Lab, tmp_path: Path) -> None:
    as_phone(open_lab, tmp_path, throws(150))
    sent = [sum(map(len, datagrams)) for datagrams in raw_tricks().values()]
    found = reached(open_lab)
    for family in FAMILIES:
        assert [found[place(family, 150 + n)] for n in range(len(sent))] == sent


def test_who_floods_half_hellos_harms_nobody_else(lab: Lab, tmp_path: Path) -> None:
    halves = [
        {"case": str(number), "addr": place("4", 170), "raw": [initial(crypto(0, captures.hello(LISTED)[:50]), dcid=b"%08d" % number).hex()], "seconds": 0.1}
        for number in range(40)
    ]
    other = [{**case, "token": f"other{token_hex(8)}"} for case in handshakes(FRIEND, 50)]
    with ThreadPoolExecutor(1) as pool:
        flood = pool.submit(as_phone, lab, tmp_path, halves)
        found = as_phone(lab, tmp_path, other, phone="phone2")
        flood.result()
    assert {row["error"] for row in found.values()} == {""}
    assert arrived(lab, other) == set(found)
    assert reached(lab)[place("4", 170)] == 0
    time.sleep(HELD_SECONDS + 0.5)  # who comes next finds nothing held


def test_noise_that_was_let_pass_opens_no_way_for_a_hello(lab: Lab, tmp_path: Path) -> None:
    """Neither at once nor later; nor does a harmless hello on the same ports, one of a version that
    nobody reads, one under the same keys in its place or behind it."""
    cases = []
    for family in FAMILIES:
        noisy = {"name": LISTED, "addr": place(family, 160), "noise": b"\x17 some noise".hex(), "seconds": 2}
        second = {"name": LISTED, "addr": place(family, 161), "port": 443, "token": f"second{token_hex(8)}", "case": "second", "seconds": 2}
        harmless = {"name": FRIEND, "addr": place(family, 161), "then": second}
        unknown = {"name": FRIEND, "addr": place(family, 162), "raw": [initial(crypto(0, captures.hello(FRIEND))).hex(), STRANGE.hex()], "pause": 0.2}
        hello = captures.hello(FRIEND)
        instead = {"name": FRIEND, "addr": place(family, 163), "raw": [initial(crypto(0, one)).hex() for one in (hello, captures.hello(LISTED))], "pause": 0.2}
        behind = {"name": FRIEND, "addr": place(family, 164), "pause": 0.2, "raw": [
            initial(crypto(0, hello)).hex(), initial(crypto(len(hello), captures.hello(LISTED)), number=1).hex(),
        ]}
        words = ("noisy", noisy), ("harmless", harmless), ("unknown", unknown), ("instead", instead), ("behind", behind)
        cases += [{"case": f"{word}{family}", **case} for word, case in words]
    found = as_phone(lab, tmp_path, cases)
    assert arrived(lab, cases) == {"harmless4", "harmless6"}
    assert not lab.arrived("second")
    there = reached(lab)
    for family in FAMILIES:
        assert there[place(family, 160)] == len(b"\x17 some noise")
        assert [there[place(family, number)] for number in (162, 163, 164)] == [1_200] * 3
        assert found[f"noisy{family}"]["error"] != ""
        assert found[f"harmless{family}"]["then"]["error"].split()[0] in ("OSError", "PermissionError")


def test_neither_a_hello_nor_a_strange_version_passes_behind_others_in_one_piece(lab: Lab, open_lab: Lab) -> None:
    """The phone's kernel leaves several datagrams in one piece (UDP_SEGMENT), where only the first one's header is seen."""
    code = """
import socket, struct, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM); s.connect((sys.argv[1], 443))
s.sendmsg([bytes.fromhex(sys.argv[2])], [(socket.IPPROTO_UDP, 103, struct.pack("=H", 1200))]); s.settimeout(1)
try: s.recv(9)
except OSError: pass
"""
    for family in FAMILIES:
        noise, friend, listed = b"\x40" + bytes(1199), *(initial(crypto(0, captures.hello(name))) for name in (FRIEND, LISTED))
        for number, train in ((168, noise + listed), (169, friend + STRANGE[:1_200]), (171, STRANGE[:1_200] + friend), (46, noise + friend)):
            for where in (lab, open_lab):
                where.phone(sys.executable, "-c", code, place(family, number), train.hex())
        here, there = reached(lab), reached(open_lab)
        assert [(here[place(family, number)], there[place(family, number)]) for number in (168, 169, 171)] == [(0, 2_400)] * 3
        assert here[place(family, 46)] == 2_400


def test_a_version_that_nobody_reads_is_refused_so_that_apps_take_tcp(lab: Lab, open_lab: Lab, tmp_path: Path) -> None:
    cases = [{"case": family, "addr": place(family, 165), "raw": [STRANGE.hex()]} for family in FAMILIES]
    found = as_phone(lab, tmp_path, cases)
    assert {row["error"].split()[0] for row in found.values()} == {"OSError", "PermissionError"}
    wait_for(lambda: [row for row in lab.history("verdict:block") if "via:quic-unknown" in row["reason"]])
    as_phone(open_lab, tmp_path, cases)
    here, there = reached(lab), reached(open_lab)
    assert [(here[place(family, 165)], there[place(family, 165)]) for family in FAMILIES] == [(0, len(STRANGE))] * 2


# -- while it runs -----------------------------------------------------------------------------------------------------


def asked_about(lab: Lab) -> int:
    """Packets that the kernel has shown to the gateway so far."""
    rows = lab.gateway("cat", "/proc/net/netfilter/nfnetlink_queue").stdout.splitlines()
    return sum(int(row.split()[7]) for row in rows)


def test_an_upload_over_quic_is_not_shown_to_the_gateway(lab: Lab, tmp_path: Path) -> None:
    """Once its hello was judged: thousands of datagrams, and a handful of them asked about. It may move to another port."""
    for family in FAMILIES:
        case = {"case": "upload", "name": FRIEND, "addr": place(family, 20), "token": "x" * 1_000, "times": 300, "seconds": 30}
        before, move = asked_about(lab), {**case, "case": "move", "token": f"moved{token_hex(8)}", "times": 1, "move": True}
        found = as_phone(lab, tmp_path, [case, move])
        assert {row["error"] for row in found.values()} == {""}
        assert found["upload"]["heard"] == 300_000
        assert lab.arrived(move["token"])
        told = asked_about(lab) - before
        print(f"IPv{family}: {told} of more than 250 datagrams were shown to the gateway")
        assert told < 30


def test_a_consent_opens_quic_and_its_end_cuts_it(lab: Lab, tmp_path: Path) -> None:
    cases = [{"case": f"long{family}", "name": LISTED, "addr": place(family, 200), "beat": 0.05, "seconds": 60} for family in FAMILIES]
    as_phone(lab, tmp_path, cases)
    assert not arrived(lab, cases)
    given = json.loads(lab.consentry("consents", "grant", "phone1", f"name:{LISTED}", "--for", "1h", "--json").stdout)

    def uploaded() -> list[int]:
        return [sum(row["payload"].count(case["token"]) for row in lab.sinks() if row["proto"] == "quic") for case in cases]

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(as_phone, lab, tmp_path, cases)
        try:
            wait_for(lambda: min(uploaded()) >= 3)
            assert not running.done()
        finally:
            lab.consentry("consents", "revoke", str(given["id"]))
        errors = {row["error"].split()[0] for row in running.result().values()}
    assert errors == {"OSError", "PermissionError"}  # cut, and told so
    before = uploaded()
    as_phone(lab, tmp_path, cases)
    assert uploaded() == before


def test_a_connection_that_was_let_pass_needs_no_gateway(lab: Lab, tmp_path: Path) -> None:
    enough = tmp_path / "enough"
    cases = [{"case": family, "name": FRIEND, "addr": place(family, 45), "beat": 0.05, "until": str(enough), "seconds": 90} for family in FAMILIES]

    def uploaded() -> int:
        return min(sum(row["payload"].count(case["token"]) for row in lab.sinks() if row["proto"] == "quic") for case in cases)

    gateway = lab.status["gateway_pid"]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(as_phone, lab, tmp_path, cases)
        wait_for(lambda: "token" in cases[-1] and uploaded() >= 3)
        os.kill(gateway, signal.SIGSTOP)
        try:
            before = uploaded()
            wait_for(lambda: uploaded() >= before + 5)
        finally:
            os.kill(gateway, signal.SIGCONT)
            enough.touch()
        assert {row["error"] for row in running.result().values()} == {""}


@pytest.mark.parametrize("gso", [False, True])
def test_held_datagrams_are_not_lost(lab: Lab, gso: bool) -> None:
    """A sample of tests/campaign/quic.py: conntrack has several unconfirmed entries for such a flow."""
    for number, family in enumerate(FAMILIES):
        addr, first = place(family, 30 + gso), 20_000 + 1_000 * number
        words = [str(HELPERS / "quichellos.py"), addr, "7777", FRIEND, "150", str(first), *(["gso"] if gso else [])]
        done = json.loads(lab.phone(sys.executable, *words, timeout=60 * PATIENCE).stdout)
        assert done == {"whole": 150, "lost": []}
        sizes = [row["bytes"] for row in lab.sinks() if row["dst"] == addr and row["proto"] == "udp"]
        assert sizes == [3 * 1_200 + 2 * 100] * 150  # each from one port outside, too
