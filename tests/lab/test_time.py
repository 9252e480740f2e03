"""Time that is told: for a lab's gateway, and for no other."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from judge import Lab, lab_up, wait_for

pytestmark = pytest.mark.lab
HOUR = 3_600
AGAIN = """
import sys
from dataclasses import replace
from pathlib import Path
from firewall import start
from firewall.settings import Settings
settings = Settings.read(Path(sys.argv[1]))
start.end(settings)
start.start(replace(settings, lab=False), ["ip", "netns", "exec", sys.argv[2]])
"""


def told(lab: Lab, *words: str) -> dict[str, float]:
    return json.loads(lab.consentry("lab", "time", *words, "--json").stdout)


def ahead_of_us(lab: Lab, name: str) -> float:
    """By how much a row of the history that is written now is later than now."""
    asked = time.time()
    lab.phone("python3", "-c", f"import socket; socket.getaddrinfo('{name}', 443)", check=False)
    return wait_for(lambda: lab.history(f"name:{name}"))[0]["last"] - asked


def test_hours_pass_in_a_moment(lab: Lab) -> None:
    lab.consentry("rules", "add", "block name:time.example")
    boot = told(lab, "reset")["boot"]  # which never goes back
    assert told(lab) == {"boot": boot, "wall": 0}
    assert abs(ahead_of_us(lab, "one.time.example")) < 60
    assert told(lab, "+2h") == {"boot": boot + 2 * HOUR, "wall": 2 * HOUR}
    assert abs(ahead_of_us(lab, "two.time.example") - 2 * HOUR) < 60
    assert told(lab, "-1h", "--wall") == {"boot": boot + 2 * HOUR, "wall": HOUR}
    assert abs(ahead_of_us(lab, "three.time.example") - HOUR) < 60
    assert told(lab, "reset") == {"boot": boot + 2 * HOUR, "wall": 0}
    assert lab.consentry("lab", "time", "soon", check=False).returncode == 2


def test_a_name_outlives_its_ttl_by_ten_minutes_and_then_nobody_asked_for_the_address(lab: Lab) -> None:
    """What phones keep longer than they may is still known by name; then it is `via:none`."""
    ask = "import socket; print(*{found[4][0] for found in socket.getaddrinfo('grace.example.org', 7777)})"
    addresses = lab.phone("python3", "-c", ask).stdout.split()
    assert {":" in addr for addr in addresses} == {True, False}

    def counts() -> dict[tuple[str, str, int], int]:
        rows = lab.history("proto:udp last:24h")
        return {(row["name"], row["via"], row["id"]): row["count"] for row in rows if row["dst"] in addresses}

    def known() -> set[tuple[str, str]]:
        """As what a datagram to each of the addresses is shown; what ended meanwhile may have begun the row it stands in."""
        before = counts()
        for addr in addresses:
            family = "AF_INET6" if ":" in addr else "AF_INET"
            lab.phone("python3", "-c", f"import socket; socket.socket(socket.{family}, socket.SOCK_DGRAM).sendto(b'x', ('{addr}', 7777))")
        now = wait_for(lambda: (now := counts()) and sum(now.values()) >= sum(before.values()) + 2 and now)
        return {key[:2] for key, count in now.items() if count > before.get(key, 0)}

    assert known() == {("grace.example.org", "dns")}
    told(lab, "+9m")
    assert known() == {("grace.example.org", "dns")}
    told(lab, "+4m")
    assert known() == {("", "none")}


def test_a_gate_that_is_no_labs_keeps_its_own_time() -> None:
    with lab_up() as lab:
        _its_own_time(lab)


def _its_own_time(lab: Lab) -> None:
    told(lab, "+2h")
    again = subprocess.run(
        [sys.executable, "-c", AGAIN, f"/run/consentry/{lab.name}/settings.json", lab.namespaces["gateway"]],
        capture_output=True, text=True, timeout=60, check=False,
    )
    assert again.returncode == 0, again.stderr
    lab.consentry("rules", "add", "block name:real.example")
    assert abs(ahead_of_us(lab, "a.real.example")) < 60
