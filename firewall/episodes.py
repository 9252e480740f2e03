"""[pure] Decisions folded into episodes: one row for many tries of one phone at one place with one verdict."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from firewall.episode import Episode
from firewall.events import FlowBytes, FlowDecided, FlowResumed
from rules.observation import NOWHERE, Sign
from rules.operators import operator_of

if TYPE_CHECKING:
    from firewall.events import Event
    from firewall.inputs import FlowKey
    from rules.observation import Observation
    from rules.verdict import Decision

OPEN_SECONDS: Final = 60.0  # from its first try on; closed episodes never change
MOST_OPEN: Final = 20_000
MOST_FLOWS: Final = 100_000  # flows whose bytes find their episode
TRIES_SHOWN: Final = 60

Key = tuple[str, str, object, str, str, int, int, bool]


class Episodes:
    """`next_id` is above every id in the history. A row given out may still grow until `close` gives it out again."""

    def __init__(self, next_id: int) -> None:
        self._next_id = next_id
        self._open: OrderedDict[Key, Episode] = OrderedDict()  # in the order of their first try
        self._flows: OrderedDict[FlowKey, FlowDecided | FlowResumed] = OrderedDict()

    def fold(self, event: Event) -> Episode | None:
        """The episode that this event changed, if any."""
        if isinstance(event, FlowDecided):
            flow = event.flow
            key = _key(event.seen, event.decision, question=flow is None)
            episode = self._growing(key, event.at)
            if episode is None:
                episode = self._begin(key, event, tries=1)
            else:
                episode.count += 1
                episode.last = event.at
                second = int(event.at - episode.first)
                if 0 <= second < TRIES_SHOWN:
                    episode.tries[second] = episode.tries.get(second, 0) + 1
            if flow is not None:
                self._remember(flow, event)
            return episode
        if isinstance(event, FlowResumed):
            self._remember(event.flow, event)
        elif isinstance(event, FlowBytes):
            decided = self._flows.pop(event.flow, None) if event.ended else self._flows.get(event.flow)
            if decided is None or not (event.up or event.down):
                return None
            key = _key(decided.seen, decided.decision, question=False)
            # A closed episode is immutable: bytes of a flow that lives on stand in one that counts no new try.
            episode = self._growing(key, event.at) or self._begin(key, decided, tries=0, at=event.at)
            episode.bytes_up += event.up
            episode.bytes_down += event.down
            episode.last = max(episode.last, event.at)
            return episode
        return None

    def _growing(self, key: Key, at: float) -> Episode | None:
        """The open one, if its time is not up: where the machine has slept, nobody has closed it yet."""
        episode = self._open.get(key)
        if episode is None or episode.first <= at < episode.first + OPEN_SECONDS:
            return episode
        del self._open[key]
        return None

    @property
    def closed(self) -> int:
        """Every row up to this id is closed: it has been given out for the last time. Rows close in their order."""
        oldest = next(iter(self._open.values()), None)
        return self._next_id - 1 if oldest is None else oldest.id - 1

    def close(self, now: float) -> tuple[Episode, ...]:
        """Those whose time is up, for the last time."""
        closed = []
        while self._open:
            key, episode = next(iter(self._open.items()))
            if episode.first + OPEN_SECONDS > now and len(self._open) <= MOST_OPEN and episode.first <= now:
                break
            del self._open[key]
            closed.append(episode)
        return tuple(closed)

    def _begin(self, key: Key, event: FlowDecided | FlowResumed, *, tries: int, at: float | None = None) -> Episode:
        seen, decision = event.seen, event.decision
        when = event.at if at is None else at
        name, via = best_name(seen)
        place = seen.place or NOWHERE
        episode = self._open[key] = Episode(
            id=self._next_id,
            phone=seen.phone or "",
            src=str(ip_address(event.src)),
            dst=str(ip_address(seen.addr)) if seen.addr else "",
            dport=seen.port or 0,
            proto=seen.proto or "dns",
            name=name,
            names=seen.names,
            answered=seen.answered,
            via=via,
            service=decision.service,
            verdict=str(decision.verdict),
            rule=decision.rule,
            reason=decision.reason,
            revision=decision.revision,
            count=tries,
            first=when,
            last=when,
            tries={0: tries} if tries else {},
            group=seen.group or "",
            place=place,
            operator=operator_of(place.asn),
            consent=decision.consent,
            signs=seen.signs,
        )
        self._next_id += 1
        return episode

    def _remember(self, flow: FlowKey, event: FlowDecided | FlowResumed) -> None:
        self._flows[flow] = event
        if len(self._flows) > MOST_FLOWS:
            self._flows.popitem(last=False)


def best_name(seen: Observation) -> tuple[str, str]:
    """The name to show and where it is from, as `via:` would say: the flow's own word before what DNS answered."""
    if seen.said:
        return seen.said[0].name, "unfinished" if seen.unfinished else str(seen.said[0].source)
    if len(seen.answered) == 1:
        return seen.answered[0][0], "dns"
    if seen.answered:
        return "", "ambiguous"
    sign = next((str(sign) for sign in seen.signs if sign is not Sign.HIDDEN), "none")
    return "", "unfinished" if seen.unfinished else sign


@lru_cache(maxsize=4_096)  # phones do the same again and again
def _key(seen: Observation, decision: Decision, *, question: bool) -> Key:
    name = best_name(seen)[0]
    place: object = name or (seen.addr, seen.port, seen.proto, seen.answered), seen.signs
    # a rule that is edited keeps its id: what one revision decided and what the next one does are two rows
    by = decision.rule, decision.verdict, decision.consent, decision.revision
    return seen.phone or "", decision.service, place, *by, question
