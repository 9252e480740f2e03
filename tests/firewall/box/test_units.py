"""What systemd and sh make of the texts. That a gate really runs with these rights: tests/lab/test_box.py, tests/guest."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from firewall.backends.linux import marks
from firewall.box import units
from firewall.spaces import Space

COMMAND = "/usr/lib/consentry/venv/bin/consentry"
CEILING = 2.0
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here that could judge its units")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    for name, text in units.units(COMMAND).items():
        (tmp_path / name).write_text(text)
    return tmp_path


@needs_systemd
@pytest.mark.parametrize("name", units.UNITS)
def test_exposure_stays_under_its_ceiling(written: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", written / name], capture_output=True, text=True, timeout=60, check=True
    ).stdout.splitlines()
    with capsys.disabled():
        print(f"\n{judged[-1]}")
    exposure = float(re.findall(r"\d+\.\d", judged[-1])[-1])
    assert exposure <= CEILING, "\n".join(line for line in judged if line.startswith("✗"))


@needs_systemd
def test_systemd_understands_every_line(written: Path) -> None:
    """Each unit in the company of the others; ExecStart is a program that is there."""
    for name in units.UNITS:
        text = (written / name).read_text().replace(COMMAND, "/bin/true").replace(f"{Path(COMMAND).parent}/python3", "/bin/true")
        (written / name).write_text(re.sub(r"^Documentation=.*\n", "", text, flags=re.MULTILINE))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(written / name for name in units.UNITS)], capture_output=True, text=True, timeout=60,
        check=False, env={"SYSTEMD_UNIT_PATH": f"{written}:/usr/lib/systemd/system", "PATH": "/usr/bin:/usr/sbin:/bin", "XDG_RUNTIME_DIR": str(written)},
    )
    ours = [line for line in done.stderr.splitlines() if "consentry" in line]
    assert ours == []


def test_the_lock_comes_before_the_network_and_everything_of_ours_after_it() -> None:
    told = units.units(COMMAND)
    assert "Before=network-pre.target" in told[units.LOCK]
    assert "DefaultDependencies=no" in told[units.LOCK]
    for name in (units.GATE, units.KEEPER):
        assert f"Requires={units.LOCK}" in told[name]
        assert re.search(rf"^After={units.LOCK} ", told[name], re.MULTILINE)
    assert "$" not in "".join(told.values())


def test_a_path_is_one_word_whatever_is_in_it() -> None:
    text = units.units('/home/anna/my "gate"/100%/consentry')[units.GATE]
    assert r'ExecStart="/home/anna/my \"gate\"/100%%/consentry" run --headless' in text
    assert "ProtectHome=read-only" in text
    assert "ProtectHome=yes" in units.units(COMMAND)[units.GATE]


def test_the_script_is_one_that_sh_understands(tmp_path: Path) -> None:
    script = tmp_path / "lock.sh"
    script.write_text(units.lock(marks.PERMIT, "consentry0", ["wlan0"]))
    subprocess.run(["sh", "-n", script], check=True, timeout=30)
    text = script.read_text()
    assert "python" not in text.lower()
    assert "closed iif consentry0 fwmark 0/0x1000000\nclosed iif wlan0\n" in text
    assert 'iifname "wlan0" drop' in text
    assert "wlan0" not in units.lock(marks.PERMIT, "consentry0")


def test_unlocking_undoes_every_rule_of_the_lock() -> None:
    rules = re.findall(r"^closed (.*)$", units.lock(marks.PERMIT, "consentry0", ["wlan0"]), re.MULTILINE)
    undone = [" ".join(words) for words in units.unlock(marks.PERMIT, "consentry0", ["wlan0"])]
    for rule in rules:
        for family in (4, 6):
            assert f"ip -{family} rule del pref 0 {rule} blackhole" in undone
    assert f"nft delete table inet {units.LOCK_TABLE}" in undone
    assert json.dumps(undone).count("rule del") == 2 * len(rules)


def test_a_script_says_what_it_closes() -> None:
    for lan, ports in (("consentry0", []), ("br-lan.7", ["wlan0", "eth1"])):
        assert units.closed(units.lock(marks.PERMIT, lan, ports)) == (lan, ports)
    assert units.closed("#!/bin/sh\n") == ("", [])


@pytest.mark.lab
def test_what_comes_by_a_port_reaches_nothing_of_the_box_s_also_while_nobody_makes_it_one() -> None:
    """As where no keeper runs, and somebody else has given the interface an address."""
    with Space() as phone, Space() as box, box.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        subprocess.run(["sh", "-ec", f"""
            ip link add eth1 type veth peer name eth0 netns /proc/{os.getpid()}/fd/{phone.fd}
            ip addr add 10.5.0.1/24 dev eth1; ip link set eth1 up"""], check=True, timeout=30)
        service.bind(("10.5.0.1", 53))
        service.settimeout(10)
        with phone.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phones:
            subprocess.run(["sh", "-ec", "ip addr add 10.5.0.2/24 dev eth0; ip link set eth0 up"], check=True, timeout=30)
            phones.sendto(b"before", ("10.5.0.1", 53))
            assert service.recv(10) == b"before"
            with box.inside():
                subprocess.run(["sh", "-c", units.lock(marks.PERMIT, "consentry0", ["eth1"])], check=True, timeout=30)
            phones.sendto(b"after", ("10.5.0.1", 53))
            service.settimeout(0.5)
            with pytest.raises(TimeoutError):
                service.recv(10)
