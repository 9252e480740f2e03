"""A real lab behind a plain router: everything arrives and is recorded, and nothing is left when it goes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyroute2 import IPRoute, netns

from firewall.lab import scenario, wiring
from firewall.lab.lab import Lab
from firewall.lab.topology import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.lab

NAME = f"t{os.getpid():x}"

PLAIN_ROUTER = """
table inet plain {
    chain out { type nat hook postrouting priority srcnat; oifname "wan0" meta nfproto ipv4 masquerade; }
    chain in {
        type nat hook prerouting priority dstnat; iifname != "lan0" accept
        meta nfproto ipv4 meta l4proto { tcp, udp } th dport 53 dnat ip to 9.9.9.9
        meta nfproto ipv6 meta l4proto { tcp, udp } th dport 53 dnat ip6 to 2620:fe::9
    }
}
"""


def open_the_gateway(lab: Lab) -> None:
    forward = ["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]
    subprocess.run(lab.gateway_argv(forward), check=True)
    subprocess.run(lab.gateway_argv(["nft", "-f", "-"]), input=PLAIN_ROUTER, text=True, check=True)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab = Lab(NAME)
    lab.up(phones=2)
    try:
        open_the_gateway(lab)
        yield lab
    finally:
        lab.down()


def phone(lab: Lab, *argv: str, name: str = "phone1", text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        lab.exec_argv(name, argv), env=lab.environment(), input=text, capture_output=True, text=True, timeout=20, check=False
    )


def python(lab: Lab, code: str, *args: str, name: str = "phone1") -> str:
    done = phone(lab, sys.executable, "-c", code, *args, name=name)
    assert done.returncode == 0, done.stderr
    return done.stdout


def recorded(lab: Lab, what: Callable[[dict], bool]) -> list[dict]:
    return [row for row in lab.sinks() if what(row)]


# -- what a phone reaches ----------------------------------------------------------------------------------------------

FETCH = "import sys, urllib.request as u; print(u.urlopen(u.Request(sys.argv[1], sys.argv[2].encode()), timeout=5).read().decode())"


@pytest.mark.parametrize(
    ("url", "port", "name"),
    [
        ("http://fetch1.example.org/a", 80, "fetch1.example.org"),
        ("https://fetch2.example.org/a", 443, "fetch2.example.org"),
        ("http://42.62.48.207/a", 80, "42.62.48.207"),
        ("https://42.62.48.207/b", 443, "42.62.48.207"),
        ("http://[2001:dc7::77]/a", 80, "[2001:dc7::77]"),
        ("https://[2001:dc7::77]/b", 443, "[2001:dc7::77]"),
    ],
)
def test_a_request_is_answered_and_recorded_in_the_clear(lab: Lab, url: str, port: int, name: str) -> None:
    body = f"secret-{url}"
    assert python(lab, FETCH, url, body).startswith("POST /")
    (row,) = recorded(lab, lambda row: body in row["payload"])
    assert (row["proto"], row["dport"], row["name"]) == ("tcp", port, name)
    assert row["payload"].startswith("POST /")
    assert row["bytes"] == len(row["payload"])
    assert row["src"] == ("2001:db8:77::10" if ":" in row["dst"] else "203.0.113.1")


ECHO = """
import socket, sys
host, port, kind, text = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].encode()
with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as s:
    s.settimeout(5)
    s.connect((host, port))  # also for UDP: only the address that was asked may answer
    s.send(text)
    print(s.recv(4096).decode())
"""


@pytest.mark.parametrize("host", ["8.8.8.8", "198.51.100.44", "2001:db8:feed::44", "2600::1"])
@pytest.mark.parametrize(("kind", "proto"), [(1, "tcp"), (2, "udp")])
@pytest.mark.parametrize("port", [1, 853, 4444, 65535])
def test_any_address_and_any_port_echo(lab: Lab, host: str, port: int, kind: int, proto: str) -> None:
    text = f"token-{host}-{port}-{proto}"
    assert python(lab, ECHO, host, str(port), str(kind), text) == text + "\n"
    (row,) = recorded(lab, lambda row: row["payload"] == text)
    assert (row["dst"], row["dport"], row["proto"], row["bytes"]) == (host, port, proto, len(text))


def test_dns_for_another_resolver_is_recorded_and_for_ours_is_not(lab: Lab) -> None:
    """From the gateway itself, which nobody redirects."""
    for host in ("9.9.9.9", "2620:fe::9", "1.2.4.8", "2001:4860:4860::8888"):
        code = ECHO.replace("recv(4096).decode()", "recv(4096)[:2]")
        subprocess.run(lab.gateway_argv([sys.executable, "-c", code, host, "53", "2", "not quite a question"]), check=True, timeout=20)
    seen = {row["dst"] for row in recorded(lab, lambda row: row["dport"] == 53)}
    assert seen == {"1.2.4.8", "2001:4860:4860::8888"}


def test_a_connection_without_a_byte_is_seen_while_it_is_open_and_when_it_ends(lab: Lab) -> None:
    follow = lab.sinks(follow=True)
    code = "import socket, sys; s = socket.create_connection((sys.argv[1], 4321)); sys.stdin.read()"
    with subprocess.Popen(lab.exec_argv("phone2", [sys.executable, "-c", code, "2600::4321"]), stdin=subprocess.PIPE) as client:
        row = next(row for row in follow if row["dport"] == 4321)
        assert (row["dst"], row["src"], row["bytes"], row["open"]) == ("2600::4321", "2001:db8:77::11", 0, True)
        assert client.stdin is not None
        client.stdin.close()
    last = next(later for later in follow if later["id"] == row["id"])
    assert (last["bytes"], last["open"]) == (0, False)


def test_names_are_resolved_by_the_phones_own_resolver_only(lab: Lab) -> None:
    assert phone(lab, "cat", "/etc/resolv.conf").stdout.splitlines()[1:] == ["nameserver 10.77.0.1", "nameserver 2001:db8:77::1"]
    assert phone(lab, "cat", "/etc/nsswitch.conf").stdout == "hosts: files dns\n"
    assert phone(lab, "getent", "ahostsv4", "api.account.xiaomi.com").stdout.split()[0] == "42.62.48.181"
    assert phone(lab, "getent", "ahostsv4", "nothing.invalid").returncode != 0


def test_streams_and_exit_status_pass_through(lab: Lab) -> None:
    done = phone(lab, "sh", "-c", "cat; echo wrong >&2; exit 7", text="right")
    assert (done.returncode, done.stdout, done.stderr) == (7, "right", "wrong\n")


def test_phones_do_not_reach_each_other(lab: Lab) -> None:
    code = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), timeout=0.5)
except OSError as error:
    print(type(error).__name__)
"""
    for gateway, neighbour in (("10.77.0.1", "10.77.0.11"), ("2001:db8:77::1", "2001:db8:77::11")):
        assert python(lab, code, gateway) == "ConnectionRefusedError\n"  # reachable: the control
        assert python(lab, code, neighbour) in ("TimeoutError\n", "OSError\n")


def test_each_port_lets_its_own_phone_in(lab: Lab) -> None:
    told = subprocess.run(lab.gateway_argv(["bridge", "-d", "link", "show"]), capture_output=True, text=True, check=True).stdout
    assert told.count("locked on") == told.count("learning off") == 2
    known = subprocess.run(lab.gateway_argv(["bridge", "fdb", "show", "br", "lan0"]), capture_output=True, text=True, check=True).stdout
    assert "02:00:00:00:01:01 dev port1 master lan0 static" in known
    assert "02:00:00:00:01:02 dev port2 master lan0 static" in known


def test_a_stranger_is_no_phone(lab: Lab) -> None:
    with pytest.raises(LabError, match="only phone1, phone2"):
        lab.exec_argv("phone3", ["true"])


# -- scenarios ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in scenario.names() if not scenario.load(scenario.find(name)).endless and not name.endswith("-upload")])
def test_through_an_open_gateway_every_token_arrives(lab: Lab, name: str) -> None:
    rows: list[dict] = []
    summary = lab.play(name, on_result=rows.append)
    assert [row for row in rows if not row["ok"]] == []
    tokens = {row["token"] for row in rows if row["upload"]}
    assert len(tokens) == summary["uploads"] == summary["uploads_ok"]
    assert bool(tokens) is not name.endswith("-updated")
    assert all(len(token) == 16 for token in tokens)
    assert {row["token"] for row in rows if not row["upload"]} <= {""}
    payloads = "\n".join(row["payload"] for row in lab.sinks())
    assert {token for token in tokens if token not in payloads} == set()


def test_a_scenario_without_an_end_ends_when_its_time_is_up(lab: Lab) -> None:
    rows: list[dict] = []
    began = time.monotonic()
    summary = lab.play("everyday", on_result=rows.append, seconds=3)
    assert {row["phone"] for row in rows} == {"phone1", "phone2"}
    assert 3 <= summary["seconds"] <= time.monotonic() - began + 0.2 < 45


def test_an_interface_that_comes_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"cklate{os.getpid() % 100_000}"
    later = threading.Timer(0.3, subprocess.run, (["ip", "link", "add", name, "type", "bridge"],))
    with wiring.IPRoute() as ip:
        try:
            later.start()
            assert wiring._index(ip, name) > 0
        finally:
            later.join()
            subprocess.run(["ip", "link", "del", name], check=False)
        monkeypatch.setattr(wiring, "PATIENCE", 0.05)
        with pytest.raises(LabError, match=f"{name} has not come"):
            wiring._index(ip, name)


def test_a_request_whose_body_goes_on_arrives_piece_by_piece(lab: Lab, tmp_path: Path) -> None:
    text = scenario.find("redmi-1s-2014-upload").read_text().replace("beats = 300", "beats = 3")
    (tmp_path / "short.toml").write_text(text)
    rows: list[dict] = []
    lab.play(str(tmp_path / "short.toml"), on_result=rows.append)
    payloads = "\n".join(row["payload"] for row in lab.sinks())
    assert [payloads.count(row["token"]) for row in rows] == [3, 3]


def test_a_moved_service_is_met_where_it_went(lab: Lab) -> None:
    rows: list[dict] = []
    lab.play("redmi-1s-2014-moved", on_result=rows.append)
    tokens = [row["token"] for row in rows if row["step"] == "activation"]
    places = {row["dst"] for row in lab.sinks() if any(token in row["payload"] for token in tokens)}
    assert "54.179.140.65" in places
    assert "42.62.48.181" not in places


def test_every_day_both_phones_move_something_soon(lab: Lab) -> None:
    follow = lab.sinks(follow=True)
    lab.start_everyday()
    waited = {"2001:db8:77::11", "42.62.48.181"}  # phone2 over IPv6, and the Redmi's service
    for row in follow:
        waited -= {row["src"], row["dst"]}
        if not waited:
            break
    assert any("HM 1SW" in row["payload"] for row in lab.sinks())


def test_a_scenario_for_phones_that_are_not_there(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "crowd.toml"
    file.write_text('title = "t"\n[[group]]\nname = "g"\n[[group.step]]\nname = "s"\nkind = "dns"\nto = "a"\nphones = "phone9"\n')
    with pytest.raises(LabError, match="phone9"):
        lab.play(str(file), on_result=print)


CLOSED = """
title = "Nothing gets out"
[[group]]
name = "g"
[[group.step]]
name = "up"
kind = "http"
upload = true
to = ["http://42.62.48.181/{token}", "http://[2001:dc7::1]/{token}", "http://example.com/{token}"]
times = 0
[[group.step]]
name = "udp"
kind = "udp"
upload = true
to = "198.51.100.1:99"
body = "{token}"
[[group.step]]
name = "dns"
kind = "dns"
to = "example.com"
"""


def test_a_fresh_lab_forwards_nothing_and_a_player_says_so(tmp_path: Path) -> None:
    file, rows, other = tmp_path / "closed.toml", [], Lab(f"{NAME}g")
    file.write_text(CLOSED)
    other.up(phones=1)
    try:
        summary = other.play(str(file), on_result=rows.append)
        assert (summary["uploads"], summary["uploads_ok"], summary["ordinary"], summary["ordinary_ok"]) == (4, 0, 1, 0)
        assert all(row["error"] and not row["ok"] for row in rows)
        assert list(other.sinks()) == []
    finally:
        other.down()


# -- coming and going --------------------------------------------------------------------------------------------------


def traces(name: str) -> list[str]:
    """Everything on this machine that speaks of a lab."""
    found = [str(path) for where in ("/run/netns", "/etc/netns", "/run/consentry") for path in Path(where).glob(f"{name}*")]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if f"/run/consentry/{name}/".encode() in words + b"/" or f"{name}-phone1".encode() in words:
            found.append(f"{process}: {words!r}")
    return found


def links() -> set[str]:
    with IPRoute() as ip:
        return {link.get("ifname") for link in ip.get_links()} & {"lan0", "wan0", "down0", "up0", "port1", "port2"}


def test_nothing_is_left_of_it() -> None:
    before, other = links(), Lab(f"{NAME}b")
    assert not other.is_up()
    assert other.status() == {"name": other.name, "up": False}
    other.up(phones=3)
    try:
        assert other.is_up()
        status = json.loads(json.dumps(other.status()))
        assert len(status["namespaces"]["phones"]) == 3
        assert Path(status["ca"]).is_file()
        assert status["phones"]["02:00:00:00:01:03"] == "phone3"
        assert any(f"{other.name}-phone3" in trace for trace in traces(other.name))
        with subprocess.Popen(other.exec_argv("phone1", ["sleep", "60"])) as sleeper:
            other.down()
            assert sleeper.wait(timeout=5) == -signal.SIGKILL
    finally:
        other.down()
    assert traces(other.name) == []
    assert links() == before
    with pytest.raises(LabError, match="not up"):
        other.exec_argv("phone1", ["true"])


def test_two_labs_stand_side_by_side_and_one_goes(lab: Lab) -> None:
    other = Lab(f"{NAME}c")
    other.up(phones=1)
    other.down()
    assert python(lab, ECHO, "2600::2", "5", "1", "still here") == "still here\n"


@pytest.mark.parametrize("again", ["down", "up"])
def test_whatever_was_killed_is_cleaned_up(again: str) -> None:
    other = Lab(f"{NAME}d")
    other.up(phones=1)
    try:
        first = other.status()["internet_pid"]
        os.kill(first, signal.SIGKILL)
        netns.remove(f"{other.name}-router")
        (other.run_dir / "lab.json").unlink()
        fresh = Lab(other.name)  # as a new process would see it
        if again == "up":
            fresh.up(phones=1)
            assert fresh.status()["internet_pid"] != first
            assert list(fresh.sinks()) == []
        fresh.down()
        fresh.down()
        assert traces(other.name) == []
    finally:
        other.down()


def test_a_lab_that_did_not_come_up_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Lab(f"{NAME}e")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(LabError, match="did not start"):
        other.up(phones=1)
    assert traces(other.name) == []


def test_others_namespaces_are_left_alone() -> None:
    other = Lab(f"{NAME}f")
    taken = f"{other.name}-gateway"
    netns.create(taken)
    try:
        with pytest.raises(LabError, match=f"{taken} exists already and is not ours"):
            other.up(phones=1)
        other.down()
        assert taken in netns.listnetns()
    finally:
        netns.remove(taken)
    assert traces(other.name) == []
