"""A service: hosts and networks that belong together, gathered with their sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rules.index import Atom

if TYPE_CHECKING:
    from rules.networks import Range


@dataclass(frozen=True, slots=True)
class Entry:
    """One host name (a pattern, as in `name:`) or one network, and who says so."""

    pattern: str  # "" for a network
    network: Range | None
    source: str
    date: str  # of the source, ISO 8601
    why: str


@dataclass(frozen=True, slots=True)
class Service:
    """`breaks` says what stops working when it is refused."""

    id: str
    title: str
    breaks: str
    entries: tuple[Entry, ...]

    def atom(self) -> Atom:
        return Atom(
            tuple(entry.pattern for entry in self.entries if entry.pattern),
            tuple(entry.network for entry in self.entries if entry.network is not None),
        )
