"""What a phone may be allowed for a while, and what `decide` has to know of it (decisions.md 4).

A consent answers `ask` and nothing else. Who gave it, for how long and whether it is over is the gateway's knowledge:
an observation carries the grants that are in force.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from rules.matchers.name import parse_pattern
from rules.networks import parse_network, show_range


class Kind(StrEnum):
    SERVICE = "service"  # the service's own asks
    NAME = "name"  # every ask, on flows to this host and everything below
    ADDR = "addr"  # every ask, on flows to this address or network

    __hash__ = str.__hash__  # Enum's own is Python code, and every observation is hashed


class Subject(NamedTuple):
    """What a consent opens. `what` is a service id, a host name, or an address or network as text."""

    kind: Kind
    what: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.what}"

    @classmethod
    def parse(cls, text: str) -> Subject:
        """`service:xiaomi-account`, `name:miui.com`, `addr:42.62.48.0/24`. Raises ValueError in words for an owner.

        Whether there is such a service is for whoever has the packs to say.
        """
        word, _, what = text.partition(":")
        if word not in set(Kind):
            raise ValueError(f"{text!r} is nothing to consent to: write service:ID, name:HOST or addr:ADDRESS")
        kind = Kind(word)
        match kind:
            case Kind.SERVICE:
                if not what.isascii() or not what.replace("-", "").isalnum():
                    raise ValueError(f"{what!r} is no service id; `consentry rules list` shows them")
            case Kind.NAME:
                if what.startswith("="):
                    raise ValueError(f"a consent for a name is for it and everything below: write {what[1:]!r}")
                what = parse_pattern(what)
            case Kind.ADDR:
                what = show_range(parse_network(what))
        return cls(kind, what)


class Grant(NamedTuple):
    """One consent of this phone that is in force."""

    id: int
    subject: Subject
