"""`make bench-check`: does the newest result keep every floor and ceiling? Exit status 1 and the reasons if not."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
FLOORS = Path(__file__).parent / "floors.toml"


def main() -> int:
    newest = max(RESULTS.glob("*.json"), default=None)  # names begin with the time
    if newest is None:
        print("nothing measured yet. Type: make bench", file=sys.stderr)
        return 1
    broken = broken_promises(json.loads(newest.read_text()), promises())
    for promise in broken:
        print(promise, file=sys.stderr)
    print(f"{newest.name}: {'NOT kept' if broken else 'all kept'}")
    return 1 if broken else 0


def promises() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads(FLOORS.read_text())["promise"]
    return found


def broken_promises(results: dict[str, Any], promised: list[dict[str, Any]]) -> list[str]:
    """One sentence for each that is not kept, or was not measured."""
    said = []
    for promise in promised:
        name, case = promise["name"], promise["case"]
        found = results.get(name, {}).get(case)
        if found is None:
            said.append(f"{name}, {case}: was not measured ({results.get('skipped', {}).get(name, 'not asked for')})")
        elif found["value"] < promise.get("floor", found["value"]):
            said.append(f"{name}, {case}: {found['value']:g} {found['unit']}, the floor is {promise['floor']:g}")
        elif found["value"] > promise.get("ceiling", found["value"]):
            said.append(f"{name}, {case}: {found['value']:g} {found['unit']}, the ceiling is {promise['ceiling']:g}")
    return said


if __name__ == "__main__":
    sys.exit(main())
