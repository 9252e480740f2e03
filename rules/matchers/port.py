"""`port:443,8000-8100`: the far end's port. Protocols without ports never match."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from rules.matchers import ValueProblem
from rules.verdict import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rules.index import Case


@dataclass(frozen=True, slots=True)
class PortMatcher:
    key: ClassVar[str] = "port"
    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, values: Sequence[str]) -> Self:
        ranges = []
        for position, value in enumerate(values):
            first, dash, last = value.partition("-")
            try:
                low, high = _number(first), _number(last if dash else first)
            except ValueError:
                low, high = 1, 0
            if low > high:
                raise ValueProblem(position, f"{value!r} is no port", "write 443 or 8000-8100, up to 65535")
            ranges.append((low, high))
        return cls(tuple(ranges))

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(str(low) if low == high else f"{low}-{high}" for low, high in self.ranges)

    def atom(self) -> None:
        return None

    def test(self, case: Case, bit: int, *, opening: bool) -> Answer:  # noqa: ARG002
        port = case.seen.port
        if port is None:
            return Answer.NOT_YET if case.seen.proto in (None, "tcp", "udp") else Answer.NO
        for low, high in self.ranges:
            if low <= port <= high:
                return Answer.YES
        return Answer.NO


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65_535):
        raise ValueError(text)
    return int(text)
