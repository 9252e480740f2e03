"""Rules that can never match, because an earlier one always matches first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.rule import MINE

if TYPE_CHECKING:
    from rules.expression import Term
    from rules.policy import Policy
    from rules.rule import Rule

BY_NAME = frozenset({"name", "service"})  # terms that ask all sources in order to open, and any in order to refuse


def lint(policy: Policy) -> tuple[str, ...]:
    """One sentence for each rule that is hidden. Says nothing where it is not sure."""
    found = []
    earlier: list[Rule] = []
    for rule in policy.rules:
        if not rule.enabled:
            continue
        above = next((above for above in earlier if _hides(above, rule)), None)
        if above is not None:
            whose = "your own" if above.source == MINE else "the"
            found.append(f"rule {rule.id} ({rule}) can never match: {whose} rule {above.id} ({above}) matches first")
        earlier.append(rule)
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
