"""Consents as they are given, taken back, kept over a restart, and carried from one gate to another.

One lock for all of it: of two owners who answer at once one is told that the other has. A grant is on the disk before
the gate lets anything pass because of it, and before it is said. An end counts whether the disk takes it or not.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from firewall.consents import Consent, Life
from firewall.control import Refused
from firewall.events import ConsentGranted, ConsentOver, FlowBytes, FlowDecided, FlowResumed
from firewall.inputs import Author, ConsentEnded, ConsentGiven, ConsentsRemembered
from firewall.lives import left_of, until_of
from firewall.state import StateError, StoredConsent
from firewall.whole import Whole
from rules.opening import titled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from firewall.events import Event
    from firewall.gateway import Gateway
    from firewall.inputs import FlowKey, Input, Now
    from firewall.state import State
    from rules.consent import Subject

LOOK_SECONDS: Final = 2.0  # how often ends are stored, and suspended consents looked at again
MARK_SECONDS: Final = 60.0  # how often is stored what is left, which a power cut then makes older by as much
A_MOMENT: Final = 1.0  # seconds: an end that is later by less is the same
MOST: Final = 4_096  # in force at a time
MOST_OF_ONE: Final = 128  # of one phone or group
MOST_FLOWS: Final = 100_000  # whose bytes are counted


@dataclass(frozen=True, slots=True)
class Wanted:
    """Who may what, and for how long. `left`: what was left of an imported one, in seconds."""

    slot: int  # 0: `group`
    group: str
    phone: str
    subject: Subject
    life: Life
    screen: str
    left: float | None = None

    @property
    def who(self) -> str:
        return f"phone {self.phone}" if self.slot else f"group {self.group}"


class Answered(Protocol):
    """A question; firewall.questions.Question is one."""

    id: int
    answer: str
    answering: str

    @property
    def taken(self) -> str: ...


class Granting:
    """`deliver` is the engine's: when it returns, the gate judges by what it was given."""

    def __init__(
        self, state: State | None, gateway: Gateway, deliver: Callable[[Sequence[Input]], None],
        publish: Callable[[dict[str, Any]], None], clock: Callable[[], Now], boot_id: str,
    ) -> None:
        self._state = state
        self._gateway = gateway
        self._deliver = deliver
        self._publish = publish
        self._clock = clock
        self._boot_id = boot_id
        self._lock = asyncio.Lock()
        self._whole = Whole()
        self._active: dict[int, StoredConsent] = {}
        self._unsaved: dict[int, StoredConsent] = {}  # ended, and the disk does not know it yet
        self._marked = float("-inf")
        self._of_flow: dict[FlowKey, int] = {}
        self._flows, self._up, self._down = Counter[int](), Counter[int](), Counter[int]()

    # -- the start ---------------------------------------------------------------------------------------------------

    def remembered(self) -> ConsentsRemembered:
        """At the start: what an earlier process gave. Raises StateError."""
        now = self._clock()
        for stored in self._state.consents() if self._state else ():
            self._active[stored.consent.id] = self._here(stored, now, owner=False)
        return ConsentsRemembered(tuple(self.active))

    def _here(self, stored: StoredConsent, now: Now, *, owner: bool) -> StoredConsent:
        """As it is now, in boot time of this boot; suspended where nobody knows what is left."""
        known = stored.consent
        if known.until is None or stored.boot_id == self._boot_id:
            return stored
        left = left_of(stored, now, owner=owner)
        if left is None:
            return replace(stored, consent=replace(known, suspended=True))
        consent = replace(known, until=now.boot + left, suspended=False)
        return replace(self._marked_at(stored, now), consent=consent, boot_id=self._boot_id)

    def resume(self, *, owner: bool) -> int:
        """The clock may be believed: what was suspended runs again, or is over. `owner`: because its owner says so."""
        now = self._clock()
        resumed = []
        for number, stored in self._active.items():
            if stored.consent.suspended:
                here = self._here(stored, now, owner=owner)
                if not here.consent.suspended:
                    self._active[number] = here
                    resumed.append(here.consent)
        if resumed:
            self._deliver((ConsentsRemembered(tuple(resumed)),))
        for consent in resumed:
            self._publish({"consent": self.to_json(consent)})
        return len(resumed)

    # -- giving ------------------------------------------------------------------------------------------------------

    async def grant(self, wanted: Sequence[Wanted], who: Author, answered: Answered | None = None) -> list[Consent]:
        """All of them, or with Refused none. What is there already is prolonged, if this ends later.

        `answered`: the question that this is the answer to.
        """
        return await self._whole(self._grant(wanted, who, answered))

    async def _grant(self, all_wanted: Sequence[Wanted], who: Author, answered: Answered | None) -> list[Consent]:
        async with self._lock:
            if answered is not None and answered.taken:
                raise Refused(f"question {answered.id} {answered.taken}")
            for at, wanted in enumerate(all_wanted):
                self.check(wanted, all_wanted[:at])
            now = self._clock()
            new = [self._prolonged(self._new(wanted, who, now), self._there(wanted)) for wanted in all_wanted]
            if len(self._active) + sum(not one.consent.id for one in new) > MOST:
                raise Refused(f"not granted: {MOST} consents are in force already; revoke some")
            if answered is not None:
                answered.answering = who.name
            try:
                ids = await asyncio.to_thread(self._add, new)
            finally:
                if answered is not None:
                    answered.answering = ""
            consents: list[Consent] = []
            for one, number in zip(new, ids, strict=True):
                if consents:
                    await asyncio.sleep(0)  # of many, packets need not wait for all
                if one.consent.id and (number not in self._active or not self._counts(self._active[number].consent)):
                    continue  # what was to be prolonged is over or a flow's meanwhile, which is stored after this
                consents.append(replace(one.consent, id=number))
                self._active[number] = replace(one, consent=consents[-1])
                self._deliver((ConsentGiven(consents[-1]),))
            if not consents:
                raise Refused("not granted: what was to be prolonged ended at the same moment; grant it again")
            if answered is not None:
                answered.answer = f"consent {consents[0].id} by {who.name}"
            return consents

    def check(self, wanted: Wanted, beside: Sequence[Wanted] = ()) -> None:
        """Raises Refused for what is there already and lasts as long, and for one too many, with those `beside` it."""
        known, now = self._there(wanted), self._clock()
        if known is not None and not _outlasts(wanted.life, self._until(wanted, now), known.consent):
            raise Refused(
                f"{wanted.who} has consent {known.consent.id} for "
                f"{titled(self._gateway.policy, wanted.subject)} already: {self.lasts(known.consent)}, given by "
                f"{known.consent.who}. To give a shorter one: consentry consents revoke {known.consent.id}"
            )
        own = sum(_same_who(one.consent, wanted) for one in self._active.values())
        if known is None and own + sum(_same_who(one, wanted) for one in beside) >= MOST_OF_ONE:
            raise Refused(f"not granted: {wanted.who} has {MOST_OF_ONE} consents already; revoke some")

    def _there(self, wanted: Wanted) -> StoredConsent | None:
        """What this would prolong: the same for the same, and in force."""
        same = (one for one in self._active.values() if _same_who(one.consent, wanted))
        return next((one for one in same if one.consent.subject == wanted.subject and self._counts(one.consent)), None)

    def prolongs(self, wanted: Wanted) -> str:
        """In words: the consent that is there already, and what is left of it; "" if there is none."""
        known = self._there(wanted)
        return f"consent {known.consent.id} is for that already, {self.lasts(known.consent)}" if known else ""

    def _counts(self, consent: Consent) -> bool:
        """Whether it lets what comes next pass, or will: not if its flow has come, or its time is up this moment."""
        now = self._gateway.consents.get(consent.id) or consent
        return now.suspended or (now.flow is None and now.in_force(self._clock().boot))

    @staticmethod
    def _until(wanted: Wanted, now: Now) -> float | None:
        try:
            return until_of(wanted.life, now) if wanted.left is None else now.boot + wanted.left
        except ValueError as error:
            raise Refused(f"not granted: {error}") from None

    def _new(self, wanted: Wanted, who: Author, now: Now) -> StoredConsent:
        consent = Consent(
            0, wanted.slot, wanted.group, wanted.phone, wanted.subject, wanted.life, now.wall, who.name, who.uid,
            wanted.screen, self._until(wanted, now),
        )
        return StoredConsent(consent, self._boot_id, now.boot, now.wall, now.trusted)

    @staticmethod
    def _prolonged(new: StoredConsent, known: StoredConsent | None) -> StoredConsent:
        """The same consent with the later end, from now on by whoever gave that; what has passed by it is kept."""
        if known is None:
            return new
        consent = replace(new.consent, id=known.consent.id)
        return replace(new, consent=consent, flows=known.flows, up=known.up, down=known.down)

    def _add(self, new: Sequence[StoredConsent]) -> tuple[int, ...]:
        if self._state is None:
            raise Refused("not granted: state.db cannot be read, so it could not be kept; mend it first")
        try:
            return self._state.add_consents(new)
        except StateError as error:
            raise Refused(f"not granted: it could not be stored: {error}") from None

    # -- taking back -------------------------------------------------------------------------------------------------

    async def revoke(self, numbers: Sequence[int], who: Author) -> tuple[list[StoredConsent], int, str]:
        """Those that were ended, how many live flows were cut, and what the disk said. Raises Refused."""
        return await self._whole(self._revoke(numbers, who))

    async def _revoke(self, numbers: Sequence[int], who: Author) -> tuple[list[StoredConsent], int, str]:
        """What passes is cut first, however long the disk takes; it is said when it is stored."""
        known = [self._active[number] for number in numbers if number in self._active]
        if not known:
            raise Refused(f"there is no consent {' or '.join(map(str, numbers))} in force; list: consents list")
        wall = self._clock().wall
        why = f"revoked by {who.name}"
        ended = [
            replace(self._counted(one), consent=replace(one.consent, ended=wall, why=why), ender=who.name)
            for one in known
        ]
        cut = sum(self.passing(one.consent.id) for one in known)
        for one in ended:
            self._active[one.consent.id] = one
            self._deliver((ConsentEnded(one.consent.id, why, who),))
            self._active.pop(one.consent.id, None)
        async with self._lock:
            return ended, cut, await self._save(ended)

    async def _save(self, changed: Sequence[StoredConsent]) -> str:
        """What the disk says against it; "" if nothing. What has ended is tried again."""
        if self._state is None:
            return ""
        try:
            await asyncio.to_thread(self._state.save_consents, changed)
        except StateError as error:
            self._unsaved |= {one.consent.id: one for one in changed if one.consent.ended}
            return f"it is over, but that could not be stored and is tried again: {error}"
        return ""

    @asynccontextmanager
    async def moving(self, gone: int, slot: int, phone: str) -> AsyncIterator[None]:
        """While state and gate make one phone of two; then the consents of the one are the other's."""
        async with self._lock:
            yield
            for number, one in list(self._active.items()):
                if gone and one.consent.slot == gone:
                    self._active[number] = replace(one, consent=replace(one.consent, slot=slot, phone=phone))

    # -- what the gate says ------------------------------------------------------------------------------------------

    def see(self, events: Iterable[Event]) -> None:
        """Called in the hot path: counts, and notes what is over."""
        for event in events:
            if isinstance(event, (FlowDecided, FlowResumed)):
                if event.flow is not None and (event.decision.consent or self._of_flow):
                    self._count(event.flow, event.decision.consent, new=isinstance(event, FlowDecided))
            elif isinstance(event, FlowBytes):
                self._count_bytes(event)
            elif isinstance(event, ConsentGranted):
                self._publish({"consent": self.to_json(event.consent)})
            elif isinstance(event, ConsentOver):
                self._over(event)

    def _count(self, flow: FlowKey, number: int, *, new: bool) -> None:
        if number not in self._active:
            self._of_flow.pop(flow, None)
        elif self._of_flow.get(flow) != number:
            self._flows[number] += new
            self._take(number)
            self._of_flow[flow] = number
            if len(self._of_flow) > MOST_FLOWS:
                del self._of_flow[next(iter(self._of_flow))]

    def _take(self, number: int) -> None:
        """A "once" is that flow's from now on, also if the next process knows nothing of the flow."""
        one, now = self._active[number], self._clock()
        if one.consent.life is Life.ONCE and one.consent.until is not None and one.consent.until > now.boot:
            one = replace(one, consent=replace(one.consent, until=now.boot))
            self._active[number] = self._unsaved[number] = one

    def _count_bytes(self, event: FlowBytes) -> None:
        number = self._of_flow.pop(event.flow, 0) if event.ended else self._of_flow.get(event.flow, 0)
        if number:
            self._up[number] += event.up
            self._down[number] += event.down

    def _over(self, event: ConsentOver) -> None:
        known = self._active.pop(event.id, None)
        if known is not None and not known.consent.ended:
            known = self._unsaved[event.id] = replace(self._counted(known), consent=event.consent, ender=event.who.name)
        self._publish({"consent": self.to_json(event.consent, known)})

    async def keep(self) -> None:
        """For ever: store ends, and what is left; end the suspension of what was suspended."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.store()
            if self._clock().trusted:
                self.resume(owner=False)

    async def store(self, *, all_of_it: bool = False) -> None:
        """What is over; and once a minute, or now, what is left of the others. Raises nothing: it is tried again."""
        async with self._lock:
            now = self._clock()
            changed, self._unsaved = self._unsaved, {}
            marks: list[StoredConsent] = []
            if all_of_it or now.boot - self._marked >= MARK_SECONDS:
                self._marked = now.boot
                marks = [self._marked_at(one, now) for one in self._active.values() if self._has_news(one)]
                self._active |= {one.consent.id: one for one in marks}
            if self._state is None or not (changed or marks):
                return
            with suppress(StateError):
                await asyncio.to_thread(self._state.save_consents, (*changed.values(), *marks))
                return
            self._unsaved = changed | self._unsaved

    def _marked_at(self, one: StoredConsent, now: Now) -> StoredConsent:
        return replace(self._counted(one), boot=now.boot, wall=now.wall, trusted=now.trusted)

    def _has_news(self, one: StoredConsent) -> bool:
        """Suspended ones stay as they were: what was left then is all that is known."""
        timed = one.consent.until is not None
        return not one.consent.suspended and (timed or self._flows[one.consent.id] > 0)

    def _counted(self, one: StoredConsent) -> StoredConsent:
        """With what was counted since it was last taken."""
        number = one.consent.id
        flows, up, down = self._flows.pop(number, 0), self._up.pop(number, 0), self._down.pop(number, 0)
        return replace(one, flows=one.flows + flows, up=one.up + up, down=one.down + down)

    # -- telling -----------------------------------------------------------------------------------------------------

    @property
    def active(self) -> list[Consent]:
        """Those in force and those suspended, by id."""
        return [self._active[number].consent for number in sorted(self._active)]

    def has_passed(self, flow: FlowKey | None) -> bool:
        """Whether it passed by a consent until now: when that ends, the flow is cut, and that is no new try."""
        return flow in self._of_flow

    def get(self, number: int) -> Consent | None:
        known = self._active.get(number)
        return known.consent if known else None

    def ended(self, limit: int) -> tuple[StoredConsent, ...]:
        """The newest of those that are over. Waits for the disk. Raises StateError."""
        waiting = sorted(self._unsaved.values(), key=lambda one: -one.consent.ended)
        known = {one.consent.id for one in waiting}
        stored = self._state.ended_consents(limit) if self._state else ()
        return (*waiting, *(one for one in stored if one.consent.id not in known))[:limit]

    def passing(self, number: int) -> int:
        """Live flows that pass because of it."""
        decisions = (flow.decision for flow in self._gateway.flows)
        return sum(decision is not None and decision.consent == number for decision in decisions)

    def lasts(self, consent: Consent) -> str:
        """In words: what is left of it."""
        if consent.suspended:
            return "suspended until the clock is right"
        if consent.until is None:
            return "until it is revoked"
        if consent.life is Life.ONCE:
            return "once"
        left = max(0.0, consent.until - self._clock().boot)
        for unit, seconds in (("h", 3_600), ("min", 60)):
            if left >= 1.5 * seconds:
                return f"{left / seconds:.0f} {unit} left"
        return f"{left:.0f} s left"

    def to_json(self, consent: Consent, stored: StoredConsent | None = None) -> dict[str, Any]:
        """As the verb `consents` tells it."""
        now = self._clock()
        number = consent.id
        if not consent.ended:
            consent = self._gateway.consents.get(number) or consent  # which knows the flow that took a "once"
        stored = self._active.get(number, stored)
        in_force = not consent.ended
        since = stored.boot if stored and consent.suspended else now.boot  # of a suspended one: what was left then
        timed = in_force and consent.flow is None and consent.until is not None
        left = max(0.0, (consent.until or 0.0) - since) if timed else None
        phone = self._gateway.phones.slot(consent.slot).name if consent.slot and in_force else consent.phone
        return {
            "id": number,
            "phone": phone,
            "slot": consent.slot,
            "group": consent.group,
            "kind": str(consent.subject.kind),
            "what": consent.subject.what,
            "title": titled(self._gateway.policy, consent.subject).removeprefix("service "),
            "life": str(consent.life),
            "given": consent.given,
            "who": consent.who,
            "uid": consent.uid,
            "screen": consent.screen,
            "ends": now.wall + left if left is not None and not consent.suspended else None,
            "left": left,
            "state": "ended" if consent.ended else "suspended" if consent.suspended else "active",
            "flows": self._flows[number] + (stored.flows if stored else 0),
            "up": self._up[number] + (stored.up if stored else 0),
            "down": self._down[number] + (stored.down if stored else 0),
            "ended": consent.ended or None,
            "ender": stored.ender if stored else "",
            "why": consent.why,
        }


def _outlasts(life: Life, until: float | None, known: Consent) -> bool:
    """Whether this end (boot time; None: when it is revoked) is later. Of a suspended one nobody knows; and a "once" is
    one flow's, so that it prolongs nothing by which others pass.
    """
    if known.suspended or known.until is None or (life is Life.ONCE and known.life is not Life.ONCE):
        return False
    return until is None or until > known.until + A_MOMENT


def _same_who(consent: Consent | Wanted, wanted: Wanted) -> bool:
    return consent.slot == wanted.slot and (bool(wanted.slot) or consent.group == wanted.group)
