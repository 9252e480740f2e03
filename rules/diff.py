"""A dry run: what would be decided otherwise if the rules were others. Nothing is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from rules.decide import decide
from rules.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from rules.observation import Observation
    from rules.policy import Policy
    from rules.verdict import Decision

EXAMPLES: Final = 5
MOST_MET: Final = 10_000
QUESTION: Final = "dns"  # the protocol of a row that is a DNS question


class Past(Protocol):
    """What is kept of decisions: firewall.episode.Episode is one."""

    @property
    def seen(self) -> Observation: ...
    @property
    def phone(self) -> str: ...
    @property
    def proto(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def dst(self) -> str: ...
    @property
    def dport(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def last(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Example:
    phone: str
    what: str
    before: str
    after: str
    last: float  # epoch seconds
    count: int

    def to_json(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in ("phone", "what", "before", "after", "last", "count")}


@dataclass(slots=True)
class Diff:
    """`of`: decisions looked at; `changed`: those that would be others."""

    of: int = 0
    changed: int = 0
    examples: list[Example] = field(default_factory=list)


def compare(before: Policy, after: Policy, past: Iterable[Past], known: list[Verdict] | None = None) -> Diff:
    """Both policies judge what was seen: what was decided then may be an older policy's word.

    The examples are of different phones and places, those with the most decisions first. `known`: what `before` says of
    the first rows, from an earlier call with the same; it is continued.
    """
    known = [] if known is None else known
    diff = Diff()
    met: dict[tuple[str, str, str, str], tuple[int, float]] = {}  # -> decisions, time of the last
    for at, row in enumerate(past):
        diff.of += row.count
        if at == len(known):
            known.append(_verdict(before, row))
        old, new = known[at], _verdict(after, row)
        if old is new:
            continue
        diff.changed += row.count
        key = row.phone, row.name or f"{row.dst}:{row.dport}", str(old), str(new)
        if key in met or len(met) < MOST_MET:
            count, last = met.get(key, (0, 0.0))
            met[key] = count + row.count, max(last, row.last)
    most = sorted(met.items(), key=lambda item: item[1], reverse=True)[:EXAMPLES]
    diff.examples = [Example(*key, last, count) for key, (count, last) in most]
    return diff


def _verdict(policy: Policy, row: Past) -> Verdict:
    if row.proto != QUESTION:
        return decide(policy, row.seen).verdict
    verdict = decide(policy, row.seen._replace(names_open=True)).verdict  # as the gateway asks: the flow is to come
    return verdict if verdict is Verdict.BLOCK else Verdict.ALLOW  # it would be answered, and the flow judged


def cuts(after: Policy, live: Iterable[tuple[Observation, Decision]], watched: Collection[str] = ()) -> tuple[int, int]:
    """How many of these live flows would be cut, and how many pass now. Flows of `watched` phones go on whatever."""
    cut = passing = 0
    for seen, decision in live:
        if decision.verdict.refuses or decision.verdict is Verdict.HELD:
            continue
        passing += 1
        cut += seen.phone not in watched and decide(after, seen).verdict.refuses
    return cut, passing
