"""What a consent would open, in words: what belongs to it, and which rules would refuse some of it all the same.

The rules are asked as `decide` asks them, about every host and network that the consent is for, with everything else
left open: where they stand, which port, what else is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rules.consent import Kind, Subject
from rules.networks import parse_network, show_range
from rules.observation import Observation
from rules.rule import MINE
from rules.verdict import Answer, Verdict
from rules.words import in_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rules.networks import Range
    from rules.policy import CompiledRule, Policy
    from rules.rule import Rule
    from rules.service import Service

MOST_SAID: Final = 20  # lines of one list
LIKELY: Final = frozenset({"country", "operator-country", "operator", "asn", "phone", "group"})


@dataclass(frozen=True, slots=True)
class Opening:
    words: str  # "opens service Xiaomi account and messaging"
    includes: tuple[str, ...]
    refused: tuple[str, ...]  # one sentence for each rule that would still refuse, with its id
    asked: bool  # some rule asks about it: else a consent for it changes nothing


@dataclass(slots=True)
class _Found:
    """What the rules say about one thing after the other."""

    asking: dict[str, Rule] = field(default_factory=dict)  # by id: those that the consent answers
    refusing: dict[str, tuple[Rule, list[str]]] = field(default_factory=dict)  # and those it does not, with what


def opening(policy: Policy, subject: Subject, phone: str | None, group: str, port: int = 443) -> Opening:
    """`phone` None: for every phone of `group`. A service that no pack has opens nothing."""
    found = _Found()
    things = list(_things(policy, subject, Observation(phone, "tcp", None, port, group=group, place=None)))
    for title, seen in things:
        _ask(policy, subject, title, seen, found)
    titles = {service.id: service.title for service in policy.services.values()}
    refused = [_still(rule, which, len(things), titles) for rule, which in found.refusing.values()]
    includes = [*_parts(policy, subject), *(f"rule {r.id} asks for: {r.note}" for r in found.asking.values() if r.note)]
    return Opening(f"opens {titled(policy, subject)}", _bounded(includes), _bounded(refused), bool(found.asking))


def titled(policy: Policy | None, subject: Subject) -> str:
    """What people call it."""
    match subject.kind:
        case Kind.SERVICE:
            service = policy.services.get(subject.what) if policy else None
            return f"service {service.title if service else subject.what}"
        case Kind.NAME:
            return f"{subject.what} and everything below"
        case Kind.ADDR:
            return f"{'network' if '/' in subject.what else 'address'} {subject.what}"


def _things(policy: Policy, subject: Subject, bare: Observation) -> Iterator[tuple[str, Observation]]:
    """Each host and network that it is for, as the rules would see a flow there."""
    match subject.kind:
        case Kind.SERVICE:
            service = policy.services.get(subject.what)
            for entry in service.entries if service else ():
                if entry.network is not None:
                    yield show_range(entry.network), bare._replace(addr=entry.network[0])
                else:
                    name = entry.pattern.removeprefix("=")
                    yield name, bare._replace(answered=((name,),))
        case Kind.NAME:
            yield subject.what, bare._replace(answered=((subject.what,),))
        case Kind.ADDR:
            yield subject.what, bare._replace(addr=parse_network(subject.what)[0], names_open=True)


def _ask(policy: Policy, subject: Subject, title: str, seen: Observation, found: _Found) -> None:
    """The rules from top to bottom, as decisions.md 4 has it: behind an ask that was answered only asks count."""
    case = policy.look_up(seen)
    answered = False
    for compiled in policy.compiled:
        rule, answer = compiled.rule, compiled.answer(case)
        if answer is Answer.NO or (answered and rule.action is not Verdict.ASK):
            continue
        if rule.action is Verdict.ASK and _answers(subject, compiled):
            if answer is Answer.YES:
                found.asking.setdefault(rule.id, rule)
                answered = True
        elif rule.action.refuses and _worth_saying(rule, answer):
            found.refusing.setdefault(rule.id, (rule, []))[1].append(title)
        if answer is Answer.YES and not answered:
            return


def _worth_saying(rule: Rule, answer: Answer) -> bool:
    """Sure ones, the owner's, and those by place. That a pack's list may hold the address as well helps nobody."""
    if answer is Answer.YES or rule.source == MINE:
        return True
    return LIKELY.issuperset(term.key for term in rule.expression.terms if not term.negated)


def _answers(subject: Subject, compiled: CompiledRule) -> bool:
    if subject.kind is not Kind.SERVICE:
        return True
    terms = compiled.rule.expression.terms
    return any(t.key == "service" and not t.negated and subject.what in t.matcher.values for t in terms)


def _still(rule: Rule, which: list[str], of: int, titles: dict[str, str]) -> str:
    does = "still refuses" if rule.action is Verdict.BLOCK else "still asks about"
    where = "" if len(which) == of else f", at {', '.join(which[:3])}{' and more' if len(which) > 3 else ''}"
    return f"rule {rule.id} ({rule}) {does} {in_words(rule.expression, titles)}{where}"


def _parts(policy: Policy, subject: Subject) -> Iterator[str]:
    """What belongs to it, and whose else it is."""
    match subject.kind:
        case Kind.SERVICE:
            service = policy.services.get(subject.what)
            for entry in service.entries if service else ():
                if entry.network is not None:
                    yield f"{show_range(entry.network)}, where no name is said or it is one of these"
                    continue
                name = entry.pattern.removeprefix("=")
                others = [s.title for s in policy.services.values() if s is not service and _has(s, name)]
                below = "" if entry.pattern.startswith("=") else " and everything below"
                yield f"{name}{below}{', also of ' if others else ''}{', '.join(others)}"
        case Kind.NAME:
            for one in policy.services.values():
                hosts = [e.pattern.removeprefix("=") for e in one.entries if e.pattern]
                inside = [host for host in hosts if f".{host}".endswith(f".{subject.what}")]
                if inside:
                    yield f"of service {one.title}: {', '.join(inside[:3])}{' and more' if len(inside) > 3 else ''}"
                elif _has(one, subject.what):
                    yield f"a part of service {one.title}"
        case Kind.ADDR:
            yield "every name that is served there, whatever it is"
            span = parse_network(subject.what)
            yield from (f"a part of service {one.title}" for one in policy.services.values() if _stands(one, span))


def _has(service: Service, name: str) -> bool:
    """Whether the name is the service's."""
    return any(
        name == e.pattern.removeprefix("=") or (e.pattern[:1] not in {"", "="} and name.endswith(f".{e.pattern}"))
        for e in service.entries
    )


def _stands(service: Service, span: Range) -> bool:
    """Whether the service has a network that overlaps this one."""
    networks = (entry.network for entry in service.entries if entry.network is not None)
    return any(len(n[0]) == len(span[0]) and n[0] <= span[1] and span[0] <= n[1] for n in networks)


def _bounded(lines: list[str]) -> tuple[str, ...]:
    more = len(lines) - MOST_SAID
    return (*lines[:MOST_SAID], *((f"and {more} more",) if more > 0 else ()))
