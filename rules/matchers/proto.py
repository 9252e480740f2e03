"""`proto:tcp,udp,icmp,47`: what runs on top of IP; icmp means ICMPv6 as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from rules.matchers import ValueProblem, known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rules.index import Case
    from rules.verdict import Answer

WORDS = {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmp"}  # IANA protocol numbers


@dataclass(frozen=True, slots=True)
class ProtoMatcher:
    key: ClassVar[str] = "proto"
    values: tuple[str, ...]

    @classmethod
    def parse(cls, values: Sequence[str]) -> Self:
        protocols = []
        for position, value in enumerate(values):
            word = value.lower()
            if word in WORDS.values():
                protocols.append(word)
            elif word.isascii() and word.isdigit() and int(word) < 256:
                protocols.append(WORDS.get(str(int(word)), str(int(word))))
            else:
                raise ValueProblem(position, f"{value!r} is no protocol", "write tcp, udp, icmp or a number up to 255")
        return cls(tuple(protocols))

    def atom(self) -> None:
        return None

    def test(self, case: Case, bit: int, *, opening: bool) -> Answer:  # noqa: ARG002
        return known(case.seen.proto, case.seen.proto in self.values)
