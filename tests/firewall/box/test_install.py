"""Whoever manages networks here is told to leave the phones' side alone, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from plans import ONE_ARMED, PLAN

from firewall.box import install


def test_network_manager_keeps_the_list_that_its_owner_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`nmcli` is a program that writes down what it is asked; NetworkManager 1.42 reads `=` as the end of every list before it."""
    file, asked = tmp_path / "90-consentry.conf", tmp_path / "asked"
    monkeypatch.setattr(install, "NETWORK_MANAGER", file)
    monkeypatch.setattr(install, "NETWORKD", tmp_path / "none")
    monkeypatch.setattr(install, "_RELOAD", {file: (("nmcli", "general", "reload", "conf"),)})
    (tmp_path / "nmcli").write_text(f"#!/bin/sh\necho $* >>{asked}\nexit 10\n")
    (tmp_path / "nmcli").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    install.write(install.files(PLAN, ["NetworkManager"], tmp_path / "gateway.toml"))
    lines = file.read_text().splitlines()
    names = "interface-name:consentry0;interface-name:wlan0"
    assert f"unmanaged-devices+={names}" in lines
    assert lines[-3:] == ["[device-90-consentry]", f"match-device={names}", "managed=0"]
    assert install.remove(tmp_path / "gateway.toml") == [file, tmp_path / "gateway.toml"]
    assert asked.read_text().splitlines() == 2 * ["general reload conf"]
    (only,) = [one for one in install.files(ONE_ARMED, ["NetworkManager"]) if one.path == file]
    assert "eth0" not in only.text  # the wire is the way out too
