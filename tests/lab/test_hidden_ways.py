"""Ways on which a name went unread, one test each. The internet's sinks are the judge, and everything arrives where all is allowed."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hostile
import pytest
import talk
from judge import Lab, wait_for

pytestmark = pytest.mark.lab

HELPERS = Path(__file__).parents[1] / "helpers"


def prepared(code: str, *words: str) -> str:
    """A program that knows the helpers."""
    return f"import sys; sys.path.insert(0, {str(HELPERS)!r}); sys.argv[1:] = {list(words)!r}\n{code}"


def run(lab: Lab, code: str, *words: str) -> str:
    return lab.phone(sys.executable, "-c", prepared(code, *words)).stdout


# -- multipath TCP -------------------------------------------------------------------------------------------------------


def test_multipath_tcp_leaves_as_plain_tcp(lab: Lab, tmp_path: Path) -> None:
    """Its bytes have a second order (DSS): what the gate reads first, the server may throw away as a repeat."""
    code = """
import hostile
hostile.deaf()
for family in (4, 6):
    twice = hostile.Raw(family, 8443)  # as no phone says it: one of the two would be left
    twice.ip(twice.segment(twice.isn, b"", hostile.SYN, b"\\2\\4\\5\\xb4" + b"\\x1e\\x04\\x01\\x01" * 2))
    twice.close()
    c = hostile.Raw(family, 8443)
    assert c.open(options=b"\\2\\4\\5\\xb4\\x1e\\x04\\x01\\x01")
    c.send(0, hostile.hello("friendly.example", f"multipath{family}"))
    assert c.answer(9)
    c.close()
"""
    with lab.capture(tmp_path / "outer.pcap") as file:
        run(lab, code)
        for family in (4, 6):
            wait_for(lambda family=family: lab.arrived(f"multipath{family}"))
    seen = subprocess.run(["tcpdump", "-n", "-v", "-r", str(file), "port 8443"], capture_output=True, text=True, check=True).stdout
    opened = [line for line in seen.splitlines() if "Flags [S]" in line]
    assert len(opened) >= 2
    assert all("[mss 1460," in line or "[mss 1440," in line for line in opened), "the other options stay; over IPv6, what fits"
    assert "mptcp" not in seen


# -- TLS behind something else -------------------------------------------------------------------------------------------

BEGINNINGS = {  # what stands before the hello, with an answer between: mail, LDAP, PostgreSQL; a proxy's line; nothing that anybody knows
    25: [b"HELO phone\r\n", b"STARTTLS\r\n"], 389: [b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"],
    5432: [bytes.fromhex("0000000804d2162f")], 8080: [b"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n"], 7777: [bytes(range(128, 200))] * 3,
}


def test_a_hello_behind_another_beginning_is_read(lab: Lab, open_lab: Lab) -> None:
    """The echo at those ports answers whatever comes; the hello says its token where the sink sees it."""
    code = """
import json, socket
for to, port, said in json.loads(sys.argv[1]):
    with socket.create_connection((to, port), 9) as s:
        s.settimeout(9)
        try:
            for one in said:
                s.sendall(bytes.fromhex(one)); s.recv(4096)
        except OSError:
            pass
"""
    said, tokens = [], {True: set(), False: set()}
    for family, to in hostile.FRIEND.items():
        for port, before in BEGINNINGS.items():
            for name in (hostile.GOOD_NAME, hostile.EVIL_NAME):
                token = f"late{family}-{port:05}-{name[:3]}"
                tokens[name == hostile.EVIL_NAME].add(token)
                said.append([to, port, [one.hex() for one in (*before, hostile.hello(name, token))]])
    run(lab, code, json.dumps(said))
    run(open_lab, code, json.dumps(said))
    here, there = ("\0".join(row["payload"] for row in where.sinks()) for where in (lab, open_lab))
    every = tokens[True] | tokens[False]
    assert {token for token in every if token in there} == every
    assert {token for token in every if token in here} == tokens[False]


# -- names among bytes that no name has, requests that hardly any server takes ----------------------------------------------

ODD_NAMES = [b"%s\0", b"%s\0.friendly.example", b" %s ", b".%s", b"https://%s/", b"a@%s", b"*.%s", b"friendly.example,%s", b"x" * 64 + b".%s",
             b"a." * 120 + b"%s", b"\xff.%s"]
ODD_LINES = [b"GET /%s http/1.1", b"GET /%s HTTP/1", b"GET /%s HTTP/1.1x", b" GET /%s HTTP/1.1", b"\0GET /%s HTTP/1.1", b"A" * 40 + b" /%s HTTP/1.1"]


def odd(name: str, mark: str) -> Iterator[tuple[int, bytes, bytes]]:
    """Port, what is said, the token in it."""
    tokens = (b"odd%s%010d" % (mark.encode(), n) for n in itertools.count())
    for form in ODD_NAMES:
        token, host = next(tokens), form.replace(b"%s", name.encode())
        yield 8443, talk.hello(talk.server_name(host), talk.extension(0x7A7A, token)), token
        token = next(tokens)
        yield 80, b"GET /%s HTTP/1.1\r\nHost: %s\r\n\r\n" % (token, host), token
    for line in ODD_LINES:
        token = next(tokens)
        yield 80, line % token + b"\r\nHost: %s\r\n\r\n" % name.encode(), token
    token = next(tokens)
    yield 80, b"GET http://%s/%s\r\n\r\n" % (name.encode(), token), token
    token = next(tokens)
    said = talk.hello(talk.server_name(name.encode()), talk.extension(0x7A7A, token))
    yield 8443, said[:1] + b"\2" + said[2:], token  # Go's servers take any version of a record below 16
    token = next(tokens)
    yield 1080, b"\5\1\0\5\1\0\3" + bytes((len(name),)) + name.encode() + b"\1\xbb" + token, token  # SOCKS, all at once


def test_odd_bytes_hide_no_name(lab: Lab, open_lab: Lab) -> None:
    """A server that finds a name there, or a request, goes on; and a friend's is let pass."""
    code = """
import json, socket
from concurrent.futures import ThreadPoolExecutor
def say(one):
    to, port, said = one
    with socket.create_connection((to, port), 9) as s:
        s.settimeout(9)
        try:
            s.sendall(bytes.fromhex(said)); s.recv(4096)
        except OSError:
            pass
with ThreadPoolExecutor(4) as pool:  # eight are held of one phone
    list(pool.map(say, json.loads(sys.stdin.read())))
"""
    said, tokens = [], {True: set(), False: set()}
    for family, to in hostile.FRIEND.items():
        for name in (hostile.GOOD_NAME, hostile.EVIL_NAME):
            for port, data, token in odd(name, f"{family}{name[:3]}"):
                tokens[name == hostile.EVIL_NAME].add(token.decode())
                said.append([to, port, data.hex()])

    def everywhere(where: Lab) -> str:
        argv = ["ip", "netns", "exec", where.namespaces["phones"][0], sys.executable, "-c", prepared(code)]
        subprocess.run(argv, input=json.dumps(said), text=True, check=True, timeout=100)
        return "\0".join(row["payload"] for row in where.sinks())

    with ThreadPoolExecutor(2) as pool:
        here, there = pool.map(everywhere, (lab, open_lab))
    every = tokens[True] | tokens[False]
    assert {token for token in every if token in there} == every
    assert {token for token in every if token in here} == tokens[False]


# -- behind noise, over UDP ----------------------------------------------------------------------------------------------


ALERT = bytes.fromhex("15fefd 0000 000000000000 0002 0100")  # in the clear; a server reads on behind it


def test_what_begins_behind_a_datagram_that_is_dropped_is_read(lab: Lab, open_lab: Lab) -> None:
    """TLS over datagrams, whole behind another record, and in fragments, and a question to a resolver on another port. Most UDP passes in the kernel."""
    code = """
import json, socket
for to, port, said in json.loads(sys.argv[1]):
    with socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((to, port)); s.settimeout(3)
        try:
            for one in said:
                s.send(bytes.fromhex(one)); s.recv(4096)
        except OSError:
            pass
"""
    said, tokens = [], {True: set(), False: set()}
    for family, to in hostile.FRIEND.items():
        for cut in (0, 90):
            for name in (hostile.GOOD_NAME, hostile.EVIL_NAME):
                token = f"dtls{family}-{cut:02}-{name[:3]}"
                tokens[name == hostile.EVIL_NAME].add(token)
                hello = b"".join(talk.dtls(hostile.hello(name, token)[5:], cut=cut))
                said.append([to, 5684, [b"\x17 noise".hex(), (ALERT * (cut == 0) + hello).hex()]])
        for number, (before, evil) in enumerate((([], True), ([b"noise"], True))):
            token = f"elsewhere{family}{number}"
            tokens[evil].add(token)
            question = bytes.fromhex("123401000001000000000000") + bytes((len(token),)) + token.encode() + b"\4test\0\0\1\0\1"
            said.append([to, 5353, [one.hex() for one in (*before, question)]])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda where: run(where, code, json.dumps(said)), (lab, open_lab)))
    here, there = ("\0".join(row["payload"] for row in where.sinks()) for where in (lab, open_lab))
    every = tokens[True] | tokens[False]
    assert {token for token in every if token in there} == every
    assert {token for token in every if token in here} == tokens[False]


# -- who opens a connection, and says nothing for long -------------------------------------------------------------------


def waiting(lab: Lab) -> list[int]:
    """Seconds that are left to each connection that has said nothing yet, or has not been judged."""
    listed = lab.gateway("nft", "-j", "list", "set", "inet", "consentry", "begun").stdout
    sets = [one["set"] for one in json.loads(listed)["nftables"] if "set" in one]
    return [element["elem"]["expires"] for element in sets[0].get("elem", ())]


@pytest.mark.parametrize("family", [4, 6])
def test_an_idle_connection_lives_as_long_as_its_client_asks_for_signs_of_life(lab: Lab, tmp_path: Path, family: int) -> None:
    """Browsers open some beforehand. Where it begins is not forgotten while its server answers; what is refused is not kept."""
    go = tmp_path / "go"
    code = """
import hostile, pathlib, socket, time
to, go = sys.argv[1:]
with socket.create_connection((to, 8443), 9) as s:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for what, value in ((socket.TCP_KEEPIDLE, 2), (socket.TCP_KEEPINTVL, 2)):
        s.setsockopt(socket.IPPROTO_TCP, what, value)
    while not pathlib.Path(go).exists():
        time.sleep(0.05)
    s.settimeout(9); s.sendall(hostile.hello("friendly.example", f"at last {to}")); assert s.recv(99)
try:
    with socket.create_connection((to, 8443), 9) as s:
        s.settimeout(9); s.sendall(hostile.hello(hostile.EVIL_NAME, "never")); s.recv(99)
except OSError:
    pass
"""
    to = hostile.FRIEND[family]
    wait_for(lambda: not waiting(lab))
    with ThreadPoolExecutor(1) as pool:
        phone = pool.submit(run, lab, code, to, str(go))
        try:
            wait_for(lambda: waiting(lab))
            left = [waiting(lab)[0]]
            wait_for(lambda: left.append(waiting(lab)[0]) or left[-1] > left[-2])
        finally:
            go.touch()
        phone.result()
    assert lab.arrived(f"at last {to}")
    wait_for(lambda: not waiting(lab), 3)


# -- names from DNS ------------------------------------------------------------------------------------------------------


def test_a_refused_name_is_not_crowded_out_by_friends_at_its_address(lab: Lab, open_lab: Lab) -> None:
    """A phone that asked for it, and then for forty friends' names there, goes there and says none."""
    code = """
import dnslib, hostile, socket
def ask(name):
    for kind in ("A", "AAAA"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(9); s.connect(("9.9.9.9", 53)); s.send(dnslib.DNSRecord.question(name, kind).pack())
            found = {str(rr.rdata) for rr in dnslib.DNSRecord.parse(s.recv(4096)).rr}
            assert found & {"198.51.100.77", "2001:db8:feed::77"}, (name, found)
who, *names = sys.argv[1:]
for name in (*names, *(f"n{n}.crowd.example.com" for n in range(40))):
    ask(name)
for to in ("198.51.100.77", "2001:db8:feed::77"):
    with socket.create_connection((to, 8443), 9) as s:
        try:
            s.settimeout(9); s.sendall(hostile.hello(None, f"{who}-{to[-4:]}")); s.recv(99)
        except OSError:
            pass
"""
    for where in (lab, open_lab):
        run(where, code, "crowded", "crowd.api.account.xiaomi.com")
        where.phone(sys.executable, "-c", prepared(code, "friends"), phone="phone2")
    here, there = ("\0".join(row["payload"] for row in where.sinks()) for where in (lab, open_lab))
    tokens = [f"{who}-{end}" for who in ("crowded", "friends") for end in ("0.77", "::77")]
    assert [token in there for token in tokens] == [True] * 4
    assert [token in here for token in tokens] == [False, False, True, True]


# -- a connection that begins again ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [4, 6])
def test_a_connection_that_begins_again_is_judged_again(lab: Lab, family: int) -> None:
    """Its server has forgotten it, conntrack has not, and takes the second handshake for the same, allowed connection."""
    code = """
import hostile
hostile.deaf()
c = hostile.Raw(int(sys.argv[1]), 8443, sport=29_900, isn=int(sys.argv[2]))
assert c.open()
c.send(0, hostile.hello(sys.argv[3], sys.argv[4]))
print("reset" if c.answer(9)[2] & hostile.RST else "heard")
c.send(400, b"\\x17\\x03\\x03\\0\\x01x")
"""
    internet = ["ip", "netns", "exec", lab.namespaces["internet"]]
    no_resets = "table inet quiet { chain c { type filter hook output priority 0; tcp flags & rst == rst drop; }; }"

    def forget() -> None:
        subprocess.run([*internet, "nft", no_resets], check=True)
        killed = subprocess.run([*internet, "ss", "-K", "-t", "dport", "=", "29900"], check=True, capture_output=True, text=True).stdout
        subprocess.run([*internet, "nft", "delete", "table", "inet", "quiet"], check=True)
        assert "29900" in killed

    for begin, name, heard in ((1_000, hostile.GOOD_NAME, "heard"), (900_000_000, hostile.GOOD_NAME, "heard"), (1_800_000_000, hostile.EVIL_NAME, "reset")):
        token = f"again{family}-{begin}"
        assert run(lab, code, str(family), str(begin), name, token).strip() == heard
        if heard == "heard":
            wait_for(lambda token=token: lab.arrived(token))
            forget()
    assert not lab.arrived(token)


@pytest.mark.parametrize("family", [4, 6])
def test_what_begins_again_elsewhere_on_the_box_keeps_its_mark(lab: Lab, family: int) -> None:
    """Only a phone's SYN takes something away: the marks of other sides' connections are other programs'."""
    to, port = ("127.0.0.1", "::1")[family == 6], 8_990 + family
    seen = f"table inet others{family} {{ counter begins {{ }}; chain o {{ type filter hook output priority 0; tcp dport {port} ct mark set 0xffffffff; }}; "
    seen += f"chain p {{ type filter hook prerouting priority 0; tcp dport {port} tcp flags & (syn | ack) == syn counter name begins; }}; }}"
    code = """
import socket, struct, hostile
to, port = sys.argv[1], int(sys.argv[2])
kind = socket.AF_INET6 if ":" in to else socket.AF_INET
server = socket.create_server((to, port), family=kind)
s = socket.create_connection((to, port), 9)
again = struct.pack("!HHIIBBHHH", s.getsockname()[1], port, 1, 0, 5 << 4, hostile.SYN, 65_000, 0, 0)
ends = socket.inet_pton(kind, to) * 2
check = hostile.checksum(ends + (struct.pack("!IxxxB", 20, 6) if ":" in to else struct.pack("!xBH", 6, 20)) + again)
raw = socket.socket(kind, socket.SOCK_RAW, socket.IPPROTO_TCP)
raw.sendto(again[:16] + check.to_bytes(2) + again[18:], (to, 0))
sys.stdin.read()
"""
    lab.gateway("nft", seen)
    with subprocess.Popen(["ip", "netns", "exec", lab.namespaces["gateway"], sys.executable, "-c", prepared(code, to, str(port))], stdin=subprocess.PIPE) as there:
        wait_for(lambda: "packets 2 " in lab.gateway("nft", "list", "counter", "inet", f"others{family}", "begins").stdout)
        listed = lab.gateway("conntrack", "-L", "-p", "tcp", "-f", f"ipv{family}", "--dport", str(port)).stdout
        there.communicate(b"")
    assert f"mark={0xFFFFFFFF} " in listed
