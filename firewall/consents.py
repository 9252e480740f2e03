"""[pure] The consents that phones' owners have given, and which flows pass because of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from firewall.inputs import FlowKey
    from rules.consent import Subject


class Life(StrEnum):
    """For how long, as its owner said it."""

    ONCE = "once"  # the first flow within two minutes, until that flow ends
    M15 = "15m"
    H1 = "1h"
    H12 = "12h"
    TOMORROW = "tomorrow"  # until 08:00
    REVOKED = "revoked"  # until it is


@dataclass(frozen=True, slots=True)
class Consent:
    """What one owner let one phone, or one group of phones, do for a while."""

    id: int
    slot: int  # of the phone; 0: it is for `group`
    group: str
    phone: str  # its name when it was given, for people
    subject: Subject
    life: Life
    given: float  # epoch seconds
    who: str
    uid: int | None
    screen: str  # where it was given: "tui: asks", "cli"
    until: float | None  # boot time; None: until it is revoked
    suspended: bool = False  # the clock cannot be trusted to say what is left of it
    flow: FlowKey | None = None  # to which a "once" is bound
    ended: float = 0.0  # epoch seconds
    why: str = ""  # it ended: "its time is up", "revoked by anna", "its flow ended"
