"""The one place that says which bit of the mark means what. gate.nft and Python both take them from here.

18 bits at the upper end; the 14 below are other programs' and are never changed.

31-30 verdict     packet and connection
29-27 watch       packet and connection: which packets of an allowed or consented flow are shown to Python again
26    ask         packet only: to the queue
25    pass        packet only: decided, on its way
24    permit      packet only: our prerouting chain has seen it; without it a phone's packet has no route
23-14 phone slot  packet only: which phone; 0 is a newcomer. Also the key of the ways that consents open
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rules.verdict import Verdict

if TYPE_CHECKING:
    from firewall.commands import Watch

VERDICT: Final = 0xC000_0000
ALLOWED: Final = 0x4000_0000
BLOCKED: Final = 0x8000_0000
CONSENTED: Final = 0xC000_0000  # passes while a way is open
PASSING: Final = ALLOWED & CONSENTED  # the bit that both have, and no other verdict
WATCH: Final = 0x3800_0000
WATCH_SHIFT: Final = 27
ASK: Final = 0x0400_0000
NAMES: Final = 0x0800_0000  # Watch.NAMES, as it stands in a mark
ANSWERED: Final = 0x1800_0000  # a watch class that the kernel alone gives, after BEGUN
FIRST: Final = 0x3800_0000  # of a question, in the place of a watch class: where its connection begins
PASS: Final = 0x0200_0000
PERMIT: Final = 0x0100_0000
PROBE: Final = ASK | PASS  # of the gate's own probe, all 32 bits: `permit` lets no packet of a phone's have it
SLOT: Final = 0x00FF_C000
SLOT_SHIFT: Final = 14
MOST_SLOTS: Final = 1_023

CONNECTION: Final = VERDICT | WATCH  # what the connection mark holds of ours
PACKET: Final = CONNECTION | ASK | PASS | PERMIT | SLOT
EVERY: Final = 0xFFFF_FFFF
OTHERS: Final = EVERY & ~PACKET  # of the packet mark
KEPT: Final = OTHERS | SLOT  # while it is on its way through our chains
_ALLOW, _WATCH, _CONSENT = Verdict.ALLOW, Verdict.WATCH, Verdict.CONSENT  # an Enum's own look-up is slow


def connection(verdict: Verdict, watch: Watch) -> int:
    """What is remembered of a flow. HELD is undecided: nothing."""
    if verdict is _ALLOW or verdict is _WATCH:
        return ALLOWED | watch << WATCH_SHIFT
    if verdict is _CONSENT:
        return CONSENTED | watch << WATCH_SHIFT
    return BLOCKED if verdict.refuses else 0


def passing(mark: int) -> Verdict:
    """Of a flow that passes: for good, or while its way is open."""
    return Verdict.CONSENT if mark & VERDICT == CONSENTED else Verdict.ALLOW


def asked(mark: int) -> tuple[bool, bool, bool]:
    """Of a question: whether its flow is watched, it is where its connection begins, and the watching has no end."""
    watch = mark & WATCH
    return 0 != watch != FIRST, watch == FIRST, watch == NAMES
