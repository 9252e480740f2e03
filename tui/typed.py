"""[pure] A rule while it is typed: what it says so far, what is wrong with it and where, and what could stand there."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from rules.expression import IN_RULES, ExpressionError, parse_rule
from rules.rule import ACTIONS, Rule

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_FIXED: Final[dict[str, tuple[str, ...]]] = {  # values that no gateway has to be asked for
    "proto": ("tcp", "udp", "icmp"),
    "via": ("sni", "http", "dns", "ambiguous", "unfinished", "none"),
}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the owner may name: the answer of the verb "vocabulary". `services` is None until it has come."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _FIXED)  # key of a term -> its values
    services: tuple[str, ...] | None = None

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        services = tuple(str(one["id"]) for one in told.get("services", ()))
        values = {
            "service": services,
            "operator": tuple(str(one["id"]) for one in told.get("operators", ())),
            "phone": tuple(map(str, told.get("phones", ()))),
            "group": tuple(map(str, told.get("groups", ()))),
        }
        return cls(_FIXED | values, services)


class Completion(NamedTuple):
    """`options` may replace the characters from `start` up to the cursor. Each is whole."""

    start: int
    options: tuple[str, ...]

    @property
    def common(self) -> str:
        """With what all of them begin."""
        first, last = min(self.options), max(self.options)
        same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
        return "".join(letter for letter, _ in same)


def read(text: str, services: Collection[str] | None) -> Rule:
    """`block name:x` as a rule without an id. Raises ExpressionError, with places in the whole of `text`."""
    begin = len(text) - len(text.lstrip())
    word = text[begin:].partition(" ")[0]
    end = begin + len(word)
    action = next((action for action in ACTIONS if action == word), None)
    if action is None:
        words = ", ".join(ACTIONS)
        message = f"{word!r} is no action" if word else "an action is missing"
        raise ExpressionError(message, begin, end, f"a rule begins with one of {words}")
    try:
        return Rule("", action, parse_rule(text[end:], services))
    except ExpressionError as error:
        raise ExpressionError(error.message, error.start + end, error.end + end, error.remedy) from None


def complete(text: str, cursor: int, vocabulary: Vocabulary) -> Completion:
    """What could stand at the cursor; no options if nothing is known or the word is whole."""
    start = _token(text, cursor)
    word = text[start:cursor]
    if not text[:start].strip():
        return Completion(start, _matching(word, [f"{action} " for action in ACTIONS]))
    start += word.startswith("-")
    key, colon, value = text[start:cursor].partition(":")
    if not colon:
        return Completion(start, _matching(key, [f"{key}:" for key in IN_RULES]))
    start = cursor - len(value.rpartition(",")[2])
    options = [_quoted(option) for option in vocabulary.values.get(key, ())]
    return Completion(start, _matching(text[start:cursor], options))


def term(key: str, value: str) -> str:
    """As the language writes it."""
    return f"{key}:{_quoted(value)}"


def _token(text: str, cursor: int) -> int:
    """Where the term under the cursor begins: behind the last space that stands in no quotes."""
    start, quoted = 0, False
    for at, letter in enumerate(text[:cursor]):
        if letter == '"':
            quoted = not quoted
        elif letter == " " and not quoted:
            start = at + 1
    return start


def _matching(word: str, options: Sequence[str]) -> tuple[str, ...]:
    """Those that begin with the word; else those that contain it."""
    begin = [option for option in options if option.lstrip('"').startswith(word.lstrip('"')) and option != word]
    if begin or word in options:
        return tuple(begin)
    return tuple(option for option in options if len(word) > 1 and word in option)


def _quoted(value: str) -> str:
    return f'"{value}"' if not value or any(letter in ' ,"' for letter in value) else value
