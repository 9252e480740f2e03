"""A box boots: the lock before the gate, the gate with no more rights than its unit has, and what a power cut leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from blows import rows
from judge import Lab, wait_for, wires_up

from firewall.backends.linux import marks
from firewall.box import units
from firewall.lab.lab import Lab as Wires

pytestmark = pytest.mark.lab

RATE = 100
START = "import sys; from firewall import start; from firewall.lab.cli import *; start.start(settings_of(Lab()), Lab().gateway_argv(sys.argv[1:]))"


@pytest.fixture(scope="module")
def wires() -> Iterator[Wires]:
    """A gateway that boots: it forwards already, as where Docker runs, and nothing of ours is there yet."""
    with wires_up() as built:
        forward(built)
        yield built


def forward(wires: Wires) -> None:
    on(wires, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")


def on(wires: Wires, *words: str, check: bool = True) -> str:
    return subprocess.run(wires.gateway_argv(words), capture_output=True, text=True, timeout=60, check=check).stdout


def lock(wires: Wires) -> None:
    on(wires, "sh", "-c", units.lock(marks.PERMIT, "lan0", ["wlan9"]))


def rights() -> list[str]:
    """What stands before a command to give it no more rights than consentry.service has."""
    unit = units.units("/usr/bin/consentry")[units.GATE]
    (names,) = re.findall(r"^CapabilityBoundingSet=(.*)$", unit, re.MULTILINE)
    kept = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in names.split())
    assert "NoNewPrivileges=yes" in unit
    assert "\nGroup=consentry\n" in unit
    return ["setpriv", "--regid=consentry", "--clear-groups", "--no-new-privs", f"--bounding-set=-all,{kept}"]


def start(wires: Wires, wrap: list[str], **more: str) -> None:
    subprocess.run([sys.executable, "-c", START, *wrap], check=True, env=os.environ | {"CONSENTRY_LAB": wires.name} | more)


def kill_everything(wires: Wires) -> None:
    """As a power cut does: nobody says good-bye."""
    gateway = Lab(wires.name).status["gateway_pid"]
    os.kill(int(Path(wires.run_dir, "supervisor.pid").read_text()), signal.SIGKILL)
    os.kill(gateway, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{gateway}").exists())


def storm(lab: Lab, seconds: float, out: Path) -> list[dict]:
    assert lab.storm(seconds, RATE, out).wait(timeout=60) == 0
    return rows(out)


def arrived(lab: Lab, tried: list[dict], *, good: bool = False) -> list[dict]:
    payloads = "\n".join(row["payload"] for row in lab.sinks())
    return [row for row in tried if row["good"] is good and row["token"] in payloads]


def test_lock_gate_death_and_lock_again(wires: Wires, tmp_path: Path) -> None:
    lab = Lab(wires.name)
    tried = storm(lab, 1.0, tmp_path / "open")
    wait_for(lambda: arrived(lab, tried))  # the control: without the lock this box is a sieve

    lock(wires)
    out = tmp_path / "storm"
    running = lab.storm(60, RATE, out)
    wait_for(lambda: out.exists() and out.read_text().count("\n") > RATE)
    start(wires, rights())
    wait_for(lambda: lab.state_is("ENFORCING"))
    enforced = json.loads(lab.consentry("status", "--json").stdout)["since"]
    wait_for(lambda: [row for row in rows(out) if row["good"] and row["ok"] and row["time"] > enforced])
    kill_everything(wires)
    dead = time.time()
    time.sleep(0.5)
    lock(wires)  # as a restart of its unit does: it changes nothing and says nothing
    on(wires, "nft", "flush", "ruleset")  # then the policy rule alone is left
    time.sleep(0.5)
    lab.calm(running)
    tried = rows(out)
    assert [row for row in tried if row["time"] < enforced - 2.1]  # there were such, behind the lock alone
    assert not arrived(lab, tried)
    good = arrived(lab, tried, good=True)
    assert not [row for row in good if row["time"] < enforced - 2.1]  # a try lasts two seconds
    assert [row for row in good if enforced < row["time"] < dead]
    assert not [row for row in good if row["time"] > dead + 0.1]


def test_after_a_power_cut_what_was_seen_and_said_is_there(wires: Wires, tmp_path: Path) -> None:
    """With systemd's socket, as a service: it is ready when it enforces, and fed because its own probe came back."""
    lab = Lab(wires.name)
    lock(wires)
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name)
        systemd.settimeout(30)
        start(wires, rights(), NOTIFY_SOCKET=name)
        told = ""
        while "READY=1" not in told:
            told = systemd.recv(4096).decode()
        assert "WATCHDOG=1" in told
        assert re.search("^STATUS=ENFORCING", told, re.MULTILINE)
    assert (lab.fetch("http://example.com/"), lab.fetch("http://api.account.xiaomi.com/")) == ({True}, {False})
    lab.consentry("phones", "group", "phone2", "guests")
    wait_for(lambda: len(lab.history("name:example.com")) and len(lab.history("verdict:refused")))
    assert json.loads(lab.consentry("status", "--json").stdout)["probe"] == ""
    assert not [row for row in lab.history("") if "127.0.0.1" in json.dumps(row)]  # the probe is nobody's flow
    before = {row["id"] for row in lab.history("")}
    wait_for(lambda: written(wires) >= before)
    kill_everything(wires)

    on(wires, "nft", "flush", "ruleset")  # and the kernel forgets, but for the lock of the next boot
    for family in ("-4", "-6"):
        on(wires, "ip", family, "rule", "del", "pref", "0", "iif", "lan0", check=False)
    for leftover in ("gateway.sock", "supervisor.pid", "settings.json", "live.json", "sysctl-before.json"):
        Path(wires.run_dir, leftover).unlink(missing_ok=True)
    lock(wires)
    start(wires, rights())
    wait_for(lambda: lab.state_is("ENFORCING"))
    assert {row["id"] for row in lab.history("")} >= before
    lab.consentry("history", "verify")
    assert [row["group"] for row in map(json.loads, lab.consentry("phones", "list", "--json").stdout.splitlines()) if row["name"] == "phone2"] == ["guests"]

    log = Path(wires.run_dir, "state", "gateway.log").read_text()
    assert "state=ENFORCING" in log
    for name in ("example.com", "xiaomi", "friendly.example"):
        assert name not in log  # whom phones spoke with is the history's

    gateway = lab.status["gateway_pid"]  # and a history that is emptied while no gate runs is missed
    os.kill(int(Path(wires.run_dir, "supervisor.pid").read_text()), signal.SIGTERM)
    wait_for(lambda: not Path(f"/proc/{gateway}").exists(), 15)
    Path(wires.run_dir, "state", "history.db").write_bytes(b"")
    start(wires, rights())
    wait_for(lambda: lab.state_is("ENFORCING"))
    said = "emptied or replaced while no gate ran"
    wait_for(lambda: said in (json.loads(lab.consentry("status", "--json").stdout)["trouble"] or ""))


def written(wires: Wires) -> set[int]:
    """What stands on the disk, whoever is alive."""
    with closing(sqlite3.connect(Path(wires.run_dir, "state", "history.db"))) as db:
        return {number for (number,) in db.execute("select id from episodes")}
