"""Rules that can never match, because an earlier one always matches first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.rule import MINE

if TYPE_CHECKING:
    from rules.policy import Policy


def lint(policy: Policy) -> tuple[str, ...]:
    """One sentence for each rule that is hidden: all terms of an earlier rule are among its own."""
    found = []
    earlier: list[tuple[str, str, frozenset[str]]] = []
    for rule in policy.rules:
        if not rule.enabled:
            continue
        terms = frozenset(map(str, rule.expression.terms))
        hiding = next(((name, source) for name, source, less in earlier if less <= terms), None)
        if hiding is not None:
            whose = "your own" if hiding[1] == MINE else "the"
            found.append(f"rule {rule.id} ({rule}) can never match: {whose} rule {hiding[0]} above it always does")
        earlier.append((rule.id, rule.source, terms))
    return tuple(found)
