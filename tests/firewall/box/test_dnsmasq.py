from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import INLINE, PLAN

from firewall.box.dnsmasq import Lease, config, leases

GOLDEN = """\
port=0
interface=consentry0
bind-dynamic
except-interface=lo
dhcp-authoritative
dhcp-ignore-clid
dhcp-range=192.168.77.10,192.168.77.250,255.255.255.0,3600s
dhcp-option=option:router,192.168.77.1
dhcp-option=option:dns-server,192.168.77.1
enable-ra
dhcp-range=fd12:3456:789a::,ra-only,off-link,64,3600s
dhcp-option=option6:dns-server,[fd12:3456:789a::1]
dhcp-leasefile=/var/lib/consentry/leases
dhcp-lease-max=1000
no-ping
quiet-dhcp
quiet-dhcp6
quiet-ra
no-resolv
no-hosts
log-facility=-
pid-file=
user=root
"""


def test_the_whole_file() -> None:
    assert config(PLAN, "/var/lib/consentry/leases") == GOLDEN


@pytest.mark.parametrize("plan", [PLAN, INLINE], ids=["ap", "inline"])
def test_dnsmasq_itself_accepts_it(plan, tmp_path: Path) -> None:
    file = tmp_path / "dnsmasq.conf"
    file.write_text(config(plan, str(tmp_path / "leases")))
    done = subprocess.run(["dnsmasq", "--test", f"--conf-file={file}"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_leases_of_phones_only() -> None:
    text = "1700000000 02:00:00:00:01:00 192.168.77.42 Annas-Pixel 01:02:00\n0 02:00:00:00:01:01 192.168.77.43 * *\nduid 00:01\n1700000000 3 fd12::1 * 00:01:00\n1 06-02:00 10.0.0.1 x y\n"
    assert leases(text) == [
        Lease(bytes.fromhex("020000000100"), socket.inet_aton("192.168.77.42"), "Annas-Pixel", 1_700_000_000.0),
        Lease(bytes.fromhex("020000000101"), socket.inet_aton("192.168.77.43"), "", 0.0),
    ]


def test_what_a_phone_calls_itself_is_made_safe() -> None:
    (lease,) = leases(f"0 02:00:00:00:01:00 192.168.77.42 \u202e[red]{'x' * 300} *")
    assert lease.host.startswith("‹U+202E›[red]x")
    assert len(lease.host) == 64


@given(st.text())
def test_no_file_is_an_exception(text: str) -> None:
    assert isinstance(leases(text), list)
