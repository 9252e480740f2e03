"""What can be typed next: actions, terms and their values, for the TUI's lines and the shell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from rules.countries import COUNTRIES
from rules.expression import IN_FILTERS, IN_RULES, quote
from rules.matchers.history import REFUSED
from rules.matchers.via import WORDS as WAYS
from rules.rule import ACTIONS
from rules.verdict import Verdict
from rules.words import ACTS, VIA

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

MOST: Final = 50
TERMS: Final = {  # what stands beside a term while it is chosen
    "phone": "one phone, by its name",
    "group": "phones of a group",
    "name": "a host and everything below it",
    "addr": "an address or network",
    "service": "what a pack has gathered",
    "list": "a list of hosts",
    "country": "where the machine stands",
    "operator-country": "where its operator is at home",
    "operator": "who runs it",
    "asn": "the number of its network",
    "proto": "tcp, udp, icmp",
    "port": "of the far end",
    "via": "how the name was learnt",
    "verdict": "what became of it",
    "rule": "which rule decided",
    "to": "the name or address that the row shows, nothing below it",
    "run-by": "who runs it, as the row shows it",
    "last": "seen within 90s, 15m, 1h, 7d",
    "who": "who did it",
}


class Completion(NamedTuple):
    """Put `text` in the place of `start` to `end` of what was typed. `hint` says what it means."""

    start: int
    end: int
    text: str
    hint: str


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the gateway knows by name; `from_json` reads the answer of its verb `vocabulary`."""

    services: tuple[tuple[str, str], ...] = ()  # id, title
    operators: tuple[tuple[str, str], ...] = ()
    phones: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    rules: tuple[tuple[str, str], ...] = ()  # id, what it says

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        def pairs(key: str, title: str) -> tuple[tuple[str, str], ...]:
            return tuple((one["id"], one[title]) for one in told.get(key, ()))

        return cls(
            pairs("services", "title"), pairs("operators", "title"), tuple(told.get("phones", ())),
            tuple(told.get("groups", ())), pairs("rules", "says"),
        )

    @property
    def titles(self) -> dict[str, str]:
        """As rules.words wants them."""
        return dict(self.services) | dict(self.operators)

    def values(self, key: str) -> Iterable[tuple[str, str]]:
        """The values that can stand behind `key:`, each with what it means."""
        match key:
            case "service":
                return self.services
            case "operator" | "run-by":
                return self.operators
            case "phone":
                return ((phone, "") for phone in self.phones)
            case "group":
                return ((group, "") for group in self.groups)
            case "rule":
                return self.rules
            case "country" | "operator-country":
                return COUNTRIES.items()
            case "proto":
                return (("tcp", ""), ("udp", ""), ("icmp", "ICMPv6 as well"))
            case "via":
                return ((way, VIA.get(way, "")) for way in WAYS)
            case "verdict":
                return ((REFUSED, "ask or block"), *((str(verdict), "") for verdict in Verdict))
            case "last":
                return (("15m", ""), ("1h", ""), ("24h", ""), ("7d", ""))
        return ()


def completions(
    text: str, cursor: int, vocabulary: Vocabulary, *, rule: bool = True, terms: Collection[str] = ()
) -> list[Completion]:
    """For the word before the cursor, best first. `rule`: the text is a whole rule with its action; else a filter.
    `terms`: those that are known, unless it is all of them.
    """
    start, quoted, value_at = _word(text, cursor)
    typed = text[start:cursor]
    if rule and not text[:start].strip():
        found = [(str(action), ACTS[action]) for action in ACTIONS]
        return [Completion(start, cursor, f"{word} ", hint) for word, hint in _matching(typed, found)]
    minus = "-" if typed.startswith("-") else ""
    key, colon, _ = typed[len(minus) :].partition(":")
    known = terms or (IN_RULES if rule else IN_FILTERS)
    if not colon:
        told = [(f"{term}:", TERMS.get(term, "")) for term in known]
        begun = [(term, hint) for term, hint in told if term.startswith(key)]
        close = begun or [(term, hint) for term, hint in told if key in term]
        return [Completion(start + len(minus), cursor, term, hint) for term, hint in close]
    if key not in known:
        return []
    value = text[value_at:cursor]
    values = _matching(value.removeprefix('"') if quoted else value, vocabulary.values(key))
    return [Completion(value_at, cursor, quote(word), hint) for word, hint in values]


def _word(text: str, cursor: int) -> tuple[int, bool, int]:
    """Where the word before the cursor begins, whether the cursor is inside quotes, where its last value begins."""
    start = value = 0
    quoted = False
    for at, character in enumerate(text[:cursor]):
        if character == '"':
            quoted = not quoted
        elif not quoted and character == " ":
            start = value = at + 1
        elif not quoted and (character == "," or (character == ":" and ":" not in text[start:at])):
            value = at + 1
    return start, quoted, value


def _matching(begun: str, words: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those that begin so come first, then those that have it somewhere, in the word or in what it means."""
    low = begun.lower()
    ranked = []
    for word, hint in words:
        if word.lower().startswith(low):
            ranked.append((0, word, hint))
        elif low and hint.lower().startswith(low):
            ranked.append((1, word, hint))
        elif low and (low in word.lower() or low in hint.lower()):
            ranked.append((2, word, hint))
    ranked.sort(key=lambda one: one[0])
    return [(word, hint) for _, word, hint in ranked[:MOST]]
