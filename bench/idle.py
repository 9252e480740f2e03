"""Promise: a gate with nothing to do costs next to nothing. Processor time and memory of both its processes."""

from __future__ import annotations

import re
import time
from pathlib import Path

from pairs import Figure, cpu_seconds, figure
from topology import gate, topology

NEEDS: dict[str, str] = {}
SETTLE = 3.0  # seconds after the start


def measure(pairs: int, seconds: int) -> dict[str, Figure]:
    shares, sizes = [], []
    with topology(offloads=True), gate() as process:
        processes = (process, parent(process))
        time.sleep(SETTLE)
        for _ in range(pairs):
            before, began = sum(map(cpu_seconds, processes)), time.monotonic()
            time.sleep(seconds)
            shares.append((sum(map(cpu_seconds, processes)) - before) * 100 / (time.monotonic() - began))
            sizes.append(sum(map(resident, processes)))
    return {"cpu": figure(shares, "% of a core"), "memory": figure(sizes, "MB resident")}


def parent(process: int) -> int:
    return _number(process, "PPid")


def resident(process: int) -> float:
    return _number(process, "VmRSS") / 1024


def _number(process: int, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+)", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])
