"""`make bench-check`: does the newest result keep every floor and ceiling? Exit status 1 and the reasons if not."""

from __future__ import annotations

import json
import sys
from typing import Any

import bulk
import connections
import decide
from run import RESULTS


def main() -> int:
    newest = max(RESULTS.glob("*.json"), default=None)  # names begin with the time
    if newest is None:
        print("nothing measured yet. Type: make bench", file=sys.stderr)
        return 1
    broken = broken_promises(json.loads(newest.read_text()))
    for promise in broken:
        print(promise, file=sys.stderr)
    print(f"{newest.name}: {'NOT kept' if broken else 'all kept'}")
    return 1 if broken else 0


def broken_promises(results: dict[str, Any]) -> list[str]:
    """One sentence for each that is not kept, or was not measured."""
    said = []
    for name, floor in (("bulk", bulk.FLOOR), ("connections", connections.FLOOR)):
        said += [f"{name} was not measured"] if name not in results else [
            f"{name}, {case}: {figures['ratio']:.2f} of plain NAT, promised {floor}"
            for case, figures in results[name].items() if figures["ratio"] < floor
        ]
    costs = results.get("decide", {})
    said += [f"{name} was not measured" for name in decide.CEILINGS if name not in costs]
    said += [
        f"{name}: {costs[name]['microseconds']:.1f} us, promised {ceiling}"
        for name, ceiling in decide.CEILINGS.items() if name in costs and costs[name]["microseconds"] > ceiling
    ]
    return said


if __name__ == "__main__":
    sys.exit(main())
