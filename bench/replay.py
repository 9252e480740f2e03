"""Promise: a recording is told faster than by tshark. Processor time for one capture, start-up taken off.

The capture is made here: 4,000 flows of phones (TLS in two segments as post-quantum hellos are, HTTP, QUIC, DNS) in
mixed order, with downloads and acknowledgements, some 200,000 packets. Every program writes down the names.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/helpers"))
import captures
import quicwriter
from pairs import Figure, figure, ratio, take_turns

if TYPE_CHECKING:
    from collections.abc import Sequence

FLOWS = 4_000
NAMES = 600
NEEDS = {"tshark": "tshark", "ndpiReader": "libndpi-bin"}
ROOT = Path(__file__).parents[1]
FIELDS = (
    "frame.time_epoch", "ip.src", "ipv6.src", "tcp.srcport", "udp.srcport",
    "ip.dst", "ipv6.dst", "tcp.dstport", "udp.dstport",
    "tls.handshake.extensions_server_name", "http.host", "dns.qry.name",
)
PROGRAMS: dict[str, tuple[str, ...]] = {
    "consentry": (sys.executable, "-P", "-m", "firewall.cli", "replay", "{file}", "--json"),
    "tshark": ("tshark", "-n", "-r", "{file}", "-T", "fields", *(word for field in FIELDS for word in ("-e", field))),
    "ndpiReader": ("ndpiReader", "-i", "{file}", "-v", "2"),
}


def measure(pairs: int, _: int) -> dict[str, Figure]:
    with tempfile.TemporaryDirectory() as folder:
        whole, one = Path(folder, "whole.pcap"), Path(folder, "one.pcap")
        packets = capture(FLOWS)
        whole.write_bytes(captures.pcap(packets))
        one.write_bytes(captures.pcap(packets[:1]))
        size = sum(len(frame) for _, frame in packets)

        def seconds(program: str) -> float:
            return cost(PROGRAMS[program], whole) - cost(PROGRAMS[program], one)

        runs = take_turns({program: lambda program=program: seconds(program) for program in PROGRAMS}, pairs)
    figures = {
        "packets": figure([len(packets) / took for took in runs["consentry"]], "packets a second"),
        "megabytes": figure([size / 1e6 / took for took in runs["consentry"]], "MB a second"),
    }
    for peer in ("tshark", "ndpiReader"):  # the other way round: speed, not time
        figures[peer] = ratio(runs, peer, "consentry", f"x {peer}'s speed")
    return figures


def cost(program: Sequence[str], file: Path) -> float:
    """Seconds of processor time. Raises CalledProcessError if it fails."""
    command = [word.format(file=file) for word in program]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return used.ru_utime + used.ru_stime


def capture(flows: int) -> list[tuple[float, bytes]]:
    """Frames, in the order of their time."""
    chance = random.Random(2014)
    packets: captures.Packets = []
    for n in range(flows):
        at = captures.START + n * 0.02
        six = n % 3 == 0
        host = chance.randrange(NAMES)
        name = f"www{host}.site{host % 90}.example"
        dst = f"2001:db8:51::{host + 1:x}" if six else f"198.51.{host >> 8}.{host & 255}"
        sport = 20_000 + n
        packets += captures.asked(name, dst, at=at - 0.01, sport=sport)
        if n % 4 == 3:
            packets += quic(dst, sport, name, at, chance)
            continue
        dport = 80 if n % 4 == 2 else 443
        talk = captures.Talk(dst=dst, dport=dport, sport=sport, isn=chance.getrandbits(32), at=at).shake()
        talk.say(captures.get(name) if talk.dport == 80 else captures.records(captures.hello(name, pad=1_400)))
        for part in range(chance.randrange(10, 80)):
            talk.answer(bytes(chance.choice((80, 700, 1_400, 1_400))))
            if part % 2:
                talk.up(captures.ACK)
        packets += talk.close().packets
    return captures.on("ethernet", sorted(packets, key=lambda packet: packet[0]))


def quic(dst: str, sport: int, name: str, at: float, chance: random.Random) -> captures.Packets:
    src = captures.PHONE6 if ":" in dst else captures.PHONE
    first = quicwriter.initial(quicwriter.crypto(0, captures.hello(name)), dcid=chance.randbytes(8))
    packets = [(at, captures.udp(src, sport, dst, 443, first))]
    for part in range(chance.randrange(10, 80)):
        down = chance.random() < 0.7
        ends = (dst, 443, src, sport) if down else (src, sport, dst, 443)
        data = b"\x40" + chance.randbytes(1_200 if down else 40)
        packets.append((at + 0.01 + part / 1_000, captures.udp(*ends, data)))
    return packets
