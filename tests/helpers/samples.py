"""A row of the history."""

from __future__ import annotations

import time

from firewall.episode import Episode
from rules.observation import Name, Source

NOW = time.time()


def row(number: int, **more) -> Episode:
    values = {
        "id": number, "phone": "phone1", "src": "10.77.0.10", "dst": "42.62.48.9", "dport": 80, "proto": "tcp", "name": "a.example",
        "names": (Name("a.example", Source.HTTP),), "answered": (("a.example",),), "via": "http", "service": "", "verdict": "ask", "rule": "xiaomi/1",
        "reason": "because", "revision": 3, "count": 1, "first": NOW - 1, "last": NOW, "tries": {0: 1},
    }
    return Episode(**(values | more))
