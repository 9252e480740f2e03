"""A box to look at: a closed namespace with the phones' bridge and a way out, which tests spoil."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from firewall.doctor.world import World
from firewall.settings import Settings
from firewall.spaces import Space

STATUS = {
    "state": "ENFORCING", "reason": "", "since": 1.0, "lan": "lan0", "wan": "wan0", "phones": 2, "lab": False, "mode": "enforce",
    "trouble": "", "clock": True, "queue": {"waiting": 0, "lost": 0, "kind": "nft queue"}, "pid": 0,
}


def sh(script: str) -> None:
    subprocess.run(["sh", "-ec", script], check=True, capture_output=True, text=True)


@pytest.fixture
def space() -> Iterator[Space]:
    with Space() as made, made.inside():
        sh("""
ip link set lo up; ip link add lan0 type bridge; ip link set lan0 up; ip link add wan0 type veth peer name far0; ip link set wan0 up
ip addr add 192.168.77.1/24 dev lan0; ip addr add 203.0.113.1/24 dev wan0; ip addr add fd77::1/64 dev lan0 nodad
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.wan0.rp_filter=0
""")
        yield made


@pytest.fixture
def world(space: Space, tmp_path: Path) -> World:
    """With a gateway that says that all is well, whatever the tests do to the box."""
    (tmp_path / "state").mkdir()
    Settings("lan0", "wan0", run_dir=str(tmp_path), state_dir=str(tmp_path / "state")).write()
    return World(tmp_path, tmp_path / "gateway.toml", dict(STATUS))
