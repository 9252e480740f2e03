"""Promise: a decided upload runs as fast as through plain NAT. iperf3, one TCP stream, phone to internet."""

from __future__ import annotations

import json
import subprocess

from pairs import Case, Figures, compare
from topology import PHONE, inside, serving

NEEDS = {"iperf3": "iperf3", "ethtool": "ethtool"}  # program: Debian package
CASES = (Case(4, offloads=True), Case(4, offloads=False), Case(6, offloads=True), Case(6, offloads=False))
FLOOR = 0.9
PORT = 5201


def measure(pairs: int, seconds: int) -> dict[str, Figures]:
    return {str(case): compare(case, lambda family: gigabits(family, seconds), pairs, "Gbit/s") for case in CASES}


def gigabits(family: int, seconds: int) -> float:
    """What arrived per second, without the first second."""
    with serving(family, PORT, "iperf3", "--server", "--port", str(PORT)) as server:
        iperf3 = ("iperf3", "--client", server, "--port", str(PORT), "--time", str(seconds), "--omit", "1", "--json")
        done = subprocess.run(inside(PHONE, *iperf3), text=True, capture_output=True, check=True, timeout=seconds + 30)
    return float(json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]) / 1e9
