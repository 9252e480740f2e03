"""What happened, for the history and for whoever watches. Nothing here makes anything happen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from firewall.consents import Consent
    from firewall.inputs import Author, FlowKey
    from rules.observation import Observation
    from rules.problem import Problem
    from rules.verdict import Decision


class State(StrEnum):
    """Whether the gate is closed, and why people can or cannot rely on it. The words stand in the TUI's header."""

    STARTING = "STARTING"
    ENFORCING = "ENFORCING"
    DEGRADED = "DEGRADED"  # enforced, but something is missing: the reason says what
    LOCKED = "LOCKED"  # nothing undecided passes


class FlowDecided(NamedTuple):
    """A flow, or one more try of it, got its verdict. `flow` is None for a DNS question that was refused."""

    at: float  # wall time
    src: bytes
    flow: FlowKey | None
    seen: Observation
    decision: Decision
    tried: int = 0  # payload bytes of the packet that was refused with it


class FlowBytes(NamedTuple):
    """Bytes that conntrack has counted for a flow since the last time, with headers."""

    at: float
    flow: FlowKey
    up: int
    down: int
    ended: bool


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    at: float
    revision: int
    rules: int
    who: Author


@dataclass(frozen=True, slots=True)
class PolicyKept:
    """New rules were refused; revision says which policy stays (0: none)."""

    at: float
    revision: int
    problems: tuple[Problem, ...]
    who: Author


@dataclass(frozen=True, slots=True)
class StateChanged:
    at: float
    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something went wrong that the owner may want to know: lost packets, a changed ruleset, a full disk."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class FlowResumed:
    """A flow that an earlier process had judged goes on under this one. No new try."""

    at: float
    src: bytes
    flow: FlowKey
    seen: Observation
    decision: Decision


@dataclass(frozen=True, slots=True)
class OwnerActed:
    """Somebody with the right to do so changed something. `kind` is "mode", "phone" or "lock"."""

    at: float
    kind: str
    text: str
    who: Author


@dataclass(frozen=True, slots=True)
class ConsentGranted:
    """From now on the phone's next try passes."""

    at: float
    consent: Consent
    prolonged: bool = False  # it was there already, and ends later now


@dataclass(frozen=True, slots=True)
class ConsentOver:
    """It ended, and with it every flow that passed because of it. Whoever stores consents stores this."""

    at: float
    id: int
    why: str
    who: Author
    consent: Consent  # as it was, with `ended` and `why`


@dataclass(frozen=True, slots=True)
class PhoneJoined:
    """A phone has come to the access point."""

    at: float
    phone: str
    mac: bytes
    signal: int | None  # dBm


@dataclass(frozen=True, slots=True)
class PhoneLeft:
    at: float
    phone: str
    mac: bytes


Event = (
    FlowDecided | FlowResumed | OwnerActed | ConsentGranted | ConsentOver | FlowBytes | PolicyChanged | PolicyKept
    | StateChanged | Trouble | PhoneJoined | PhoneLeft
)
