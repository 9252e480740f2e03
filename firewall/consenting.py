"""[pure] What becomes of flows when consents are given, end, or were given before this process began."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from firewall import events
from firewall.commands import OpenWay
from firewall.inputs import Author
from firewall.rejudge import AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from firewall import inputs
    from firewall.consents import Consent, Consents
    from firewall.flow import Flow, FlowTable
    from firewall.inputs import FlowKey, Now
    from firewall.phones import Phone, Phones
    from firewall.rejudge import Out, Rejudge

GATE: Final = Author("the gate")  # for what ends by itself
FORGOTTEN: Final = "the phone was forgotten"


class Consenting:
    """Giving is for the phone's next try. Ending is for now: every flow that passed because of it, in the same turn."""

    def __init__(
        self, consents: Consents, phones: Phones, flows: FlowTable, rejudge: Rejudge, out: Out
    ) -> None:
        self._consents = consents
        self._phones = phones
        self._flows = flows
        self._rejudge = rejudge
        self._out = out

    def given(self, seen: inputs.ConsentGiven, now: Now) -> None:
        prolonged = self._consents.get(seen.consent.id) is not None
        self._out.events.append(events.ConsentGranted(now.wall, seen.consent, prolonged))
        self.remembered((seen.consent,), now)

    def remembered(self, consents: Sequence[Consent], now: Now) -> None:
        """What had been refused to the phone begins anew; what its consents no longer let pass ends."""
        for consent in consents:
            self._consents.put(consent)
            if consent.slot and self._phones.slot(consent.slot) is self._phones.stranger:
                self._end([consent], FORGOTTEN, GATE, now)
        self._out.commands += self._consents.renew(now.boot)
        phones = [phone for phone in self._phones if any(consent.is_for(phone) for consent in consents)]
        users = self._consents.users(phone.slot for phone in phones)
        self._rejudge.at_once(dict.fromkeys(users, "its consent is suspended"), now)
        self._rejudge.of(phones)

    def taken_back(self, seen: inputs.ConsentEnded, now: Now) -> None:
        consent = self._consents.get(seen.id)
        if consent is not None:  # else its time was up a moment ago, or somebody else was faster
            self._end([consent], seen.why, seen.who, now)

    def expire(self, now: Now) -> None:
        if due := self._consents.due(now.boot):
            self._end(due, "its time is up", GATE, now)

    def phone_gone(self, phone: Phone) -> None:
        own = [consent for consent in self._consents if consent.slot == phone.slot]
        self._end(own, FORGOTTEN, GATE, self._out.now)

    def flow_gone(self, flow: Flow) -> None:
        now = self._out.now
        self._out.commands += self._consents.settle(flow.key, flow.phone.slot, (), now.boot)
        self._end(self._consents.bound(flow.key), "its flow ended", GATE, now)

    def resumed(self, flow: Flow, now: Now) -> None:
        """An earlier process had let it pass: the consent that it did so by is still there, or this is the end."""
        assert flow.decision is not None
        numbers = flow.decision.consents
        if not numbers:
            return
        gone = [one for one in numbers if not self._consents.lets(one, flow.phone, flow.key, now.boot)]
        if not gone:
            self._out.commands += self._consents.settle(flow.key, flow.phone.slot, numbers, now.boot)
        else:
            self._out.commands.append(OpenWay(flow.phone.slot, flow.key.dst, flow.key.dport, 0))
            self._rejudge.at_once({flow.key: f"consent {gone[0]} is over"}, now)

    def lost(self, flows: Iterable[FlowKey]) -> None:
        """They pass by a consent, nobody knows which: its end would not cut them if another opens the same way."""
        keys = sorted(flows)
        ways = {(self._phones.at(key.src).slot, key.dst, key.dport) for key in keys}
        self._out.commands += [OpenWay(*way, 0) for way in sorted(ways - set(self._consents.ways))]
        self._out.commands += [self._flows.anew(key) for key in keys]

    def not_opened(self, command: OpenWay, now: Now) -> None:
        """The kernel did not take it: what passes by that way is refused there, and so it is here."""
        if command.seconds == 0:
            return
        for key in self._consents.on((command.slot, command.addr, command.port)):
            flow = self._flows.get(key)
            if flow is not None and flow.decision is not None:
                self._rejudge.refuse(flow, "the kernel could not open its way", now)

    def _end(self, consents: Iterable[Consent], why: str, who: Author, now: Now) -> None:
        """A flow that another consent is for as well passes by that one from now on."""
        whys, slots = dict[int, str](), dict[int, int]()
        for consent in consents:
            self._consents.drop(consent.id)
            over = replace(consent, ended=now.wall, why=why)
            self._out.events.append(events.ConsentOver(now.wall, consent.id, why, who, over))
            whys[consent.id] = f"consent {consent.id} is over, {why}"
            for slot in [consent.slot] if consent.slot else [p.slot for p in self._phones if consent.is_for(p)]:
                slots.setdefault(slot, consent.id)
        users = self._consents.users(slots)
        if len(users) > AT_ONCE:
            # The ways that only these kept open, before anything is decided anew: what waits then does not pass. Fewer
            # are decided within the turn, and a way that another consent is for as well is not shut in between.
            self._out.commands += self._consents.renew(now.boot)
            users = self._consents.users(slots)
        flows = {key: flow for key in users if (flow := self._flows.get(key))}
        self._rejudge.at_once({key: whys[self._because(flow, whys, slots)] for key, flow in flows.items()}, now)

    @staticmethod
    def _because(flow: Flow, ended: Collection[int], slots: Mapping[int, int]) -> int:
        """The consent whose end it is for this flow: its own, or one that it needed as well."""
        number = flow.decision.consent if flow.decision else 0
        return number if number in ended else slots.get(flow.phone.slot, next(iter(ended)))
