"""`make bench [PROMISES...]`: measures promises and writes bench/results/TIME-COMMIT.json. About three minutes."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bulk
import connections
import decide
from topology import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Mapping

RESULTS = Path(__file__).parent / "results"
NETWORKED = {"bulk": bulk, "connections": connections}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what the project promises, beside plain NAT.")
    parser.add_argument("promises", nargs="*", metavar="PROMISE", help="bulk, connections, decide (default: all)")
    parser.add_argument("--pairs", type=int, default=3, help="paired runs of gate and plain NAT (default 3)")
    parser.add_argument("--seconds", type=int, default=3, help="length of one run (default 3)")
    asked = parser.parse_args()
    wanted = asked.promises or [*NETWORKED, "decide"]
    if unknown := set(wanted) - {*NETWORKED, "decide"}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    networked = [name for name in NETWORKED if name in wanted]
    if why := missing(networked):
        print(why, file=sys.stderr)
        return 1

    results: dict[str, Any] = {"machine": machine(), "pairs": asked.pairs, "seconds": asked.seconds}
    for name in networked:
        print(f"{name} ...", file=sys.stderr)
        try:
            results[name] = NETWORKED[name].measure(asked.pairs, asked.seconds)
        except NotReadyError as error:
            print(f"{name}: {error}; what it said stands above", file=sys.stderr)
            return 1
        show(name, results[name])
    if "decide" in wanted:
        results["decide"] = decide.measure(max(asked.pairs, 5))
        show("decide", results["decide"])
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%dT%H%M%S')}-{results['machine']['commit']}.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    print(path)
    return 0


def missing(promises: list[str]) -> str:
    """What stands in the way, with the remedy; "" if nothing."""
    if not promises:
        return ""
    if os.geteuid() != 0:
        return "network namespaces need root. Type: sudo make bench"
    needs = {"ip": "iproute2", "nft": "nftables", "sysctl": "procps"}
    for name in promises:
        needs |= NETWORKED[name].NEEDS
    packages = [package for program, package in needs.items() if not shutil.which(program)]
    return f"missing. Type: apt-get install --no-install-recommends {' '.join(packages)}" if packages else ""


def machine() -> dict[str, Any]:
    """What the figures belong to. A tree with uncommitted changes has `+` after its commit."""
    root = Path(__file__).parent.parent
    git = ["git", "-c", f"safe.directory={root}", "-C", str(root), "describe", "--always", "--exclude=*", "--dirty=+"]
    commit = subprocess.run(git, text=True, capture_output=True, check=False).stdout.strip() or "unknown"
    return {
        "commit": commit, "kernel": platform.release(), "python": platform.python_version(),
        "cpus": len(os.sched_getaffinity(0)), "at": time.time(),
    }


def show(name: str, figures: Mapping[str, Mapping[str, Any]]) -> None:
    for case, figure in figures.items():
        low, high = figure["range"]
        value = f"{figure['ratio']:.2f} of plain NAT" if "ratio" in figure else f"{figure['microseconds']:.2f} us"
        print(f"{name:12} {case:24} {value:>20}   ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    sys.exit(main())
