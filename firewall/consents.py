"""[pure] The consents that phones' owners have given, and which flows pass because of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from firewall.commands import OpenWay
from firewall.phones import STRANGERS_SLOT
from rules.consent import Grant
from rules.verdict import Decision, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from firewall.inputs import FlowKey
    from firewall.phones import Phone
    from rules.consent import Subject

ONCE_SECONDS: Final = 120.0  # within which the first flow takes a "once"
MOST_WAYS: Final = 16_000  # of all phones; the kernel's sets hold a few more
MOST_OF_A_PHONE: Final = 1_024
MOST_FLOWS: Final = 4_096  # of a phone by consent: all of them are judged again when one ends
SHARED_SECONDS: Final = 1.0  # where consents with several ends share a way, so that the first end is not that of all


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

    def in_force(self, boot: float) -> bool:
        return not self.suspended and (self.until is None or self.until > boot)

    def is_for(self, phone: Phone) -> bool:
        return self.slot == phone.slot if self.slot else self.group == phone.group


Way = tuple[int, bytes, int]  # slot, address, port: what the kernel keeps the time of


class Consents:
    """Those that are not over, and the ways that the kernel keeps open for the flows that pass by one of them.

    A way is open while a flow uses it, and until the consents of its flows end.
    """

    def __init__(self) -> None:
        self.next_end: float | None = None  # boot time
        self.changed = False  # who has one; whoever acts on it takes the flag down
        self._all: dict[int, Consent] = {}
        self._of: dict[int | str, tuple[Consent, ...]] = {}  # slot or group -> its consents
        self._ready: dict[tuple[int, str], tuple[Grant, ...]] = {}  # slot and group -> grants, until the next end
        self._bound: dict[FlowKey, tuple[int, ...]] = {}  # flow -> each "once" that is for it alone
        self._uses: dict[FlowKey, tuple[Way, tuple[int, ...]]] = {}
        self._ways: dict[Way, Counter[int]] = {}  # -> how many flows of which consents
        self._of_phone: Counter[int] = Counter()  # slot -> ways
        self._flows_of: Counter[int] = Counter()  # slot -> flows
        self._told: dict[Way, float | None] = {}  # until when the kernel lets pass

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Consent]:
        return iter(self._all.values())

    @property
    def ways(self) -> Collection[Way]:
        """Those that are open."""
        return self._ways.keys()

    def get(self, number: int) -> Consent | None:
        return self._all.get(number)

    def is_given(self, phone: Phone) -> bool:
        """Whether one is for it, and not for its group."""
        return phone.slot in self._of

    def of(self, phone: Phone, flow: FlowKey, boot: float) -> tuple[Grant, ...]:
        """What may let this flow of the phone pass now."""
        if not self._all or phone.slot == STRANGERS_SLOT:
            return ()
        whose = phone.slot, phone.group
        grants = self._ready.get(whose) if self.next_end is None or boot < self.next_end else None
        if grants is None:
            own = (*self._of.get(phone.slot, ()), *self._of.get(phone.group, ()))
            ready = (Grant(one.id, one.subject) for one in own if one.flow is None and one.in_force(boot))
            grants = self._ready[whose] = tuple(sorted(ready))
        if flow not in self._bound:
            return grants
        onces = (one for one in self.bound(flow) if one.is_for(phone) and not one.suspended)
        return tuple(sorted((*grants, *(Grant(once.id, once.subject) for once in onces))))

    def lets(self, number: int, phone: Phone, flow: FlowKey, boot: float) -> bool:
        """Whether this flow, which an earlier process let pass by that consent, still may. A "once" is taken by it."""
        one = self._all.get(number)
        if one is None or one.suspended or not one.is_for(phone) or one.flow not in {None, flow}:
            return False
        return one.life is Life.ONCE or one.in_force(boot)

    def exempt(self, phones: Iterable[Phone]) -> set[int]:
        """Slots of phones whose flows have to reach Python, for a consent may be for them."""
        slots = {slot for slot, own in self._of.items() if isinstance(slot, int) and not all(c.suspended for c in own)}
        groups = {one.group for one in self if not one.slot and not one.suspended}
        if groups:
            slots.update(phone.slot for phone in phones if phone.group in groups)
        return slots

    # -- coming and going --------------------------------------------------------------------------------------------

    def put(self, consent: Consent) -> None:
        """A new one, or a known one as it is now. What is bound to a flow stays bound."""
        known = self._all.get(consent.id)
        if known is not None and known.flow is not None:
            consent = replace(consent, flow=known.flow, until=None)
        self._all[consent.id] = consent
        if consent.flow is not None:
            self._bound[consent.flow] = tuple(sorted({*self._bound.get(consent.flow, ()), consent.id}))
        self._sort()

    def drop(self, number: int) -> Consent | None:
        """It is over. Flows that pass because of it have to be settled anew in the same turn."""
        consent = self._all.pop(number, None)
        if consent is not None:
            if consent.flow is not None:
                others = tuple(one for one in self._bound.pop(consent.flow, ()) if one != number)
                if others:
                    self._bound[consent.flow] = others
            self._sort()
        return consent

    def move(self, slot: int, phone: Phone) -> None:
        """What one phone was allowed is another's. Its flows have to begin anew: the kernel keeps time by slots."""
        for consent in self._of.get(slot, ()):
            self._all[consent.id] = replace(consent, slot=phone.slot, phone=phone.name)
        self._sort()

    def due(self, boot: float) -> list[Consent]:
        """Those whose time is up."""
        if self.next_end is None or self.next_end > boot:
            return []
        return [one for one in self if not one.suspended and not one.in_force(boot)]

    def bound(self, flow: FlowKey) -> tuple[Consent, ...]:
        """Each "once" that is over when this flow is."""
        return tuple(self._all[number] for number in self._bound.get(flow, ()))

    # -- ways --------------------------------------------------------------------------------------------------------

    def users(self, slots: Iterable[int]) -> list[FlowKey]:
        """Flows of these phones that pass by a consent; first those whose way is open."""
        wanted = set(slots)
        found = [(flow, way) for flow, (way, _) in self._uses.items() if way[0] in wanted]
        return [flow for flow, _ in sorted(found, key=lambda one: self.shut(one[1]))]

    def shut(self, way: Way) -> bool:
        """The consents of all the flows that it was open for are over: the kernel lets none of them pass."""
        return way in self._ways and way not in self._told

    def on(self, way: Way) -> list[FlowKey]:
        """Flows that pass by this way."""
        return [flow for flow, (used, _) in self._uses.items() if used == way]

    def afford(self, flow: FlowKey, slot: int, decision: Decision) -> Decision:
        """The decision; or a refusal, if this phone has so many flows or ways by consent that there is no more room."""
        way = slot, flow.dst, flow.dport
        before = self._uses.get(flow)
        if not decision.consent or (before is not None and before[0] == way):
            return decision
        if self._flows_of[slot] >= MOST_FLOWS:
            full = f"{self._flows_of[slot]:,} flows pass by consent already"
        elif way in self._ways or (len(self._ways) < MOST_WAYS and self._of_phone[slot] < MOST_OF_A_PHONE):
            return decision
        else:
            full = f"{self._of_phone[slot]:,} ways are open by consent already"
        return decision._replace(verdict=Verdict.ASK, reason=f"{full}: {decision.reason}", consent=0, also=())

    def settle(self, flow: FlowKey, slot: int, numbers: tuple[int, ...], boot: float) -> list[OpenWay]:
        """From now on the flow passes because of these consents, and while all of them last; what the kernel has to
        know of it, first. None: it passes by no consent. A "once" is this flow's from now on.
        """
        before = self._uses.get(flow)
        if not numbers and before is None:
            return []
        way = slot, flow.dst, flow.dport
        if before == (way, numbers):
            return []
        if before is not None:
            self._leave(flow, *before)
        if numbers:
            for consent in map(self._all.__getitem__, numbers):
                if consent.life is Life.ONCE and consent.flow is None:
                    self.put(replace(consent, flow=flow, until=None))
            self._uses[flow] = way, numbers
            if way not in self._ways:
                self._ways[way] = Counter()
                self._of_phone[slot] += 1
            self._ways[way].update(numbers)
            self._flows_of[slot] += 1
        touched = dict.fromkeys((*((before[0],) if before else ()), *((way,) if numbers else ())))
        return [command for one in touched for command in self._tell(one, boot)]

    def renew(self, boot: float) -> list[OpenWay]:
        """After consents changed their time: what the kernel has to know of it."""
        return [command for way in list(self._ways) for command in self._tell(way, boot)]

    def _leave(self, flow: FlowKey, way: Way, numbers: tuple[int, ...]) -> None:
        del self._uses[flow]
        self._flows_of[way[0]] -= 1
        flows = self._ways[way]
        for number in numbers:
            flows[number] -= 1
            if not flows[number]:
                del flows[number]
        if not flows:
            del self._ways[way]
            self._of_phone[way[0]] -= 1

    def _tell(self, way: Way, boot: float) -> Iterator[OpenWay]:
        flows = self._ways.get(way, ())
        ends = {one.until for number in flows if (one := self._all.get(number)) and one.in_force(boot)}
        if not ends:
            if way in self._told:
                del self._told[way]
                yield OpenWay(*way, 0)
            return
        timed = [end for end in ends if end is not None]
        until = min(timed) + (SHARED_SECONDS if len(ends) > 1 else 0) if timed else None
        if way not in self._told or self._told[way] != until:
            self._told[way] = until
            yield OpenWay(*way, None if until is None else until - boot)

    def _sort(self) -> None:
        self.changed = True
        self._ready.clear()
        self._all = dict(sorted(self._all.items()))
        self._of = {}
        for one in self:
            key = one.slot or one.group
            self._of[key] = (*self._of.get(key, ()), one)
        self.next_end = min((one.until for one in self if one.until is not None and not one.suspended), default=None)
