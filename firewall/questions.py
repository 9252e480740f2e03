"""[pure] What the phones wanted and `ask` rules refused, as questions to their owner: many tries, one question.

A question is about one phone and one service, registered domain or address, whichever the rule that asked is about.
It never turns into anything by itself. What is answered is kept, closed: a new refused try opens it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from firewall.episodes import best_name
from rules.consent import Kind, Subject
from rules.domain import registrable
from rules.observation import Name, Observation, Place, Sign, Source
from rules.operators import operator_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from firewall.events import FlowDecided

NAMES_KEPT: Final = 8  # of one question; tries under other names are counted together
MOST_OF_A_PHONE: Final = 64  # questions; tries beyond are counted
MOST: Final = 4_096
LONGEST_PUT_OFF: Final = 30 * 86_400.0  # seconds; what says more is of a clock that was wrong
HTTP, TLS, DARK = "cleartext HTTP", "encrypted (TLS)", "not readable so far"
DNS = "plain DNS, asked of another resolver"
PUSH, TUNNEL = "Xiaomi's push channel", "a tunnel: nobody sees what is in it"


class Topic(NamedTuple):
    """What a question is about."""

    slot: int
    subject: Subject


@dataclass(slots=True)
class Question:
    """Times are epoch seconds."""

    id: int
    topic: Topic
    seen: Observation  # the newest try
    rule: str  # that asked
    count: int = 0  # tries
    first: float = 0.0
    last: float = 0.0
    names: dict[str, int] = field(default_factory=dict)  # name -> tries
    more: int = 0  # tries under names that are not kept
    tried: int = 0  # payload bytes of the packets that were refused
    readable: str = DARK
    put_off: float = 0.0  # not shown until then
    answer: str = ""  # what closed it: "consent 7 by anna"; "" while it is open
    answering: str = ""  # who is at it, while the disk works: nobody else may, and one more try changes nothing

    @property
    def taken(self) -> str:
        """Why it is too late to answer it; "" if it is not."""
        if self.answering:
            return f"is being answered by {self.answering}"
        return f"has been answered already: {self.answer}" if self.answer else ""

    def waits(self, now: float) -> bool:
        """Whether its owner is to see it. `now` in epoch seconds."""
        return not self.answer and not self.is_put_off(now)

    def is_put_off(self, now: float) -> bool:
        return now < self.put_off <= now + LONGEST_PUT_OFF

    @property
    def addr(self) -> str:
        return str(ip_address(self.seen.addr)) if self.seen.addr else ""

    @property
    def widths(self) -> list[Subject]:
        """What could be consented to, the one to offer first first: the service, this name, its domain, the address."""
        name = best_name(self.seen)[0]
        named = [Subject(Kind.NAME, name), Subject(Kind.NAME, registrable(name))] if name else []
        found = [self.topic.subject] if self.topic.subject.kind is Kind.SERVICE else []
        found += named if found or len(self.names) + bool(self.more) <= 1 else reversed(named)
        found.append(Subject(Kind.ADDR, self.addr))
        return list(dict.fromkeys(subject for subject in found if subject.what))

    def to_row(self) -> dict[str, Any]:
        """For JSON, and what `from_row` reads."""
        seen = self.seen
        return {
            "slot": self.topic.slot, "subject": list(self.topic.subject), "rule": self.rule,
            "count": self.count, "first": self.first, "last": self.last, "names": self.names, "more": self.more,
            "tried": self.tried, "readable": self.readable, "put_off": self.put_off, "answer": self.answer,
            "seen": [
                seen.phone, seen.group, seen.proto, seen.addr.hex() if seen.addr else None, seen.port, seen.answered,
                [[name.name, str(name.source)] for name in seen.said], seen.unfinished, seen.place,
                seen.names_open, [str(sign) for sign in seen.signs],
            ],
        }

    @classmethod
    def from_row(cls, number: int, row: dict[str, Any]) -> Question:
        """Raises ValueError, TypeError, KeyError or IndexError for what `to_row` has not made."""
        phone, group, proto, addr, port, answered, said, unfinished, place, names_open, signs = row["seen"]
        seen = Observation(
            phone, proto, bytes.fromhex(addr) if addr else None, port, tuple(map(tuple, answered)),
            tuple(Name(name, Source(source)) for name, source in said), bool(names_open), bool(unfinished), group,
            Place(*place) if place is not None else None, signs=tuple(map(Sign, signs)),
        )
        kind, what = row["subject"]
        topic = Topic(int(row["slot"]), Subject(Kind(kind), str(what)))
        names = {str(name): int(count) for name, count in row["names"].items()}
        counts = int(row["count"]), float(row["first"]), float(row["last"]), names, int(row["more"])
        rest = int(row.get("tried", 0)), str(row["readable"]), float(row["put_off"]), str(row["answer"])
        return cls(number, topic, seen, str(row["rule"]), *counts, *rest)


class Questions:
    """Fed with decisions; what changed since it was last taken is in `changed`, what is no more in `gone`.

    Where places are short, what has been answered makes way, then what the phones ask that nobody has named: whoever
    invents MACs takes the places of those, never of the owner's phones. Nothing here looks at all questions per try.
    """

    def __init__(
        self, stored: Iterable[tuple[int, dict[str, Any]]] = (), named: Callable[[int], bool] = lambda _: True
    ) -> None:
        """`named`: whether a person has named the phone of this slot; it stays so until the phone is forgotten."""
        self.changed: set[int] = set()
        self.gone: set[int] = set()
        self.uncounted: dict[int, int] = {}  # slot -> tries for which there was no place, or is none any more
        self._named = named
        self._by_id: dict[int, Question] = {}
        self._by_topic: dict[Topic, Question] = {}
        self._of_slot: dict[int, dict[int, Question]] = {}
        self._closed: dict[int, Question] = {}  # answered; the one answered longest ago first
        self._closed_of: dict[int, dict[int, Question]] = {}  # slot -> the same
        # slots by how many questions they have, without those that were found to be named
        self._sizes: tuple[dict[int, None], ...] = tuple({} for _ in range(MOST_OF_A_PHONE + 1))
        self._next = 1
        for number, row in stored:
            self._next = max(self._next, number + 1)
            try:
                question = Question.from_row(number, row)
            except (ValueError, TypeError, KeyError, IndexError, AttributeError):
                self.gone.add(number)
                continue
            if question.topic in self._by_topic or self._size(question.topic.slot) >= MOST_OF_A_PHONE:
                self.gone.add(number)  # garbage: never stored like that
            else:
                self._keep(question)
        for question in sorted(self, key=lambda one: one.last):
            if question.answer:
                self._shelve(question)

    def __iter__(self) -> Iterator[Question]:
        return iter(self._by_id.values())

    def get(self, number: int) -> Question | None:
        return self._by_id.get(number)

    def waiting(self, now: float) -> list[Question]:
        """Those that their owner is to see."""
        return [question for question in self._by_id.values() if question.waits(now)]

    def fold(self, event: FlowDecided, slot: int, *, by_service: bool) -> Question | None:
        """One more refused try. `by_service`: the rule asks for the service that the flow belongs to.

        None if there is no place for it: such tries are counted.
        """
        seen = event.seen
        name = best_name(seen)[0]
        topic = _topic(slot, event.decision.service if by_service else "", name, seen)
        question = self._by_topic.get(topic)
        if question is None:
            if not self._make_room(slot):
                self.uncounted[slot] = self.uncounted.get(slot, 0) + 1
                return None
            question = Question(self._next, topic, seen, event.decision.rule, first=event.at)
            self._next += 1
            self._keep(question)
        if seen.port is not None or question.seen.port is None:  # no consent is for an echo request
            question.seen, question.rule = seen, event.decision.rule
        question.count += 1
        question.tried += event.tried
        question.last = event.at
        question.answer = ""
        self._unshelve(question)
        if name:
            if name in question.names or len(question.names) < NAMES_KEPT:
                question.names[name] = question.names.get(name, 0) + 1
            else:
                question.more += 1
        if question.readable != HTTP:
            question.readable = _readable(seen, question.readable)
        self.changed.add(question.id)
        return question

    def close(self, question: Question, answer: str) -> None:
        """It is answered; `answer` says how and by whom."""
        question.answer = answer
        if self._by_id.get(question.id) is question:  # it may have made way meanwhile
            self._shelve(question)
            self.changed.add(question.id)

    def put_off(self, question: Question, until: float) -> None:
        question.put_off = until
        self.changed.add(question.id)

    def forget(self, slot: int) -> None:
        """The phone is no more."""
        for question in list(self._of_slot.get(slot, {}).values()):
            self._drop(question)
        self.uncounted.pop(slot, None)

    def _make_room(self, slot: int) -> bool:
        """For one more of this phone."""
        if self._size(slot) >= MOST_OF_A_PHONE:
            closed = self._closed_of.get(slot)
            leaves = next(iter(closed.values())) if closed else None
        elif len(self._by_id) < MOST:
            return True
        elif self._closed:
            leaves = next(iter(self._closed.values()))
        elif (leaves := self._of_a_stranger(slot)) is not None:
            other = leaves.topic.slot
            self.uncounted[other] = self.uncounted.get(other, 0) + leaves.count
        if leaves is None:
            return False
        self._drop(leaves)
        return True

    def _of_a_stranger(self, slot: int) -> Question | None:
        """The oldest question of the unnamed phone that has the most, for one of a phone that has fewer.

        Unnamed ones take a place only of who would still have as many as they: else two would take it in turns.
        """
        least = 1 if self._named(slot) else self._size(slot) + 2
        for size in range(MOST_OF_A_PHONE, least - 1, -1):
            slots = self._sizes[size]
            while slots:
                other = next(iter(slots))
                if not self._named(other):
                    return min(self._of_slot[other].values(), key=lambda one: (bool(one.answer), one.last))
                del slots[other]  # it was named since, which it stays
        return None

    def _size(self, slot: int) -> int:
        return len(self._of_slot.get(slot, ()))

    def _keep(self, question: Question) -> None:
        slot = question.topic.slot
        self._by_id[question.id] = question
        self._by_topic[question.topic] = question
        of_slot = self._of_slot.setdefault(slot, {})
        self._resize(slot, len(of_slot), len(of_slot) + 1)
        of_slot[question.id] = question

    def _drop(self, question: Question) -> None:
        slot = question.topic.slot
        del self._by_id[question.id]
        del self._by_topic[question.topic]
        self._unshelve(question)
        of_slot = self._of_slot[slot]
        self._resize(slot, len(of_slot), len(of_slot) - 1)
        del of_slot[question.id]
        if not of_slot:
            del self._of_slot[slot]
        self.changed.discard(question.id)
        self.gone.add(question.id)

    def _resize(self, slot: int, before: int, after: int) -> None:
        if before:
            known = slot in self._sizes[before]
            self._sizes[before].pop(slot, None)
        else:
            known = True
        if after and known:
            self._sizes[after][slot] = None

    def _shelve(self, question: Question) -> None:
        self._closed[question.id] = question
        self._closed_of.setdefault(question.topic.slot, {})[question.id] = question

    def _unshelve(self, question: Question) -> None:
        if self._closed.pop(question.id, None) is not None:
            of_slot = self._closed_of[question.topic.slot]
            del of_slot[question.id]
            if not of_slot:
                del self._closed_of[question.topic.slot]


def place_of(question: Question) -> dict[str, Any]:
    """As in a row of the history, without who it is registered for."""
    place = question.seen.place or Place()
    return {**place._asdict(), "operator": operator_of(place.asn)}


def _topic(slot: int, service: str, name: str, seen: Observation) -> Topic:
    if service:
        return Topic(slot, Subject(Kind.SERVICE, service))
    if name:
        return Topic(slot, Subject(Kind.NAME, registrable(name) or name))
    return Topic(slot, Subject(Kind.ADDR, str(ip_address(seen.addr)) if seen.addr else ""))


def _readable(seen: Observation, before: str) -> str:
    sources = {name.source for name in seen.said}
    if sources & {Source.HTTP, Source.HTTPDNS}:
        return HTTP
    if Source.DNS_ELSEWHERE in sources:
        return DNS
    if Source.XIAOMI in sources or Sign.XIAOMI in seen.signs:
        return PUSH
    if Sign.TUNNEL in seen.signs:
        return TUNNEL
    return TLS if sources else before
