"""`addr:42.62.48.0/24,2001:db8::1`: networks and addresses, also where IPv4 is embedded in IPv6."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from rules.index import Atom, Case
from rules.matchers import ValueProblem, known
from rules.networks import Range, parse_network, show_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rules.verdict import Answer


@dataclass(frozen=True, slots=True)
class AddrMatcher:
    key: ClassVar[str] = "addr"
    networks: tuple[Range, ...]

    @classmethod
    def parse(cls, values: Sequence[str]) -> Self:
        networks = []
        for position, value in enumerate(values):
            try:
                networks.append(parse_network(value))
            except ValueError as error:
                raise ValueProblem(position, str(error), "write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32") from None
        return cls(tuple(networks))

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(map(show_range, self.networks))

    def atom(self) -> Atom:
        return Atom(networks=self.networks)

    def test(self, case: Case, bit: int, *, opening: bool) -> Answer:
        return known(case.seen.addr, case.lies(bit, opening=opening))
