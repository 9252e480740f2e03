"""`make campaign`: UDP that is held is not lost. 5,000 QUIC hellos of three datagrams through masquerade, for each way.

Writes tests/campaign/hellos.json. Judged by the sinks: from one port outside, all bytes of each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from judge import lab_up
from quichellos import BEHIND, DATAGRAMS, SIZE

HERE = Path(__file__).parent
COUNT = 5_000
WHOLE = DATAGRAMS * SIZE + BEHIND * 100
ADDRESSES = {"IPv4": "198.51.100.9{}", "IPv6": "2001:db8:feed::9{}"}


def main() -> int:
    commit = subprocess.run(["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    rows = []
    for family, address in ADDRESSES.items():
        for number, how in enumerate(("three datagrams", "one piece that the kernel cuts (GSO)")):
            addr, began = address.format(number), time.monotonic()
            with lab_up() as lab:
                words = [str(HERE.parent / "helpers" / "quichellos.py"), addr, "7777", "friendly.example", str(COUNT), "20000", *["gso"][:number]]
                told = json.loads(lab.phone(sys.executable, *words, timeout=600).stdout)
                sizes = Counter(row["bytes"] for row in lab.sinks() if row["dst"] == addr)
                asked = lab.gateway("cat", "/proc/net/stat/nf_conntrack").stdout.split("\n")[1:]
            rows.append({
                "what": f"{how}, {family}", "hellos": COUNT, "echoed_whole": told["whole"], "whole_at_the_sinks": sizes[WHOLE],
                "lost": len(told["lost"]), "clashes_resolved": sum(int(line.split()[1], 16) for line in asked if line),
                "seconds": round(time.monotonic() - began), "load": round(os.getloadavg()[0], 1), "commit": commit,
            })
            print(json.dumps(rows[-1]), flush=True)
            (HERE / "hellos.json").write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if any((row["echoed_whole"], row["whole_at_the_sinks"]) != (COUNT, COUNT) for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
