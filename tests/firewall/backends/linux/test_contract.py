"""What the backend promises about the kernel, in closed namespaces: a phone, a gateway, somebody outside."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytestmark = pytest.mark.lab

GATEWAY = """
import asyncio, os, socket, subprocess, sys, tempfile, time
from firewall.backends.linux.backend import LinuxBackend
from firewall.commands import GiveVerdict, KernelState, Reconcile, RefuseAddress
from firewall.inputs import Applied, CommandFailed, PacketSeen, Tampered
from firewall.settings import Settings
from pathlib import Path
from rules.verdict import Verdict

PHONE = ["ip", "netns", "exec", sys.argv[1], sys.executable, "-c"]
MAC, LEARNT = bytes.fromhex("020000000002"), socket.inet_aton("198.51.100.200")
NETWORK = ((socket.inet_aton("42.62.48.0"), socket.inet_aton("42.62.48.255")),)
SEND = "import socket; socket.socket(socket.{}, socket.SOCK_DGRAM).sendto(b'x', ('{}', 9999))"

def nft(*words, given=None):
    done = subprocess.run(["nft", *words], input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout

async def main():
    with tempfile.TemporaryDirectory() as run:
        backend = LinuxBackend(Settings("lan0", "wan0", run_dir=run))
        seen = []
        def deliver(batch):
            seen.extend(batch)
            backend.carry_out([GiveVerdict(p.id, Verdict.ALLOW) for p in batch if isinstance(p, PacketSeen)])
        async def come(kind, after=0):
            until = time.monotonic() + 5
            while not any(isinstance(i, kind) for i in seen[after:]):
                assert time.monotonic() < until, (kind, seen[after:])
                await asyncio.sleep(0.005)
        async def sends(family, to):
            await asyncio.to_thread(subprocess.run, PHONE + [SEND.format(family, to)], check=True)
        await asyncio.to_thread(backend.lock)
        backend.start(deliver)
        try:
            await check(backend, seen, come, sends)
        finally:
            backend.close()
            await asyncio.to_thread(backend.remove)
    print("kept")

{body}

asyncio.run(main())
"""

LEARNT_IN_THE_SAME_TURN = """
async def check(backend, seen, come, sends):
    backend.carry_out([Reconcile(KernelState(1, False, NETWORK, (), False)), RefuseAddress(MAC, LEARNT, 600)])
    await come(Applied)
    assert "198.51.100.200" in nft("list", "set", "inet", "consentry", "learned4")
"""

ELEMENTS_TAKEN_OUT = """
async def check(backend, seen, come, sends):
    backend.carry_out([Reconcile(KernelState(1, False, NETWORK, (), True))])
    await come(Applied)
    nft("flush", "set", "inet", "consentry", "refused4")
    await come(Tampered)
    assert "42.62.48" in nft("list", "set", "inet", "consentry", "refused4")
"""

OTHER_BASE_CHAIN = """
async def check(backend, seen, come, sends):
    backend.carry_out([Reconcile(KernelState(1, False, NETWORK, (), True))])
    await come(Applied)
    nft("-f", "-", given="delete table inet consentry\\ntable inet consentry { chain seal { type filter hook forward priority 5; }; }")
    await come(Tampered)
    assert not any(isinstance(i, CommandFailed) for i in seen)
    assert "unanswered" in nft("list", "chain", "inet", "consentry", "seal")
"""

OTHERS_MARKS = """
async def check(backend, seen, come, sends):
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True))])
    await come(Applied)
    nft("-f", "-", given='''table inet other {
        counter kept { }
        chain early { type filter hook prerouting priority -300; iifname "lan0" meta mark set meta mark | 0x2a; }
        chain late { type filter hook postrouting priority 300; udp dport 9999 meta mark & 0x3fff == 0x2a counter name kept; }
    }''')
    for family, to in (("AF_INET", "198.51.100.7"), ("AF_INET6", "2001:db8:7::7")):
        before = len(seen)
        await sends(family, to)
        await come(PacketSeen, before)
        await asyncio.sleep(0)  # the verdict has been given in the turn that brought the packet
    assert "packets 2 " in nft("list", "counter", "inet", "other", "kept")
"""

OTHERS_RESTORE_MARKS = """
async def check(backend, seen, come, sends):
    nft("-f", "-", given='''table inet other {
        chain premangle { type filter hook prerouting priority -150; meta l4proto udp meta mark set ct mark; }
    }''')
    nft("delete", "table", "inet", "consentry")  # so that ours is the younger one
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True))])
    await come(Applied)
    for family, to in (("AF_INET", "198.51.100.7"), ("AF_INET6", "2001:db8:7::7")):
        before = len(seen)
        await sends(family, to)
        await come(PacketSeen, before)
"""

NO_ADVERTISEMENTS = """
async def check(backend, seen, come, sends):
    assert Path("/proc/sys/net/ipv6/conf/wan0/accept_ra").read_text() == "0\\n"
"""


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str]]:
    gateway, phone = (f"ckb-{os.getpid()}-{role}" for role in ("gateway", "phone"))
    script = f"""
set -e
ip netns add {gateway}; ip netns add {phone}
ip -n {gateway} link set lo up
ip link add eth0 netns {phone} address 02:00:00:00:00:02 type veth peer name lan0 netns {gateway}
ip link add out0 netns {phone} type veth peer name wan0 netns {gateway}; ip -n {phone} link set out0 up
ip netns exec {gateway} sysctl -qw net.ipv6.conf.wan0.accept_ra=0
for i in lan0 wan0; do ip -n {gateway} link set $i up; done
ip -n {phone} link set eth0 up
ip -n {gateway} addr add 10.77.0.1/24 dev lan0; ip -n {gateway} addr add fd77::1/64 dev lan0 nodad
ip -n {phone} addr add 10.77.0.10/24 dev eth0; ip -n {phone} addr add fd77::10/64 dev eth0 nodad
ip -n {gateway} addr add 203.0.113.1/24 dev wan0; ip -n {gateway} addr add 2001:db8:1::1/64 dev wan0 nodad
ip -n {gateway} route add default dev wan0; ip -n {gateway} -6 route add default dev wan0
ip -n {phone} route add default via 10.77.0.1; ip -n {phone} -6 route add default via fd77::1
"""
    try:
        subprocess.run(["sh", "-c", script], check=True)
        yield gateway, phone
    finally:
        for name in (gateway, phone):
            subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(LEARNT_IN_THE_SAME_TURN, id="what a turn teaches after an edit outlives the load of that edit"),
        pytest.param(ELEMENTS_TAKEN_OUT, id="elements that somebody takes out come back"),
        pytest.param(OTHER_BASE_CHAIN, id="a table with other base chains is replaced"),
        pytest.param(OTHERS_MARKS, id="a packet that was asked about keeps other programs' bits"),
        pytest.param(OTHERS_RESTORE_MARKS, id="a program that restores whole marks does not shut the phones out"),
        pytest.param(NO_ADVERTISEMENTS, id="who wants no router advertisements gets none"),
    ],
)
def test_the_backend(namespaces: tuple[str, str], body: str) -> None:
    gateway, phone = namespaces
    code = GATEWAY.replace("{body}", body)
    done = subprocess.run(
        ["ip", "netns", "exec", gateway, sys.executable, "-c", code, phone],
        capture_output=True, text=True, timeout=60, check=False,
    )
    assert done.stdout == "kept\n", done.stderr[-2000:]
