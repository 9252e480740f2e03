"""Rules that can never match, because an earlier one always matches first or because nobody is called so."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from rules.rule import MINE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from rules.expression import Term
    from rules.policy import Policy
    from rules.rule import Rule

ANYWHERE = frozenset({"phone", "group", "proto", "port", "time", "day"})  # terms that say nothing of where to
BY_NAME = frozenset({"name", "service"})  # terms that ask all sources in order to open, and any in order to refuse


def lint(policy: Policy) -> tuple[str, ...]:
    """One sentence for each rule that is hidden. Says nothing where it is not sure."""
    rules = {rule.id: rule for rule in policy.rules}
    found = list(_lays_open(policy))
    for id_, by in hidden(policy).items():
        above = rules[by]
        whose = "your own" if above.source == MINE else "the"
        found.append(f"rule {id_} ({rules[id_]}) can never match: {whose} rule {by} ({above}) matches first")
    return tuple(found)


def _lays_open(policy: Policy) -> Iterator[str]:
    """The owner's rules that open more than the internet: what phones send each other, too."""
    rules = [rule for rule in policy.rules if rule.enabled]
    between = next((at for at, rule in enumerate(rules) if rule.action.refuses and _is_between(rule)), 0)
    for rule in rules[:between]:
        terms = rule.expression.terms
        if rule.source == MINE and not rule.action.refuses and all(t.negated or t.key in ANYWHERE for t in terms):
            keeps = rules[between]
            yield f"rule {rule.id} ({rule}) lets phones reach each other too: above it, {keeps} would keep them apart"


def _is_between(rule: Rule) -> bool:
    return any(term.key == "via" and "neighbour" in term.matcher.values for term in rule.expression.terms)


def hidden(policy: Policy) -> dict[str, str]:
    """Id of a rule that can never match -> id of the one that always matches first."""
    found = {}
    earlier: list[Rule] = []
    for rule in policy.rules:
        if not rule.enabled:
            continue
        above = next((above for above in earlier if _hides(above, rule)), None)
        if above is not None:
            found[rule.id] = above.id
        earlier.append(rule)
    return found


def strangers(policy: Policy, phones: Collection[str], groups: Collection[str]) -> tuple[str, ...]:
    """One sentence for each name in the owner's rules that no phone, or no group, has."""
    found = []
    for rule in policy.rules:
        for term in rule.expression.terms if rule.source == MINE and rule.enabled else ():
            if term.key not in {"phone", "group"}:
                continue
            known = phones if term.key == "phone" else groups
            for value in term.matcher.values:
                if value not in known:
                    close = difflib.get_close_matches(value, known, n=1)
                    hint = f"; did you mean {close[0]}?" if close else ""
                    found.append(f"rule {rule.id} ({rule}): no {term.key} is called {value}{hint}")
    return tuple(found)


def _hides(above: Rule, below: Rule) -> bool:
    """Whatever `below` matches, `above` matches: each of its terms is in `below` too, at least as narrow.

    An allow rule is no cover for a refusal by the same name: it opens if all sources say that name, and the rule below
    refuses the rest, where only some do.
    """
    terms = above.expression.terms
    if below.action.refuses and not above.action.refuses and any(term.key in BY_NAME for term in terms):
        return False
    return all(any(_covers(wide, narrow) for narrow in below.expression.terms) for wide in terms)


def _covers(wide: Term, narrow: Term) -> bool:
    if (wide.key, wide.negated) != (narrow.key, narrow.negated):
        return False
    more, fewer = (narrow, wide) if wide.negated else (wide, narrow)
    return set(more.matcher.values) >= set(fewer.matcher.values)
