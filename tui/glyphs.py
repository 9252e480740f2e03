"""[pure] The characters that carry meaning, twice: for terminals that draw Unicode and for those that do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One cell each. A verdict's or a state's shape is told apart from the others without any colour."""

    verdicts: Mapping[str, str]  # word -> shape
    states: Mapping[str, str]  # word -> shape
    ramp: str  # from nothing to most, for sparklines and bars
    ellipsis: str
    line: str  # a horizontal rule is made of it
    quotes: tuple[str, str]
    choice: tuple[str, str]  # chosen, and not
    bar: tuple[str, str]  # what is left, and what is gone
    mark: str  # before a row that is marked
    small: str  # the ten digits behind a title; "": in brackets


UNICODE: Final = Glyphs(
    verdicts={"block": "✖", "ask": "?", "allow": "✔", "watch": "◐", "held": "◌", "consent": "◆"},
    states={"ENFORCING": "●", "WATCHING": "◐", "DEGRADED": "▲", "LOCKED": "■", "STARTING": "◌", "NO GATE": "✖"},
    ramp="▁▂▃▄▅▆▇█",
    ellipsis="…",
    line="─",
    quotes=("“", "”"),
    choice=("●", "○"),
    bar=("█", "░"),
    mark="▸",
    small="⁰¹²³⁴⁵⁶⁷⁸⁹",
)
ASCII: Final = Glyphs(
    verdicts={"block": "x", "ask": "?", "allow": "+", "watch": "~", "held": ".", "consent": "="},
    states={"ENFORCING": "*", "WATCHING": "~", "DEGRADED": "!", "LOCKED": "#", "STARTING": ".", "NO GATE": "x"},
    ramp="_.:-=+*#",
    ellipsis="~",
    line="-",
    quotes=('"', '"'),
    choice=("*", "o"),
    bar=("#", "-"),
    mark=">",
    small="",
)


def choose(encoding: str, term: str) -> Glyphs:
    """`encoding` is the locale's (nl_langinfo(3), CODESET). The Linux console's font lacks the shapes."""
    return UNICODE if encoding.lower().replace("-", "") == "utf8" and term not in {"linux", "dumb"} else ASCII
