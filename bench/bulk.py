"""Promise: a decided upload runs as fast as through plain NAT. iperf3, one stream, phone to internet.

Over UDP as QUIC would: datagrams of 1,200 bytes of a flow that stays watched, as fast as the phone can send.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from pairs import Case, Figure, ratio, take_turns
from topology import PHONE, gate, inside, plain_nat, serving, topology

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

NEEDS = {"iperf3": "iperf3", "ethtool": "ethtool"}  # program: Debian package
CASES = (Case(4, offloads=True), Case(4, offloads=False), Case(6, offloads=True), Case(6, offloads=False))
DATAGRAMS = ("--udp", "--length", "1200", "--bitrate", "0")
PORT = 5201


def measure(pairs: int, seconds: int) -> dict[str, Figure]:
    return {
        **{str(case): compared(case, pairs, seconds) for case in CASES},
        **{f"udp, {case}": compared(case, pairs, seconds, *DATAGRAMS) for case in CASES if not case.offloads},
    }


def compared(case: Case, pairs: int, seconds: int, *how: str) -> Figure:
    """Every run in new namespaces, so that none inherits conntrack entries or warm queues."""

    def through(way: Callable[[], AbstractContextManager[int]]) -> float:
        with topology(offloads=case.offloads), way():
            return gigabits(case.family, seconds, *how)

    runs = take_turns({"gate": lambda: through(gate), "plain NAT": lambda: through(plain_nat)}, pairs)
    return ratio(runs, "gate", "plain NAT", "of plain NAT")


def gigabits(family: int, seconds: int, *how: str) -> float:
    """What arrived per second, without the first second."""
    with serving(family, PORT, "iperf3", "--server", "--port", str(PORT)) as server:
        iperf3 = ("iperf3", "--client", server, "--port", str(PORT), "--time", str(seconds), "--omit", "1", "--json")
        client = inside(PHONE, *iperf3, *how)
        done = subprocess.run(client, text=True, capture_output=True, check=True, timeout=seconds + 30)
    return float(json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]) / 1e9
