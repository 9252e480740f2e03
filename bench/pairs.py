"""Comparing ways through the same machine: runs that take turns, told as ratios of their neighbours in time."""

from __future__ import annotations

import os
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Runs = dict[str, list[float]]


class Case(NamedTuple):
    """One way of measuring: over IPv4 or IPv6, with big packets inside the kernel or the wire's."""

    family: int  # 4 or 6
    offloads: bool

    def __str__(self) -> str:
        return f"ipv{self.family}, offloads {'on' if self.offloads else 'off'}"


class Figure(TypedDict):
    """A median, the range it is from, and what each run gave."""

    value: float
    unit: str  # "of plain NAT", "x dnsmasq", "us": what stands behind the value
    range: tuple[float, float]
    runs: Runs


def take_turns(ways: Mapping[str, Callable[[], float]], rounds: int) -> Runs:
    """A B, B A, A B, ...: whatever else the machine does falls on all of them alike."""
    runs: Runs = {way: [] for way in ways}
    for turn in range(rounds):
        for way in sorted(ways, reverse=turn % 2 == 0):
            runs[way].append(rounded(ways[way]()))
    return runs


def ratio(runs: Runs, over: str, under: str, unit: str) -> Figure:
    """`over` / `under`, round by round."""
    ratios = [rounded(a / b) for a, b in zip(runs[over], runs[under], strict=True)]
    return figure(ratios, unit, {over: runs[over], under: runs[under]})


def figure(values: Sequence[float], unit: str, runs: Runs | None = None) -> Figure:
    return Figure(
        value=rounded(statistics.median(values)), unit=unit, range=(rounded(min(values)), rounded(max(values))),
        runs=runs if runs is not None else {"": [rounded(value) for value in values]},
    )


def rounded(value: float) -> float:
    """Four digits that count."""
    return float(f"{value:.4g}")


def yardstick() -> int:
    """A hundred additions in a Python loop: so that a slow machine shows as one."""
    total = 0
    for number in range(100):
        total += number
    return total


def cpu_seconds(pid: int) -> float:
    """What all threads of a process have used, user and system, to the nanosecond (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


def load() -> float:
    """How many programs want a processor (/proc/loadavg, over a minute)."""
    return round(os.getloadavg()[0], 2)
