"""`via:dns,sni,quic,none,hidden,tunnel`: how the name was learnt, or why there is none, or that it may be another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from rules.index import Atom
from rules.matchers import ValueProblem, by_fact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rules.index import Case
    from rules.verdict import Answer

WORDS = (
    "dns",  # our DNS answered the phone with this address
    "sni",  # TLS
    "quic",
    "http",  # HTTP/2 too
    "xiaomi",  # its push channel
    "httpdns",  # asked for over HTTP, past our DNS
    "ambiguous",  # several questions had this answer, and the flow did not say which it means
    "none",  # no name at all: a bare address
    "unfinished",  # a hello or request was begun and never finished
    "hidden",  # the true name may be encrypted (ECH)
    "tunnel",  # what goes inside cannot be seen
    "quic-unknown",  # a version of QUIC that nobody can read
    "dot",  # DNS over TLS
    "doq",  # DNS over QUIC
    "dns-elsewhere",  # plain DNS past ours, on another port
    "neighbour",  # from phone to phone: no name that is said there counts
)


@dataclass(frozen=True, slots=True)
class ViaMatcher:
    key: ClassVar[str] = "via"
    values: tuple[str, ...]

    @classmethod
    def parse(cls, values: Sequence[str]) -> Self:
        for position, value in enumerate(values):
            if value not in WORDS:
                raise ValueProblem(position, f"{value!r} is no way to learn a name", f"one of {', '.join(WORDS)}")
        return cls(tuple(values))

    def atom(self) -> Atom:
        return Atom(facts=tuple(("via", value) for value in self.values))

    def test(self, case: Case, bit: int, *, opening: bool) -> Answer:  # noqa: ARG002
        return by_fact(case, bit)
