"""`country:CN,HK` is where the machine stands, `operator-country:CN` where its operator is at home."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from rules.countries import COUNTRIES
from rules.index import Atom
from rules.matchers import ValueProblem, by_fact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rules.index import Case
    from rules.verdict import Answer

# What people say as well, and ISO 3166-1 does not. (Kosovo's XK is user-assigned, and the databases use it.)
OTHERS = {"UK": "GB", "EL": "GR", "USA": "US", "CHN": "CN", "RUS": "RU", "ENGLAND": "GB", "AMERICA": "US", "EU": ""}
ASSIGNED = COUNTRIES.keys() | {"XK"}


def parse_country(text: str) -> str:
    """Raises ValueError with what to write instead."""
    code = text.upper()
    if code in ASSIGNED:
        return code
    if code in OTHERS:
        here = OTHERS[code]
        raise ValueError(f"did you mean {here}?" if here else "write its countries, separated by commas")
    names = {name.upper(): code for code, name in COUNTRIES.items()}
    close = [name for name in names if code and name.startswith(code)] or difflib.get_close_matches(code, names, n=1)
    if len(code) > 2 and close:
        raise ValueError(f"countries are written with two letters; did you mean {names[close[0]]}?")
    raise ValueError("write the two letters of ISO 3166-1, such as CN, US or DE")


@dataclass(frozen=True, slots=True)
class CountryMatcher:
    key: ClassVar[str] = "country"
    kind: ClassVar[str] = "country"  # the fact it asks for
    besides: ClassVar[frozenset[str]] = frozenset()  # what it knows that is no country
    values: tuple[str, ...]

    @classmethod
    def parse(cls, values: Sequence[str]) -> Self:
        codes = []
        for position, value in enumerate(values):
            try:
                codes.append(value if value in cls.besides else parse_country(value))
            except ValueError as error:
                raise ValueProblem(position, f"{value!r} is no country", str(error)) from None
        return cls(tuple(codes))

    def atom(self) -> Atom:
        return Atom(facts=tuple((self.kind, code) for code in self.values))

    def test(self, case: Case, bit: int, *, opening: bool) -> Answer:  # noqa: ARG002  databases tell both the same
        return by_fact(case, bit)


@dataclass(frozen=True, slots=True)
class OperatorCountryMatcher(CountryMatcher):
    key: ClassVar[str] = "operator-country"
    kind: ClassVar[str] = "operator_country"
