"""On a machine whose files are a folder: what is written and enabled, once and again, and what a removal leaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from firewall.box import service, units
from firewall.box.service import Service, ServiceError
from firewall.spaces import Space

needs_systemd = pytest.mark.skipif(shutil.which("systemctl") is None, reason="no systemd here whose units could be enabled")
COMMAND = "/opt/consentry/.venv/bin/consentry"


def there(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir() or path.is_symlink()}


def at(root: Path) -> tuple[Service, list[str]]:
    told: list[str] = []
    return Service(told.append, root, COMMAND), told


@needs_systemd
def test_without_a_plan_only_the_lock_begins_with_the_machine(tmp_path: Path) -> None:
    one, told = at(tmp_path)
    one.install("consentry0", start=False)
    assert there(tmp_path) == {
        "etc/consentry/lock.sh", "etc/systemd/system/sysinit.target.wants/consentry-lock.service", *(f"etc/systemd/system/{name}" for name in units.UNITS),
    }
    assert (tmp_path / "etc/consentry/lock.sh").stat().st_mode & 0o777 == 0o755
    assert one.installed
    assert "systemctl enable consentry-lock.service" in told


@needs_systemd
def test_with_a_plan_everything_does_and_goes_without_a_trace(tmp_path: Path) -> None:
    one, told = at(tmp_path)
    one.install("consentry0", ["wlan0"], start=True)
    wanted = tmp_path / "etc/systemd/system/multi-user.target.wants"
    assert {link.name for link in wanted.iterdir()} == {units.GATE, units.KEEPER}
    told.clear()
    one.install("consentry0", ["wlan0"], start=True)
    assert not [line for line in told if line.startswith("writing")]  # the same once more: nothing to write
    (tmp_path / "etc/consentry/gateway.toml").write_text("# the owner's\n")
    one.remove()
    assert there(tmp_path) == {"etc/consentry/gateway.toml"}
    one.remove()  # nothing to remove is fine


@needs_systemd
def test_a_package_s_units_stay_where_the_package_put_them(tmp_path: Path) -> None:
    folder = tmp_path / service.PACKAGED
    folder.mkdir(parents=True)
    for name, text in units.units(COMMAND).items():
        (folder / name).write_text(text)
    one, _ = at(tmp_path)
    one.install("consentry0", start=False)
    assert not (tmp_path / service.ETC / units.GATE).exists()
    one.remove()
    assert {path.name for path in folder.iterdir()} == set(units.UNITS)
    assert not one.installed


def test_a_machine_without_systemd_is_said_and_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    one, _ = at(tmp_path)
    with pytest.raises(ServiceError, match="no systemd.*sudo consentry run"):
        one.install("consentry0", start=True)
    assert there(tmp_path) == set()


@pytest.fixture
def slow_systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose systemctl has no end, as where a gate is started again and again; the root of its files."""
    root, tools = tmp_path / "root", tmp_path / "tools"
    tools.mkdir()
    (tools / "systemctl").write_text(f"#!/bin/sh\n[ $2 = restart ] || exit 0\n[ ! -d {root}/var ] || echo 'the gateway died 6 times' >{root}/var/lib/consentry/locked\nexec sleep 600\n")
    (tools / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr(Service, "_booted", True)
    return root


def test_a_gate_that_dies_at_each_start_is_not_waited_for(slow_systemctl: Path) -> None:
    (slow_systemctl / "var/lib/consentry").mkdir(parents=True)  # the supervisor locks there meanwhile
    with pytest.raises(ServiceError, match="does not start: the gateway died 6 times.*journalctl -u consentry"):
        at(slow_systemctl)[0].install("consentry0", start=True)


def test_systemctl_without_an_end_is_said(slow_systemctl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PATIENCE", 0.3)
    with pytest.raises(ServiceError, match="no end within"):
        at(slow_systemctl)[0].install("consentry0", start=True)


@pytest.mark.lab
def test_another_plan_opens_the_port_of_the_one_before_and_a_removal_asks_no_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On this machine's own rules, in a network of its own: a port that stayed closed would be a dead uplink."""
    script = tmp_path / "lock.sh"
    monkeypatch.setattr(units, "SCRIPT", str(script))
    monkeypatch.setattr(service, "ETC", tmp_path / "units")
    monkeypatch.setattr(service, "PACKAGED", tmp_path / "none")
    monkeypatch.setattr(Service, "_systemctl", lambda _, *words: words[0] == "restart" and subprocess.run(["sh", script], check=True, timeout=30))
    monkeypatch.setattr(Service, "_booted", True)
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/systemctl")

    def closed() -> set[str]:
        listed = json.loads(subprocess.run(["ip", "-j", "rule"], capture_output=True, text=True, check=True, timeout=30).stdout)
        return {rule["iif"] for rule in listed if rule.get("action") == "blackhole"}

    with Space().inside():
        one = Service([].append)
        one.install("consentry0", ["eth1"], start=True)
        assert closed() == {"consentry0", "eth1"}
        one.install("consentry0", ["wlan0"], start=True)
        assert closed() == {"consentry0", "wlan0"}
        one.remove()
        assert closed() == set()
        assert subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True, timeout=30).stdout == ""
    assert there(tmp_path) == set()
