"""Comparing two ways through the same kernel: pairs of runs, alternating which goes first, told as ratios."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from topology import gate, plain_nat, topology

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WAYS = {"plain": plain_nat, "gate": gate}


class Case(NamedTuple):
    """One way of measuring: over IPv4 or IPv6, with big packets inside the kernel or the wire's."""

    family: int  # 4 or 6
    offloads: bool

    def __str__(self) -> str:
        return f"ipv{self.family}, offloads {'on' if self.offloads else 'off'}"


class Figures(TypedDict):
    """gate / plain NAT over all pairs, and what each single run gave."""

    ratio: float  # median
    range: tuple[float, float]
    unit: str
    gate: list[float]
    plain: list[float]


def compare(case: Case, measure: Callable[[int], float], pairs: int, unit: str) -> Figures:
    """Every run in new namespaces, so that none inherits conntrack entries or warm queues."""
    runs: dict[str, list[float]] = {way: [] for way in WAYS}
    for pair in range(pairs):
        for way in sorted(WAYS, reverse=pair % 2 == 0):
            with topology(offloads=case.offloads), WAYS[way]():
                runs[way].append(round(measure(case.family), 2))
    return summary(runs, unit)


def summary(runs: Mapping[str, list[float]], unit: str) -> Figures:
    ratios = [round(gated / plain, 3) for gated, plain in zip(runs["gate"], runs["plain"], strict=True)]
    return Figures(
        ratio=statistics.median(ratios), range=(min(ratios), max(ratios)), unit=unit,
        gate=runs["gate"], plain=runs["plain"],
    )
