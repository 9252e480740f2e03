"""The open questions, as a process keeps them: fed with what was decided, stored, told to whoever follows."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from firewall.events import FlowDecided
from firewall.inputs import NEXT_FLOW
from firewall.questions import Question, Questions, place_of
from firewall.state import StateError
from rules.consent import Grant, Kind, Subject
from rules.decide import decide
from rules.opening import titled
from rules.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from firewall.events import Event
    from firewall.gateway import Gateway
    from firewall.inputs import FlowKey, Now
    from firewall.phones import Phone
    from firewall.state import State
    from rules.policy import Policy
    from rules.verdict import Decision

STORE_SECONDS: Final = 2.0
TELL_SECONDS: Final = 0.5
SLICE: Final = 16  # questions looked at again, or written down, before packets have their turn
MOST_TOLD: Final = 32  # in one turn; the others in the next


class Inbox:
    """`see` is called in the hot path and only folds."""

    def __init__(
        self, state: State | None, gateway: Gateway, clock: Callable[[], Now],
        publish: Callable[[dict[str, Any]], None], passed: Callable[[FlowKey | None], bool] = lambda _: False,
        followed: Callable[[], bool] = lambda: True,
    ) -> None:
        """`passed`: whether a flow was let pass by a consent until now, so that its refusal is no new try.

        `followed`: whether there is anybody for whom `publish` does something.
        """
        self._state = state
        self._passed = passed
        self._gateway = gateway
        self._clock = clock
        self._publish = publish
        self._followed = followed
        self.questions = Questions(_stored(state), lambda slot: gateway.phones.slot(slot).named)
        self._untold: dict[int, None] = {}  # ids, in the order in which they changed
        self._storing = asyncio.Lock()  # the newest state of a question is stored last
        self._by_service: dict[str, bool] = {}  # id of a rule -> it asks for services
        self._policy: Policy | None = None
        self._when_gone, gateway.phones.gone = gateway.phones.gone, self._phone_gone

    def _phone_gone(self, phone: Phone) -> None:
        self._when_gone(phone)
        self.questions.forget(phone.slot)

    def see(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, FlowDecided) and event.decision.verdict is Verdict.ASK:
                if self._passed(event.flow):
                    continue
                phone, decision = self._phone(event), event.decision
                by_service = bool(decision.service) and self._asks_for_services(decision.rule)
                question = self.questions.fold(event, phone.slot, by_service=by_service)
                if question is not None:
                    self._untold[question.id] = None

    def _phone(self, event: FlowDecided) -> Phone:
        phones = self._gateway.phones
        phone = phones.at(event.src)
        return phone if phone.name == event.seen.phone else phones.named(event.seen.phone or "") or phones.stranger

    def waiting(self) -> int:
        return len(self.questions.waiting(self._clock().wall))

    def to_json(self, question: Question, *, ordered: bool = True) -> dict[str, Any]:
        """As the verb `asks` tells it. `ordered`: the widths that would be enough stand first, by the rules of now.

        That takes as many decisions as there are widths, which nobody needs who is only told that something changed.
        """
        phone = self._gateway.phones.slot(question.topic.slot)
        policy = self._gateway.policy
        names = sorted(question.names.items(), key=lambda one: -one[1])
        wall = self._clock().wall
        widths = question.widths
        if ordered:
            widths.sort(key=lambda one: not self._answers(question, one))
        return {
            "id": question.id,
            "phone": phone.name,
            "slot": phone.slot,
            "group": phone.group,
            "kind": str(question.topic.subject.kind),
            "what": question.topic.subject.what,
            "title": _title(policy, question.topic.subject),
            "rule": question.rule,
            "count": question.count,
            "more": question.more,
            "first": question.first,
            "last": question.last,
            "names": [{"name": name, "count": count} for name, count in names],
            "place": place_of(question),
            "addr": str(ip_address(question.seen.addr)) if question.seen.addr else "",
            "port": question.seen.port or 0,
            "proto": question.seen.proto or "",
            "tried": question.tried,
            "readable": question.readable,
            "put_off": question.put_off if question.is_put_off(wall) else None,
            "answer": question.answer,
            "widths": [
                {"kind": str(subject.kind), "what": subject.what, "title": _title(policy, subject)}
                for subject in widths
            ],
        }

    async def settle(self, answer: str, slots: Iterable[int] | None = None) -> None:
        """Rules or consents are not what they were: close what nobody would be asked about now. None: all phones'."""
        wanted = None if slots is None else frozenset(slots)
        looked = 0
        for question in list(self.questions):
            if question.answer or (wanted is not None and question.topic.slot not in wanted):
                continue
            looked += 1
            if looked % SLICE == 0:
                await asyncio.sleep(0)
            tried = self.trial(question)
            if tried is not None and tried.verdict is Verdict.BLOCK:
                # that it had said no name when it was refused decides nothing
                tried = self.trial(question, names_open=question.seen.names_open)
            if tried is not None and tried.verdict not in {Verdict.ASK, Verdict.HELD}:
                self.close(question, answer)

    def close(self, question: Question, answer: str) -> None:
        self.questions.close(question, answer)
        self._untold[question.id] = None

    def changed(self, question: Question) -> None:
        """It was put off, or answered: whoever follows is told."""
        if question.answer:
            self.questions.close(question, question.answer)
        self._untold[question.id] = None

    def trial(self, question: Question, *more: Subject, names_open: bool = False) -> Decision | None:
        """What became of its newest try now, if its phone had consents for these as well. None: there are no rules.

        As if it said no more than it had: most are refused before they say anything, and with a name still to come no
        consent would be sure to be enough.
        """
        policy = self._gateway.policy
        if policy is None:
            return None
        phone, boot = self._gateway.phones.slot(question.topic.slot), self._clock().boot
        grants = (*(Grant(0, subject) for subject in more), *self._gateway.consents.of(phone, NEXT_FLOW, boot))
        seen = question.seen._replace(phone=phone.name, group=phone.group, consents=grants, names_open=names_open)
        return decide(policy, seen)

    def _answers(self, question: Question, subject: Subject) -> bool:
        tried = self.trial(question, subject)
        return tried is None or not tried.verdict.refuses

    def _asks_for_services(self, rule: str) -> bool:
        policy = self._gateway.policy
        if policy is not self._policy:
            self._policy, self._by_service = policy, {}
        known = self._by_service.get(rule)
        if known is None:
            found = next((one for one in policy.rules if one.id == rule), None) if policy else None
            terms = found.expression.terms if found else ()
            known = any(term.key == "service" and not term.negated for term in terms)
            self._by_service[rule] = known
        return known

    # -- keeping it --------------------------------------------------------------------------------------------------

    def tell(self) -> None:
        """To whoever follows: the newest state of each question that changed, of so many that packets do not wait.

        Their widths are in no order: who wants to answer one fetches it.
        """
        if not self._followed():
            self._untold.clear()  # who begins to follow fetches all of them
            return
        told = 0
        while self._untold and told < MOST_TOLD:
            number = next(iter(self._untold))
            del self._untold[number]
            question = self.questions.get(number)
            if question is not None:
                told += 1
                self._publish({"question": self.to_json(question, ordered=False)})

    async def keep(self) -> None:
        """For ever: store what changed. Tried again with the next ones if the disk does not take it."""
        while True:
            await asyncio.sleep(STORE_SECONDS)
            with suppress(StateError):
                await self.store()

    async def store(self) -> None:
        """Raises StateError; then all of it is still to be stored."""
        questions = self.questions
        async with self._storing:
            if self._state is None or not (questions.changed or questions.gone):
                return
            changed, gone = questions.changed, questions.gone
            questions.changed, questions.gone = set(), set()
            try:
                rows = await self._rows(sorted(changed))
                await asyncio.to_thread(self._state.save_questions, rows, gone)
            except (StateError, asyncio.CancelledError):
                questions.changed |= changed
                questions.gone |= gone
                raise

    async def _rows(self, numbers: list[int]) -> list[tuple[int, str]]:
        rows: list[tuple[int, str]] = []
        for at in range(0, len(numbers), SLICE):
            if at:
                await asyncio.sleep(0)
            found = (self.questions.get(number) for number in numbers[at : at + SLICE])
            rows += [(question.id, json.dumps(question.to_row())) for question in found if question is not None]
        return rows


def _stored(state: State | None) -> list[tuple[int, dict[str, Any]]]:
    """What cannot be read is no question; nothing is opened by that."""
    found: list[tuple[int, dict[str, Any]]] = []
    with suppress(StateError):
        for number, told in state.questions() if state else ():
            try:
                row = json.loads(told)
            except ValueError:
                row = {}
            found.append((number, row if isinstance(row, dict) else {}))
    return found


def _title(policy: Policy | None, subject: Subject) -> str:
    """The short form: a service's title, a name, an address."""
    return titled(policy, subject).removeprefix("service ") if subject.kind is Kind.SERVICE else subject.what
