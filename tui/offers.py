"""[pure] What an owner may want to allow or block, seen from one row: the most specific first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rules.domain import registrable
from rules.expression import ExpressionError, parse_rule, quote
from rules.matchers.history import NONE

if TYPE_CHECKING:
    from firewall.episode import Episode

EXACT: Final = {"name": "to", "operator": "run-by"}  # what groups are called by is not always what a rule would ask


class Offer(NamedTuple):
    """`key` chooses it; `words` are for a person, `term` for the rule."""

    key: str
    words: str
    term: str


def whats(episode: Episode) -> tuple[Offer, ...]:
    """Name, domain, service, address: as far as the row has them, and a rule can say them (a hostile name may not)."""
    found = []
    if episode.name:
        found.append(Offer("n", f"{episode.name}, nothing below it", term("name", f"={episode.name}")))
        if domain := registrable(episode.name):
            found.append(Offer("d", f"{domain} and everything below it", term("name", domain)))
    if episode.service:
        found.append(Offer("s", f"service {episode.service}", term("service", episode.service)))
    if episode.dst:
        found.append(Offer("a", episode.dst, term("addr", episode.dst)))
    return tuple(filter(_sayable, found))


def whose(episode: Episode) -> tuple[Offer, ...]:
    """For this phone, for its group if it has one, for everyone."""
    this = Offer("", f"this phone ({episode.phone})", term("phone", episode.phone))
    family = (Offer("", f"group {episode.group}", term("group", episode.group)),) if episode.group else ()
    return (*filter(_sayable, (this, *family)), Offer("", "everyone", ""))


def rule(action: str, what: Offer, who: Offer) -> str:
    """As the language writes it."""
    return " ".join(part for part in (action, what.term, who.term) if part)


def term(key: str, value: str) -> str:
    """As the language writes it."""
    return f"{key}:{quote(value)}"


def exactly(by: str, key: str) -> str:
    """The term of a filter that leaves the rows of one group (verb "history.groups"), and no others."""
    return term(EXACT.get(by, by), key or NONE)


def _sayable(offer: Offer) -> bool:
    try:
        parse_rule(offer.term)
    except ExpressionError:
        return False
    return True
