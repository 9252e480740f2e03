"""`make bench`: measures promises beside their peers and writes bench/results/TIME-COMMIT.json. A quarter of an hour.

A promise that cannot be measured here (a peer is missing, a part does not exist yet) is skipped, with the reason in the
result; `make bench-check` then says so.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from check import RESULTS
from pairs import load
from topology import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Mapping

PROMISES = ("bulk", "connections", "flow", "delay", "dns", "decide", "replay", "history", "screen", "idle")
NETWORKED = frozenset(("bulk", "connections", "flow", "delay", "dns", "idle"))
LOAD_SECONDS = 5.0
TOOLS = {"ip": "iproute2", "nft": "nftables", "sysctl": "procps", "ss": "iproute2"}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what the project promises, beside its peers.")
    parser.add_argument("promises", nargs="*", metavar="PROMISE", help=f"{', '.join(PROMISES)} (default: all)")
    parser.add_argument("--pairs", type=int, default=5, help="rounds in which the ways take turns (default 5)")
    parser.add_argument("--seconds", type=int, default=3, help="length of one run (default 3)")
    asked = parser.parse_args()
    sys.path.append(str(Path(__file__).parent.parent / "tests" / "helpers"))  # writers of packets
    wanted = [name for name in PROMISES if name in (asked.promises or PROMISES)]
    if unknown := set(asked.promises) - set(PROMISES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if os.geteuid() != 0 and NETWORKED.intersection(wanted):
        print("network namespaces need root. Type: sudo make bench", file=sys.stderr)
        return 1

    results: dict[str, Any] = {"machine": machine(), "pairs": asked.pairs, "seconds": asked.seconds, "skipped": {}}
    loads = Loads()
    for name in wanted:
        print(f"{name} ...", file=sys.stderr)
        try:
            results[name] = measure(name, asked.pairs, asked.seconds)
        except NotReadyError as error:
            results["skipped"][name] = str(error)
            print(f"{name}: SKIPPED: {error}", file=sys.stderr)
        else:
            show(name, results[name])
    results["machine"]["load"] = loads.end()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%dT%H%M%S')}-{results['machine']['commit']}.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    print(path)
    return 1 if results["skipped"] else 0


def measure(name: str, pairs: int, seconds: int) -> dict[str, Any]:
    """Raises NotReadyError with the remedy if it cannot be."""
    try:
        bench = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise NotReadyError(f"there is no bench/{name}.py yet") from None
    needs = (TOOLS if name in NETWORKED else {}) | bench.NEEDS
    if packages := sorted({package for program, package in needs.items() if not shutil.which(program)}):
        raise NotReadyError(f"missing. Type: apt-get install --no-install-recommends {' '.join(packages)}")
    found: dict[str, Any] = bench.measure(pairs, seconds)
    return found


class Loads:
    """How many programs wanted a processor while we measured, ours among them."""

    def __init__(self) -> None:
        self._seen = [load()]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> dict[str, float]:
        self._over.set()
        self._thread.join()
        return {"before": self._seen[0], "median": sorted(self._seen)[len(self._seen) // 2], "most": max(self._seen)}

    def _watch(self) -> None:
        while not self._over.wait(LOAD_SECONDS):
            self._seen.append(load())


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
        print(f"{name:12} {case:22} {figure['value']:>9.4g} {figure['unit']}   ({low:.4g} to {high:.4g})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
