"""The backend by itself, in closed namespaces: a phone, a gateway, somebody outside. A test is a body that runs on the gateway.
What a phone sends in it, it sends over IPv4 and over IPv6 (BOTH).

The body defines `async def check(backend, seen, come, sends, frame)`: what the backend delivered, waiting for more of a
kind, a datagram of the phone's, a frame that the phone makes by hand.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from judge import TooLate

GATEWAY = """
import asyncio, os, re, socket, subprocess, sys, tempfile, time
from firewall.backends.linux.backend import LinuxBackend
from firewall.backends.linux.nfnl import generation
from firewall.commands import AdmitPair, Exempt, ExpelPair, ForgetFlows, GiveVerdict, KernelState, MarkFlow, OpenWay, Reconcile, RefuseAddress, Watch
from firewall.inputs import Applied, CommandFailed, FlowKey, PacketSeen, PairsFound, RefusedSeen, RoutersTold, SpoofSeen, Tampered
from firewall.settings import Settings
from pathlib import Path
from rules.verdict import Verdict

PHONE = ["ip", "netns", "exec", sys.argv[1], sys.executable, "-c"]
MAC, LEARNT, LEARNT6 = bytes.fromhex("020000000002"), socket.inet_aton("198.51.100.200"), socket.inet_pton(10, "2001:db8:7::200")
NETWORK = ((socket.inet_aton("42.62.48.0"), socket.inet_aton("42.62.48.255")),)
NETWORK6 = ((socket.inet_pton(10, "2001:dc7::"), socket.inet_pton(10, "2001:dc7::ff")),)
BOTH = (("AF_INET", "198.51.100.7"), ("AF_INET6", "2001:db8:7::7"))   # somebody whom nobody refuses
SEND = "import socket; socket.socket(socket.{}, socket.SOCK_DGRAM).sendto(b'x', ('{}', 9999))"

A4, A6 = socket.inet_aton("10.77.0.10"), socket.inet_pton(10, "fd77::10")
STRANGER = bytes.fromhex("020000000099")
LAN = bytes.fromhex(Path("/sys/class/net/lan0/address").read_text().strip().replace(":", ""))
FRAME = "import socket; s = socket.socket(17, 3); s.bind(('eth0', 0)); s.send(bytes.fromhex('{}'))"

def udp(mac, src, dst, sport=5353, data=b"forged"):
    # a frame from the phones' side to the gateway, made by hand
    import struct
    from firewall.backends.linux.reset import checksum
    body = struct.pack("!HHHH", sport, 9999, 8 + len(data), 0) + data
    if len(src) == 16:
        pseudo = src + dst + struct.pack("!IxxxB", len(body), 17) + body
        body = body[:6] + struct.pack("!H", checksum(pseudo + bytes(len(pseudo) % 2))) + data
        packet = struct.pack("!IHBB", 6 << 28, len(body), 17, 64) + src + dst + body
    else:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, 17, 0) + src + dst
        packet = head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body
    return LAN + mac + (b"\\x86\\xdd" if len(src) == 16 else b"\\x08\\x00") + packet

def answer(packet):
    at = 40 if packet[0] >> 4 == 6 else 20
    return ANSWER.get(int.from_bytes(packet[at + 2 : at + 4]), (Verdict.ALLOW,))

def shown(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout

def nft(*words, given=None):
    done = subprocess.run(["nft", *words], input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout

class TooLate(AssertionError):
    pass  # the parent makes judge.TooLate of it

async def wait_for(what, told=lambda: ""):
    until = time.monotonic() + 30
    while not (value := what()):
        if time.monotonic() > until:
            raise TooLate(told())
        await asyncio.sleep(0.02)
    return value

async def stands_still(count):   # once no more has come for a while
    before = -1
    while before != (before := count()):
        await asyncio.sleep(0.5)
    return before

FIRST = []   # commands of the same turn, before its verdicts
ANSWER = {}   # port -> (verdict, watch); everything else is allowed

async def main():
    with tempfile.TemporaryDirectory() as run:
        backend = LinuxBackend(Settings("lan0", "wan0", run_dir=run))
        seen = []
        def deliver(batch):
            seen.extend(batch)
            backend.carry_out([*FIRST, *(GiveVerdict(p.id, *answer(p.packet)) for p in batch if isinstance(p, PacketSeen))])
        async def come(kind, after=0):
            await wait_for(lambda: any(isinstance(i, kind) for i in seen[after:]), lambda: (kind, seen[after:]))
        async def frame(data):
            await asyncio.to_thread(subprocess.run, PHONE + [FRAME.format(data.hex())], check=True)
        async def sends(family, to):
            await asyncio.to_thread(subprocess.run, PHONE + [SEND.format(family, to)], check=True)
        await asyncio.to_thread(backend.lock)
        backend.start(deliver)
        try:
            await check(backend, seen, come, sends, frame)
        finally:
            backend.close()
            await asyncio.to_thread(backend.remove)
    print("kept")

{body}

asyncio.run(main())
"""


@contextmanager
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


@contextmanager
def outside() -> Iterator[tuple[str, str, str]]:
    """As `namespaces`, with somebody behind the gateway: 198.51.100.7 and 2001:db8:7::7."""
    with namespaces() as (gateway, phone):
        far = gateway.replace("gateway", "far")
        script = f"""
set -e
ip netns add {far}; ip -n {phone} link set out0 netns {far}; ip -n {far} link set lo up; ip -n {far} link set out0 up
ip -n {far} addr add 203.0.113.2/24 dev out0; ip -n {far} addr add 198.51.100.7/32 dev out0
ip -n {far} addr add 2001:db8:1::2/64 dev out0 nodad; ip -n {far} addr add 2001:db8:7::7/128 dev out0 nodad
"""
        try:
            subprocess.run(["sh", "-c", script], check=True)
            yield gateway, phone, far
        finally:
            subprocess.run(["ip", "netns", "del", far], check=False)


def run_on_gateway(box: tuple[str, str], body: str) -> None:
    gateway, phone = box
    done = subprocess.run(
        ["ip", "netns", "exec", gateway, sys.executable, "-c", GATEWAY.replace("{body}", body), phone],
        capture_output=True, text=True, timeout=100, check=False,
    )
    if not done.stdout.endswith("kept\n"):
        raise (TooLate if re.search(r"^(\w+\.)?TooLate\b", done.stderr, re.MULTILINE) else AssertionError)(done.stderr[-3000:])
