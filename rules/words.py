"""A rule read back in the words of a person.

`block country:CN -service:xiaomi-account phone:anna` is "refuse everything in China, except service Xiaomi account and
messaging, for phone anna".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rules.countries import country_name
from rules.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rules.expression import Expression, Term

ACTS: Final = {Verdict.ALLOW: "allow", Verdict.ASK: "refuse and ask about", Verdict.BLOCK: "refuse"}
VIA: Final = {
    "dns": "a name from our DNS",
    "sni": "a name in its TLS hello",
    "quic": "a name in its QUIC hello",
    "http": "a name in its HTTP request",
    "xiaomi": "a name in Xiaomi's own protocol",
    "ambiguous": "several names to choose from",
    "none": "no name at all",
    "unfinished": "a hello that was begun and not finished",
    "httpdns": "a question past our DNS",
    "hidden": "a name that may hide another",
    "tunnel": "a tunnel's first bytes",
    "quic-unknown": "QUIC that nobody can read",
    "dot": "DNS over TLS",
    "doq": "DNS over QUIC",
    "dns-elsewhere": "a plain DNS question past ours",
    "neighbour": "another phone at the far end",
}
UNITS: Final = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
WHO: Final = ("phone", "group")  # said last, as in "for phone anna"


def sentence(action: Verdict, expression: Expression, titles: Mapping[str, str] | None = None) -> str:
    """What a rule does, as one sentence without its full stop."""
    return f"{ACTS[action]} {in_words(expression, titles)}"


def in_words(expression: Expression, titles: Mapping[str, str] | None = None) -> str:
    """What an expression is about. `titles`: id of a service or operator -> what people call it."""
    told = _Told(titles or {})
    what = [term for term in expression.terms if term.key not in WHO]
    positive = [term for term in what if not term.negated]
    negative = [term for term in what if term.negated]
    parts = " ".join(["everything", *(told.phrase(term) for term in positive)])
    for term in negative:
        parts += f", except {told.bare(term)}"
    who = [told.who(term) for term in expression.terms if term.key in WHO]
    comma = "," if negative and who else ""
    return f"{parts}{comma} {' '.join(who)}".rstrip()


class _Told:
    def __init__(self, titles: Mapping[str, str]) -> None:
        self._titles = titles
        self._nouns: dict[str, tuple[str, Callable[[str], str]]] = {  # key -> preposition, noun of one value
            "name": ("to", _host),
            "addr": ("to", str),
            "service": ("to", lambda value: f"service {self._title(value)}"),
            "list": ("to", lambda value: f"list {value}"),
            "country": ("in", country_name),
            "operator-country": ("run from", country_name),
            "operator": ("run by", self._title),
            "asn": ("run by", lambda value: f"AS{value.upper().removeprefix('AS')}"),
            "proto": ("over", _protocol),
            "port": ("at", lambda value: f"ports {value.replace('-', ' to ')}" if "-" in value else f"port {value}"),
            "via": ("with", lambda value: VIA.get(value, value)),
            "verdict": ("with verdict", str),
            "rule": ("decided by", lambda value: f"rule {value}"),
            "last": ("seen in the last", _span),
            "who": ("done by", str),
            "to": ("shown as going to", str),
            "run-by": ("shown as run by", str),
        }

    def phrase(self, term: Term) -> str:
        """`country:CN` as "in China"."""
        preposition, noun = self._nouns.get(term.key, (f"with {term.key}", str))
        return f"{preposition} {_any(map(noun, term.matcher.values))}"

    def bare(self, term: Term) -> str:
        """What stands behind "except": places and hosts without their preposition."""
        preposition, noun = self._nouns.get(term.key, (f"with {term.key}", str))
        values = _any(map(noun, term.matcher.values))
        return values if preposition == "to" else f"{preposition} {values}"

    def who(self, term: Term) -> str:
        words = _any(f"{term.key} {value}" for value in term.matcher.values)
        if not term.negated:
            return f"for {words}"
        if term.key == "phone":
            return f"for every phone but {_any(term.matcher.values)}"
        return f"for every phone outside {words}"

    def _title(self, word: str) -> str:
        return self._titles.get(word, word)


def _host(pattern: str) -> str:
    return f"host {pattern[1:]} alone" if pattern.startswith("=") else f"{pattern} and below"


def _protocol(word: str) -> str:
    return word.upper() if not word.isdigit() else f"protocol {word}"


def _span(text: str) -> str:
    number, unit = text[:-1], UNITS.get(text[-1:], text[-1:])
    return unit if number == "1" else f"{number} {unit}s"


def _any(values: Iterable[str]) -> str:
    words: Sequence[str] = list(values)
    if len(words) > 4:
        return f"{', '.join(words[:3])} or {len(words) - 3} others"
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else "".join(words)
