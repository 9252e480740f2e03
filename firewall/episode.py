"""One row of the live view and of the history: many tries of one phone at one place with one verdict, told as one.

Its JSON form is an interface (docs/cli.md): history, the control socket and the TUI all speak it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from operator import attrgetter
from typing import Any

from rules.observation import NOWHERE, Name, Observation, Place, Sign, Source


@dataclass(slots=True)
class Episode:
    """Times are epoch seconds; bytes are what conntrack counted, with headers (0 for a flow refused at its start)."""

    id: int
    phone: str
    src: str  # the phone's address in the representative try
    dst: str  # "" for a DNS question
    dport: int  # 0 where there is none
    proto: str  # "tcp", "udp", "icmp", a protocol number, or "dns" for a question that was refused
    name: str  # the best name known, "" if none
    names: tuple[Name, ...]  # all, with their sources
    answered: tuple[tuple[str, ...], ...]  # as in Observation, so that a rule can be tried on the past
    via: str  # a word of `via:`: how that name was learnt, or why there is none
    service: str  # id of the service, "" if none
    verdict: str  # a word of rules.verdict.Verdict
    rule: str
    reason: str
    revision: int  # of the policy that judged
    count: int  # tries
    first: float
    last: float
    bytes_up: int = 0
    bytes_down: int = 0
    tries: dict[int, int] = field(default_factory=dict)  # second since `first` -> tries, for a sparkline; at most 60
    group: str = ""  # the phone's at that time
    place: Place = NOWHERE  # of `dst`
    operator: str = ""  # id of the operator that runs `dst`, as `operator:` has it; in JSON it stands in `place`
    consent: int = 0  # id of the consent that lets it pass
    signs: tuple[Sign, ...] = ()  # what its bytes show beside names: a tunnel, say

    @property
    def seen(self) -> Observation:
        """The representative try, as the rules saw it."""
        return Observation(
            phone=self.phone,
            proto=None if self.proto == "dns" else self.proto,
            addr=ip_address(self.dst).packed if self.dst else None,
            port=self.dport or None,
            answered=self.answered,
            said=tuple(name for name in self.names if name.source is not Source.DNS),
            unfinished=self.via == "unfinished",
            group=self.group,
            place=self.place,
            signs=self.signs,
        )

    @property
    def to(self) -> str:
        """Its best name, or its address where none is known."""
        return self.name or self.dst

    @property
    def way(self) -> str:
        """`via` in one word, for people: a tunnel is one, whatever name it has."""
        return str(Sign.TUNNEL) if Sign.TUNNEL in self.signs else self.via

    @property
    def run_by(self) -> str:
        """Who runs the far end: our word for it, else what the database calls the network; "" if unknown."""
        return self.operator or self.place.organisation

    @property
    def shown(self) -> str:
        """What bare words are looked for in. Nothing by which rows of one subject differ (firewall.history.search)."""
        where = (self.place.country, self.operator, self.place.organisation)
        names = (name.name for name in self.names)
        texts = (self.phone, self.group, self.verdict, self.name, *names, self.dst, self.service, self.rule, *where)
        return "\n".join(filter(None, texts))

    def copy(self) -> Episode:
        """As it is now: an open row may still grow."""
        then = Episode(*_values(self))
        then.tries = dict(self.tries)
        return then

    def to_json(self) -> dict[str, Any]:
        told = dict(zip(FIELDS, _values(self), strict=True))
        told["names"] = [{"name": name.name, "source": str(name.source)} for name in self.names]
        told["tries"] = dict(self.tries)
        told["signs"] = [str(sign) for sign in self.signs]
        told["place"] = {**self.place._asdict(), "operator": told.pop("operator")}
        return told

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Episode:
        values = dict(row)
        values["names"] = tuple(Name(n["name"], Source(n["source"])) for n in row["names"])
        values["answered"] = tuple(tuple(chain) for chain in row["answered"])
        values["signs"] = tuple(map(Sign, row.get("signs", ())))
        values["tries"] = {int(second): n for second, n in row["tries"].items()}
        place = dict(row.get("place", {}))
        values["operator"] = place.pop("operator", "")
        values["place"] = Place(**place)
        return cls(**values)


FIELDS = tuple(one.name for one in fields(Episode))
_values = attrgetter(*FIELDS)
