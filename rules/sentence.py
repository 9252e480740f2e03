"""A rule as it is typed: its action, and what it is about. `block name:example.com phone:phone1`."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, NamedTuple

from rules.expression import Expression, ExpressionError, parse_rule
from rules.rule import ACTIONS

if TYPE_CHECKING:
    from collections.abc import Collection

    from rules.verdict import Verdict


class Sentence(NamedTuple):
    action: Verdict
    expression: Expression

    def __str__(self) -> str:
        return f"{self.action} {self.expression}".rstrip()


def parse_sentence(text: str, services: Collection[str] | None = None) -> Sentence:
    """Raises ExpressionError, whose places count in `text`."""
    start = len(text) - len(text.lstrip(" "))
    end = text.find(" ", start)
    end = len(text) if end < 0 else end
    word = text[start:end]
    action = next((action for action in ACTIONS if action == word), None)
    if action is None:
        words = ", ".join(ACTIONS)
        close = difflib.get_close_matches(word, ACTIONS, n=1)
        remedy = f"did you mean {close[0]}?" if close else f"a rule begins with one of {words}"
        raise ExpressionError(f"{word!r} is no action" if word else "a rule is missing", start, end, remedy)
    try:
        return Sentence(action, parse_rule(text[end:], services))
    except ExpressionError as error:
        raise ExpressionError(error.message, end + error.start, end + error.end, error.remedy) from None
