"""[pure] What a filter may ask of the rows that are no flows: which terms each list knows, and what its rows answer."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from rules.expression import IN_RULES, Expression, ExpressionError, parse_rule
from rules.observation import NOWHERE, Name, Observation, Place, Source
from rules.row_filter import Facts, KnownRow, SpokenRow
from tui import asking
from tui.offers import term

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ASKS: Final = (
    "phone", "group", "name", "addr", "service", "country", "operator-country", "operator", "asn", "rule", "last",
)
RULES: Final = (*IN_RULES, "rule")
CONSENTS: Final = ("phone", "group", "name", "addr", "service")
PHONES: Final = ("phone", "group", "addr", "last")


def of_question(row: Mapping[str, Any]) -> KnownRow:
    """As the verb "asks" tells it. It has one address, of its newest try, and all names it was tried by."""
    names = [one["name"] for one in row["names"]]
    if row["kind"] == "name":
        names.append(row["what"])
    told = row.get("place") or {}
    place = Place(**{key: told[key] for key in Place._fields if key in told}) if told else NOWHERE
    seen = Observation(
        row["phone"], None, _packed(row["addr"]), None, said=tuple(Name(name, Source.DNS) for name in names),
        group=row["group"], place=place,
    )
    service = row["what"] if row["kind"] == "service" else ""
    facts = Facts(seen, service, str(row.get("rule") or ""), row["last"])
    shown = (
        row["phone"], row["group"], row["title"], row["what"], row["addr"], *names, asking.place(row), row["readable"],
        told.get("country"), facts.rule, "put off" if row["put_off"] else "",
    )
    return KnownRow(_text(shown), (facts,))


def of_phone(row: Mapping[str, Any], mode: str) -> KnownRow:
    """As the verb "phones" tells it. `mode`: a word of it, as the row has it. `addr:` is where the phone itself is."""
    facts = [
        Facts(Observation(row["name"], None, addr, None, group=row["group"]), last=row["last"])
        for addr in (*map(_packed, row["addresses"]), None)
    ]
    shown = (
        row["name"], row["group"], mode, "random" if row["random"] else row["vendor"] or "unknown", row["vendor"],
        "" if row["named"] else "unknown", row.get("host"), *row["addresses"], *row["macs"],
    )
    return KnownRow(_text(shown), tuple(facts))


def of_consent(row: Mapping[str, Any]) -> SpokenRow:
    """As the verb "consents" tells it: to whom, and what."""
    who = term("phone", row["phone"]) if row["slot"] else term("group", row["group"])
    shown = (
        row["phone"] if row["slot"] else f"group {row['group']}", row.get("title"), row["what"], row["state"],
        row["who"], row["why"], asking.FOR.get(str(row["life"]), row["life"]),
    )
    return SpokenRow(_text(shown), _written(f"{who} {term(row['kind'], row['what'])}"))


def of_rule(row: Mapping[str, Any]) -> SpokenRow:
    """As the verb "rules" tells it."""
    state = "" if row["enabled"] else "off"
    shown = (
        f"{row['action']} {row['match'] or 'everything'}", row.get("words"), row["note"], row["source"], row["id"],
        state, "hidden" if row.get("hidden_by") else "",
    )
    return SpokenRow(_text(shown), _written(row["match"]), str(row["id"]))


def _text(parts: Iterable[object]) -> str:
    """A word is found in one of them, never across two."""
    return "\n".join(str(part) for part in parts if part)


@lru_cache(4_096)
def _written(text: str) -> Expression:
    """Nothing is spoken of by what this program cannot read: a gateway may be newer."""
    try:
        return parse_rule(text)
    except ExpressionError:
        return Expression()


def _packed(addr: str) -> bytes | None:
    try:
        return ip_address(addr).packed
    except ValueError:
        return None
