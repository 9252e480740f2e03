"""[pure] What an owner may want to allow or block, seen from one row, or from several: the most specific first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rules.domain import registrable
from rules.expression import ExpressionError, parse_rule, quote
from rules.matchers.history import NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from firewall.episode import Episode

EXACT: Final = {"name": "to", "operator": "run-by"}  # what groups are called by is not always what a rule would ask


class Offer(NamedTuple):
    """`key` chooses it; `words` are for a person, `term` for the rule."""

    key: str
    words: str
    term: str


def whats(episodes: Sequence[Episode]) -> tuple[Offer, ...]:
    """Names, domains, services, addresses: what each row has, and one rule can say (a hostile name it may not)."""
    found = []
    if names := _each(episodes, lambda row: row.name):
        words = f"{_all(names, 'names')}, nothing below {_it(names)}"
        found.append(Offer("n", words, term("name", *(f"={name}" for name in names))))
    if domains := _each(episodes, lambda row: registrable(row.name)):
        words = f"{_all(domains, 'domains')} and everything below {_it(domains)}"
        found.append(Offer("d", words, term("name", *domains)))
    if services := _each(episodes, lambda row: row.service):
        found.append(Offer("s", _all(services, "services", "service "), term("service", *services)))
    if addresses := _each(episodes, lambda row: row.dst):
        found.append(Offer("a", _all(addresses, "addresses"), term("addr", *addresses)))
    return tuple(filter(_sayable, found))


def whose(episodes: Sequence[Episode]) -> tuple[Offer, ...]:
    """For these phones, for their groups if they have one, for everyone: all of it for each of them."""
    phones, groups = _each(episodes, lambda row: row.phone), _each(episodes, lambda row: row.group)
    found = []
    if phones:
        words = f"this phone ({phones[0]})" if len(phones) == 1 else f"each of {len(phones)} phones"
        found.append(Offer("", words, term("phone", *phones)))
    if groups:
        found.append(Offer("", _all(groups, "groups", "group "), term("group", *groups)))
    return (*filter(_sayable, found), Offer("", "everyone", ""))


def rule(action: str, what: Offer, who: Offer) -> str:
    """As the language writes it."""
    return " ".join(part for part in (action, what.term, who.term) if part)


def term(key: str, *values: str) -> str:
    """As the language writes it."""
    return f"{key}:{','.join(map(quote, values))}"


def exactly(by: str, key: str) -> str:
    """The term of a filter that leaves the rows of one group (verb "history.groups"), and no others."""
    return term(EXACT.get(by, by), key or NONE)


def _each(episodes: Iterable[Episode], fact: Callable[[Episode], str | None]) -> list[str]:
    """The same fact of all rows, each value once; none if one of them is without."""
    found = list(dict.fromkeys(map(fact, episodes)))
    return [value for value in found if value] if all(found) else []


def _it(values: Sequence[str]) -> str:
    return "it" if len(values) == 1 else "them"


def _all(values: Sequence[str], noun: str, before: str = "") -> str:
    return f"{before}{values[0]}" if len(values) == 1 else f"{len(values)} {noun} ({', '.join(values)})"


def _sayable(offer: Offer) -> bool:
    try:
        parse_rule(offer.term)
    except ExpressionError:
        return False
    return True
