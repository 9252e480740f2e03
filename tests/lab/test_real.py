"""`run --lan --wan` as on a real box: the lab's wires, and the command line on the gateway instead of the lab's own."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import families
import pytest
from judge import wait_for, wires_up

from firewall.lab.lab import Lab as Wires
from firewall.lab.topology import RESOLVERS

pytestmark = pytest.mark.lab


@pytest.fixture
def wires() -> Iterator[Wires]:
    with wires_up() as built:
        yield built


def on(wires: Wires, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"CONSENTRY_SOCKET": f"{wires.run_dir}/gate/gateway.sock"}
    argv = wires.gateway_argv(words)
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=check, env=env, stdin=subprocess.DEVNULL)


def consentry(wires: Wires, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return on(wires, sys.executable, "-m", "firewall.cli", *words, check=check)


def traces(wires: Wires) -> dict[str, str]:
    """What a gate could leave behind on the box."""
    files = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/netfilter/nf_conntrack_tcp_loose", "net/ipv4/conf/wan0/src_valid_mark", "net/netfilter/nf_conntrack_acct"]
    return {
        "nft": on(wires, "nft", "list", "ruleset").stdout.replace("\n", "") if "consentry" in on(wires, "nft", "list", "tables").stdout else "",
        "queue": str("NFQUEUE" in on(wires, "iptables-nft", "-t", "mangle", "-S", check=False).stdout),
        "rules4": on(wires, "ip", "-4", "rule").stdout,
        "rules6": on(wires, "ip", "-6", "rule").stdout,
    } | {name: on(wires, "cat", f"/proc/sys/{name}").stdout for name in files}


def fetch(wires: Wires, *urls: str) -> set[bool]:
    """Whether a phone gets these pages, all at once; those of names over IPv4 and IPv6. {True}, {False}, or not alike."""
    tries = [
        subprocess.Popen(wires.exec_argv("phone1", ["curl", way, "-s", "-m", "4", "-o", "/dev/null", url]), env=wires.environment())
        for url in urls
        for way in (("-4", "-6") if families.named(urlsplit(url).hostname) is None else ("-g",))
    ]
    return {one.wait(timeout=30) == 0 for one in tries}


def test_from_start_to_removal(wires: Wires, tmp_path: Path) -> None:
    before = traces(wires)
    where = ("--run-dir", f"{wires.run_dir}/gate", "--state-dir", str(tmp_path))
    upstream = [word for address in RESOLVERS for word in ("--upstream", address)]
    started = consentry(wires, "run", "--lan", "lan0", "--wan", "wan0", *where, *upstream)
    assert "ENFORCING" in started.stderr
    assert "no terminal here" in started.stderr
    try:
        again = consentry(wires, "run", "--lan", "lan0", "--wan", "wan0", *where, *upstream)
        assert "starting" not in again.stderr  # it runs already
        assert fetch(wires, "http://example.com/") == {False}  # nobody has said whose phone this is: it asks first
        (row, *_) = wait_for(lambda: consentry(wires, "history", "verdict:ask", "--json").stdout).splitlines()
        assert (json.loads(row)["rule"], json.loads(row)["group"]) == ("strict/1", "strict")
        consentry(wires, "phones", "group", "phone-0101", "home")
        assert fetch(wires, "http://example.com/") == {True}
        assert fetch(wires, "https://example.com/") == {True}
        assert fetch(wires, "http://api.account.xiaomi.com/") == {False}
        rows = wait_for(lambda: consentry(wires, "history", "verdict:refused", "--json").stdout)
        assert json.loads(rows.splitlines()[0])["phone"] == "phone-0101"  # by the end of its MAC

        assert consentry(wires, "stop").stdout.strip() == "LOCKED"
        wait_for(lambda: fetch(wires, "http://example.org/") == {False})
        assert "LOCKED" in consentry(wires, "status").stdout
        consentry(wires, "resume")
        wait_for(lambda: fetch(wires, "http://example.org/") == {True})

        assert on(wires, "sh", "-c", "ss -ltn | grep -c :5300", check=False).stdout.strip() != "0"
        assert subprocess.run(wires.exec_argv("phone1", ["sh", "-c", "echo | timeout 2 bash -c 'cat > /dev/tcp/10.77.0.1/22'"]), check=False, capture_output=True).returncode != 0
    finally:
        removed = consentry(wires, "off", "--remove", "--run-dir", f"{wires.run_dir}/gate")
        assert not Path(wires.run_dir, "gate").exists()  # whom phones asked for is nobody's any more
    assert "now unfiltered" in removed.stdout
    assert traces(wires) == before
    assert consentry(wires, "status", check=False).returncode == 3


def test_interfaces_that_are_not_there_are_said(wires: Wires, tmp_path: Path) -> None:
    done = consentry(wires, "run", "--lan", "wlan9", "--wan", "wan0", "--run-dir", f"{wires.run_dir}/gate", "--state-dir", str(tmp_path), check=False)
    assert done.returncode == 1
    assert "there is no interface 'wlan9', only" in done.stderr
    assert consentry(wires, "run", "--lan", "lan0", check=False).returncode == 2


def test_the_phones_reach_no_other_service_of_the_box(wires: Wires, tmp_path: Path) -> None:
    service = subprocess.Popen(wires.gateway_argv([sys.executable, "-m", "http.server", "-b", "::", "8000"]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: fetch(wires, "http://10.77.0.1:8000/", "http://[2001:db8:77::1]:8000/") == {True})
        where = ("--run-dir", f"{wires.run_dir}/gate", "--state-dir", str(tmp_path))
        consentry(wires, "run", "--lan", "lan0", "--wan", "wan0", *where)
        ours = ("10.77.0.1", "[2001:db8:77::1]", "203.0.113.1", "[2001:db8:113::1]")
        assert fetch(wires, *(f"http://{address}:8000/" for address in ours)) == {False}
    finally:
        service.kill()
        service.wait()
        consentry(wires, "off", "--remove", "--run-dir", f"{wires.run_dir}/gate", check=False)


def test_a_newcomer_is_asked_once_and_may_watch_first(wires: Wires, tmp_path: Path) -> None:
    """In a terminal of its own: the question, the screen, and `q`. What would be refused passes and is recorded."""
    where = ("--run-dir", f"{wires.run_dir}/gate", "--state-dir", str(tmp_path))
    upstream = [word for address in RESOLVERS for word in ("--upstream", address)]
    argv = wires.gateway_argv([sys.executable, "-m", "firewall.cli", "run", "--lan", "lan0", "--wan", "wan0", *where, *upstream])

    def start(typed: str) -> str:
        """Everything that the terminal showed until the command ended."""
        here, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        running = subprocess.Popen(argv, stdin=there, stdout=there, stderr=there, env=os.environ | {"TERM": "xterm"}, start_new_session=True)
        os.close(there)
        shown = b""
        until = time.monotonic() + 80
        asked = False
        while running.poll() is None and time.monotonic() < until:
            if select.select([here], [], [], 0.5)[0]:
                try:
                    shown += os.read(here, 65536)
                except OSError:
                    break
            if not asked and b"watch or enforce" in shown:
                asked = True
                os.write(here, typed.encode())
            if b"Live" in shown and b"History" in shown:
                os.write(here, b"q")
                time.sleep(0.2)
        assert running.wait(timeout=30) == 0
        os.close(here)
        return shown.decode(errors="replace")

    try:
        assert "Watching lets everything pass" in start("watch\n")
        assert json.loads(consentry(wires, "status", "--json").stdout)["mode"] == "watch"
        assert fetch(wires, "http://api.account.xiaomi.com/") == {True}
        rows = wait_for(lambda: consentry(wires, "history", "verdict:watch", "--json").stdout)
        assert json.loads(rows.splitlines()[0])["reason"].startswith("would be refused")
        assert "Watching lets everything pass" not in start("")  # asked once
        consentry(wires, "run", "--lan", "lan0", "--wan", "wan0", "--enforce", *where, *upstream)
        assert json.loads(consentry(wires, "status", "--json").stdout)["mode"] == "enforce"
        assert fetch(wires, "http://api.account.xiaomi.com/") == {False}
    finally:
        consentry(wires, "off", "--remove", "--run-dir", f"{wires.run_dir}/gate")
