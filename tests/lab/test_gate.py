"""Smaller promises of the gate, each seen from outside. Both address families wherever one has two."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from judge import Lab, consentry, fresh_name, in_time, lab_up, stands_still, wait_for

from firewall.control import Refused, connect

pytestmark = pytest.mark.lab

V4, V6 = "198.51.100.90", "2001:db8:feed::90"
PYTHON = sys.executable


def python(lab: Lab, code: str, *, phone: str = "phone1", check: bool = True, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    return lab.phone(PYTHON, "-c", code, phone=phone, check=check, timeout=timeout)


def sent(lab: Lab, token: str) -> bool:
    time.sleep(0.3)
    return lab.arrived(token)


@pytest.mark.parametrize("addr", [V4, V6])
def test_a_keep_alive_connection_is_cut_at_the_request_that_names_a_listed_host(lab: Lab, addr: str) -> None:
    done = python(lab, f"""
import socket
s = socket.create_connection(("{addr}", 80), 5)
for n in range(5):
    s.sendall(b"GET /friendly%d HTTP/1.1\\r\\nHost: friendly.example\\r\\n\\r\\n" % n)
    while b"/friendly%d" % n not in s.recv(9999): pass
try:
    s.sendall(b"GET /evil{addr[:3]}keepalive HTTP/1.1\\r\\nHost: api.account.xiaomi.com\\r\\n\\r\\n")
    while s.recv(9999): pass
except OSError as error:
    print(type(error).__name__)
""")
    assert "ConnectionResetError" in done.stdout
    wait_for(lambda: lab.arrived("friendly4"))
    assert not sent(lab, f"evil{addr[:3]}keepalive")


@pytest.mark.parametrize("addr", [V4, V6])
def test_who_waits_in_the_middle_of_a_request_gets_its_answer(lab: Lab, addr: str) -> None:
    """It sends no more while what it repeats is not acknowledged, and its server does not get that yet."""
    done = python(lab, f"""
import socket, struct, time
for name in ("api.account.xiaomi.com", *["friendly.example"] * 3):  # a machine that stands still for three seconds is no judge
    s = socket.create_connection(("{addr}", 80), 5)
    s.sendall(b"GET /halves{addr[:3]}%s HTTP/1.1\\r\\n" % name[:3].encode())
    while struct.unpack_from("I", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 24)[0]: time.sleep(0.01)  # tcpi_unacked
    try:
        s.sendall(b"Host: %s\\r\\n\\r\\n" % name.encode())
        print(name, len(s.recv(99)) > 0)
        break
    except OSError as error:
        print(name, type(error).__name__)
""")
    assert done.stdout.startswith("api.account.xiaomi.com ConnectionResetError\n")
    assert done.stdout.endswith("friendly.example True\n")
    wait_for(lambda: lab.arrived(f"halves{addr[:3]}fri"))
    assert not lab.arrived(f"halves{addr[:3]}api")


@pytest.mark.parametrize("addr", [V4, V6])
def test_data_in_a_syn_does_not_pass(lab: Lab, addr: str) -> None:
    family = "AF_INET6" if ":" in addr else "AF_INET"
    python(lab, f"""
import socket
s = socket.socket(socket.{family}, socket.SOCK_RAW, socket.IPPROTO_TCP)
s.connect(("{addr}", 0))
import struct
pseudo = socket.inet_pton(s.family, s.getsockname()[0]) + socket.inet_pton(s.family, "{addr}")
segment = struct.pack("!HHIIBBHHH", 45678, 4444, 1, 0, 5 << 4, 2, 65535, 0, 0) + b"tokeninsyn{len(addr)}"
segment += b"\\0" * (len(segment) % 2)
ph = pseudo + (struct.pack("!IxxxB", len(segment), 6) if s.family == socket.AF_INET6 else struct.pack("!xBH", 6, len(segment)))
total = sum(struct.unpack("!%dH" % ((len(ph) + len(segment)) // 2), ph + segment))
while total >> 16: total = (total & 65535) + (total >> 16)
s.send(segment[:16] + struct.pack("!H", ~total & 65535) + segment[18:])
""")
    assert not sent(lab, f"tokeninsyn{len(addr)}")


def test_nobody_outside_opens_a_connection_to_a_phone(lab: Lab) -> None:
    phone = subprocess.Popen(
        ["ip", "netns", "exec", lab.namespaces["phones"][0], PYTHON, "-c",
         "import socket; s = socket.create_server(('::', 8088), family=socket.AF_INET6); s.settimeout(6)\ntry: print('opened', s.accept()[1])\nexcept TimeoutError: print('nobody')"],
        stdout=subprocess.PIPE, text=True,
    )
    time.sleep(0.5)
    outside = ["ip", "netns", "exec", lab.namespaces["internet"], PYTHON, "-c"]
    for addr in ("2001:db8:77::10", "10.77.0.10"):
        code = f"import socket\ntry: socket.create_connection(('{addr}', 8088), 2); print('in')\nexcept OSError as e: print('no', e)"
        assert "no" in subprocess.run([*outside, code], capture_output=True, text=True, check=True).stdout
    assert phone.communicate(timeout=10)[0].strip() == "nobody"


@pytest.mark.parametrize("resolver", ["10.77.0.1", "8.8.8.8", "2001:4860:4860::8888", "2001:db8:77::1"])
def test_whatever_resolver_is_asked_ours_answers(lab: Lab, resolver: str) -> None:
    code = f"""
import socket
from dnslib import DNSRecord
for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
    s = socket.socket(socket.AF_INET6 if ":" in "{resolver}" else socket.AF_INET, kind); s.settimeout(5); s.connect(("{resolver}", 53))
    q = DNSRecord.question("en.wikipedia.org").pack()
    if kind == socket.SOCK_STREAM: q = len(q).to_bytes(2, "big") + q
    s.send(q); a = s.recv(4096)
    print(DNSRecord.parse(bytes(a[2:] if kind == socket.SOCK_STREAM else a)).short())
"""
    over_udp, over_tcp, *more = python(lab, code.replace(".short())", ".short().split())")).stdout.splitlines()
    assert not more
    assert over_udp == over_tcp
    assert "185.15.59.224" in over_udp
    assert not [row for row in lab.sinks() if row["dport"] == 53]  # nobody outside was asked but our upstream


def test_a_blocked_name_is_nxdomain_with_a_reason_and_comes_back_at_once(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\naction = "block"\nmatch = "name:forbidden.example"\n')
    code = """
import socket
from dnslib import DNSRecord, EDNS0
for family, at in ((socket.AF_INET, "10.77.0.1"), (socket.AF_INET6, "2001:db8:77::1")):
    for qtype in ("A", "AAAA"):
        q = DNSRecord.question("www.forbidden.example", qtype); q.add_ar(EDNS0(udp_len=1232))
        s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(5); s.sendto(q.pack(), (at, 53))
        a = s.recv(4096); r = DNSRecord.parse(a)
        print(r.header.rcode, r.auth[0].ttl if r.auth else "", [(o.code, o.data[:2]) for o in r.ar[0].rdata] if r.ar else "")
"""
    with lab_up(rules) as lab:
        said = python(lab, code).stdout.splitlines()
        assert len(said) == 4
        assert all(line.startswith("3 2 ") for line in said)
        assert all("(15, b'\\x00\\x0f')" in line for line in said)  # EDE 15, Blocked
        rows = wait_for(lambda: lab.history("name:forbidden.example verdict:block"), 3)
        assert rows[0]["proto"] == "dns"
        rules.write_text("")
        wait_for(lambda: python(lab, code).stdout.startswith("0 "), 5)


def test_a_new_block_stops_a_running_upload(tmp_path: Path) -> None:
    """Asserted at 5 s; the time it took is printed."""
    rules = tmp_path / "rules.toml"
    rules.write_text("")
    upload = """
import socket, sys, time
s = socket.create_connection((sys.argv[1], 4444), 5)
try:
    for n in range(20_000):
        s.sendall(b"upload%06d" % n + bytes(1000)); time.sleep(0.01)
    print("finished")
except OSError as error: print(type(error).__name__)
"""
    with lab_up(rules) as lab:
        phones = [
            subprocess.Popen(["ip", "netns", "exec", lab.namespaces["phones"][0], PYTHON, "-c", upload, addr], stdout=subprocess.PIPE, text=True)
            for addr in (V4, V6)
        ]
        wait_for(lambda: sum(row["bytes"] > 50_000 for row in lab.sinks()) == 2, 10)
        rules.write_text(f'[[rule]]\naction = "block"\nmatch = "addr:{V4},{V6}"\n')
        began = time.monotonic()
        for phone in phones:
            assert "Error" in phone.communicate(timeout=10)[0]
        took = time.monotonic() - began
        in_time(took, 5)
        stands_still(lambda: {row["id"]: row["bytes"] for row in lab.sinks()})
        print(f"a running upload ended {took:.2f} s after the edit of rules.toml")
        assert wait_for(lambda: lab.history("verdict:block last:1m"), 3)


def test_a_file_that_is_downloaded_and_udp_both_ways(lab: Lab) -> None:
    for family in ("-4", "-6"):
        done = lab.phone("curl", family, "-s", "-m", "20", "-o", "/dev/null", "-w", "%{size_download}", "http://example.com/bytes/3000000")
        assert done.stdout == "3000000"
    for addr, family in ((V4, "AF_INET"), (V6, "AF_INET6")):
        code = f"import socket; s = socket.socket(socket.{family}, socket.SOCK_DGRAM); s.settimeout(5); s.sendto(b'echo', ('{addr}', 7777)); print(s.recv(99))"
        assert "echo" in python(lab, code).stdout
    rows = wait_for(lambda: [r for r in lab.history("name:example.com verdict:allow") if r["bytes_down"] > 5_900_000], 8)
    assert rows[0]["bytes_up"] > 0


def _short(line: str) -> str:
    """/proc writes IPv6 addresses in full."""
    return line.replace("=0", "=").replace(":0", ":")


def test_other_programs_mark_bits_are_left_alone(lab: Lab) -> None:
    """Somebody else's low bits survive on packets and connections that we decide about."""
    lab.gateway("nft", "add", "table", "inet", "other")
    lab.gateway("nft", "add chain inet other f { type filter hook forward priority -200; ct mark set ct mark | 0x2a; }")
    try:
        for family in ("-4", "-6"):
            lab.phone("curl", family, "-s", "-m", "20", "-o", "/dev/null", "http://example.com/")
        seen = lab.gateway("cat", "/proc/net/nf_conntrack", check=False).stdout or lab.gateway("conntrack", "-L").stdout
        for server in ("dst=93.184.216.34 ", "dst=2606:2800:"):
            marks = [int(word[5:]) for line in seen.splitlines() if "dport=80 " in line and server in _short(line) for word in line.split() if word.startswith("mark=")]
            assert any(mark & 0x3FFF == 0x2A and mark >> 30 == 1 for mark in marks), marks
    finally:
        lab.gateway("nft", "delete", "table", "inet", "other")


def test_a_lab_keeps_to_its_interface(lab: Lab) -> None:
    status = lab.status
    assert status["state"] == "ENFORCING"
    assert Path(f"/proc/{status['gateway_pid']}").exists()
    assert Path(status["ca"]).exists()
    assert Path(status["socket"]).is_socket()
    assert (status["lan_if"], status["wan_if"]) == ("lan0", "wan0")
    assert len(status["namespaces"]["phones"]) == 2
    assert lab.phone("sh", "-c", "cat; exit 7", check=False).returncode == 7
    assert "nameserver 10.77.0.1" in lab.phone("cat", "/etc/resolv.conf").stdout
    assert "hosts: files dns" in lab.phone("cat", "/etc/nsswitch.conf").stdout
    assert lab.phone("sh", "-c", "echo $SSL_CERT_FILE").stdout.strip() == status["ca"]
    assert lab.fetch("https://en.wikipedia.org/") == {True}


def test_without_a_gateway_the_command_line_says_so() -> None:
    done = consentry("status", lab=fresh_name(), check=False)
    assert done.returncode == 3
    assert "no gateway answers" in done.stderr


def test_what_a_name_is_made_of_is_shown_and_not_obeyed(lab: Lab) -> None:
    nasty = "\\x1b]0;owned\\x07\\x1b[31mred[/bold][@click=app.quit]x"
    python(lab, f"""
import socket
for addr in ("{V4}", "{V6}"):
    s = socket.create_connection((addr, 80), 5)
    s.sendall(b"GET / HTTP/1.1\\r\\nHost: {nasty}\\r\\n\\r\\n")
""")
    time.sleep(1.5)
    assert "\x1b" not in lab.consentry("history", "last:1m").stdout


def test_explain_and_history_refuse_nonsense_with_a_place(lab: Lab) -> None:
    done = lab.consentry("history", "phon:x", check=False)
    assert done.returncode == 1
    assert "did you mean phone:?" in done.stderr
    assert lab.consentry("explain", "phone1", "not a name", check=False).returncode == 1
    told = json.loads(lab.consentry("explain", "phone1", "[2001:dc7::1]:53", "--json").stdout)
    assert (told["verdict"], told["port"], told["service"]) == ("ask", 53, "cnnic-own")
    with connect(Path(f"/run/consentry/{lab.name}/gateway.sock")) as client:
        told = client.ask("explain", phone="phone1", what="198.51.100.1", proto="47").done
        assert (told["verdict"], told["rule"], told["port"]) == ("block", "baseline/2", None)
        with pytest.raises(Refused, match="'bananas' is no protocol; write tcp, udp, icmp or a number up to 255"):
            client.ask("explain", phone="phone1", what="198.51.100.1", proto="bananas")


def test_explain_by_the_rules_as_they_were(lab: Lab) -> None:
    before = json.loads(lab.consentry("status", "--json").stdout)["revision"]
    lab.consentry("rules", "add", "block name:then.example")
    lab.consentry("rules", "undo")

    def by(*words: str) -> tuple[str, int]:
        told = json.loads(lab.consentry("explain", "phone1", "then.example", "--json", *words).stdout)
        return told["verdict"], told["revision"]

    assert by() == ("allow", before + 2)
    assert by("--revision", str(before + 1)) == ("block", before + 1)
    done = lab.consentry("explain", "phone1", "then.example", "--revision", str(before + 9), check=False)
    assert (done.returncode, done.stderr.strip()) == (1, f"there is no revision {before + 9}")


def test_an_attached_gateway_answers_only_on_its_own_side(lab: Lab) -> None:
    """Not an open resolver: nothing answers on the outer side, at 53 or where 53 is redirected to."""
    outside = ["ip", "netns", "exec", lab.namespaces["internet"], PYTHON, "-c"]
    for addr, family in (("203.0.113.1", socket.AF_INET), ("2001:db8:113::1", socket.AF_INET6)):
        for port in (53, 5300):
            code = f"""
import socket
from dnslib import DNSRecord
s = socket.socket({int(family)}, socket.SOCK_DGRAM); s.settimeout(0.7); s.sendto(DNSRecord.question("example.com").pack(), ("{addr}", {port}))
try: print("answer", s.recv(999))
except OSError: print("silence")
try: socket.create_connection(("{addr}", {port}), 0.7); print("answer")
except OSError: print("silence")
"""
            assert "answer" not in subprocess.run([*outside, code], capture_output=True, text=True, check=True).stdout
