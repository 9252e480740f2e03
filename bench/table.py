"""`make bench-readme`: the newest result becomes bench/results.json, and the table in README.md is made from that."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from check import RESULTS, promises

KEPT = Path(__file__).parent / "results.json"
README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- bench -->", "<!-- /bench -->"


def main() -> int:
    newest = max(RESULTS.glob("*.json"), default=None)
    if newest is not None:
        KEPT.write_text(json.dumps(summary(json.loads(newest.read_text())), indent=1) + "\n")
    if not KEPT.exists():
        print("nothing measured yet. Type: make bench", file=sys.stderr)
        return 1
    README.write_text(replaced(README.read_text(), table(json.loads(KEPT.read_text()))))
    return 0


def summary(results: dict[str, Any]) -> dict[str, Any]:
    """Without what each single run gave."""
    return {
        name: {case: {key: figure[key] for key in ("value", "unit", "range")} for case, figure in part.items()}
        if isinstance(part, dict) and name not in ("machine", "skipped") else part
        for name, part in results.items()
    }


def table(results: dict[str, Any]) -> str:
    lines = ["| | goal | measured (from, to) |", "|---|---|---|"]
    for promise in promises():
        found = results.get(promise["name"], {}).get(promise["case"])
        measured = "not measured"
        if found is not None:
            low, high = found["range"]
            measured = f"**{found['value']:.3g}** {found['unit']} ({low:.3g}, {high:.3g})"
        lines.append(f"| {promise['says']} | {promise['goal']} | {measured} |")
    machine = results["machine"]
    when = time.strftime("%Y-%m-%d", time.gmtime(machine["at"]))
    lines += ["", (
        f"Made by `make bench` on {when} from {machine['commit']}: {machine['cpus']} virtual cores for phone, gateway "
        f"and server together, Linux {machine['kernel'].split('-')[0]}, Python {machine['python']}, medians of "
        f"{results['pairs']} rounds; load {machine['load']['median']:g}, at most {machine['load']['most']:g}."
    )]
    return "\n".join(lines)


def replaced(readme: str, new: str) -> str:
    """The text with `new` between the two marks. Raises ValueError if they are not there."""
    before, mark, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"README.md has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{new}\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
