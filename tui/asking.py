"""[pure] A question of a phone, as the verb "asks" tells it: what can be answered, and which one a row belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rich.cells import cell_len

from firewall.text import inert
from rules.countries import country_name
from rules.domain import registrable
from rules.operators import OPERATORS
from tui import offers
from tui.format import clock, count, cut, cut_name, moment, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from firewall.episode import Episode
    from tui.glyphs import Glyphs

KEYS: Final = {"o": "once", "1": "15m", "2": "1h", "3": "12h", "4": "tomorrow", "5": "revoked"}  # key -> life
FOR: Final = {  # a life in words
    "once": "once", "15m": "15 min", "1h": "1 h", "12h": "12 h", "tomorrow": "tomorrow 08:00", "revoked": "for good",
}
NO_CONSENT: Final = {  # why a row of this verdict has none to give or to revoke
    "allow": "no consent was needed: a rule allows it (enter says which); b blocks it",
    "block": "a block rule refuses it, and a consent answers only what is asked; a writes a rule that allows it",
    "watch": "nothing is refused while you watch, so nothing is asked",
    "held": "it waits for its name; whether anybody has to be asked is not known yet",
}


class Whom(NamedTuple):
    """`args`: for the gateway's verbs. `scope`: for "asks.never"."""

    words: str
    scope: str
    args: dict[str, str]


def subject(width: Mapping[str, Any]) -> str:
    """As the language of consents has it: "service:xiaomi-account"."""
    return f"{width['kind']}:{width['what']}"


def of_row(episode: Episode) -> dict[str, Any]:
    """What a row would have asked: for those whose question is not in the inbox. Its id is None."""
    widths: list[dict[str, Any]] = []
    if episode.service:
        widths.append({"kind": "service", "what": episode.service, "title": episode.service})
    if episode.name:
        domain = registrable(episode.name)
        known = dict.fromkeys(filter(None, (episode.name, domain)))
        widths += [{"kind": "name", "what": name, "title": name} for name in known]
    if episode.dst:
        widths.append({"kind": "addr", "what": episode.dst, "title": episode.dst})
    names: list[dict[str, Any]] = [{"name": episode.name, "count": episode.count}] if episode.name else []
    return {
        "id": None, "phone": episode.phone, "group": episode.group, **(widths[0] if widths else {}), "widths": widths,
        "names": names, "more": 0, "count": episode.count, "first": episode.first, "last": episode.last,
        "addr": episode.dst, "readable": "", "put_off": None,
        "place": {**episode.place._asdict(), "operator": episode.operator},
    }


def asks_for(question: Mapping[str, Any], episode: Episode) -> bool:
    """Whether the row is one of the tries that this question counts."""
    if question["phone"] != episode.phone:
        return False
    what = question["what"]
    match question["kind"]:
        case "service":
            return bool(what == episode.service)
        case "name":
            return episode.name == what or episode.name.endswith(f".{what}")
        case _:
            return bool(what == episode.dst)


def of_rows(
    episodes: Iterable[Episode], questions: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What these rows ask, each thing once: questions of the inbox where it has them."""
    found: dict[object, dict[str, Any]] = {}
    for episode in episodes:
        inbox = (dict(question) for question in questions if asks_for(question, episode))
        asked = next(inbox, None) or of_row(episode)
        found.setdefault(asked["id"] or (asked["phone"], asked.get("kind"), asked.get("what")), asked)
    return list(found.values())


def keys(widths: list[dict[str, Any]]) -> list[str]:
    """A letter for each, as where rules are made of rows: s service, n name, d domain, a address."""
    letters: list[str] = []
    named = sum(width["kind"] == "name" for width in widths)
    for width in widths:
        wide = width["kind"] == "name" and named > 1 and width["what"] == registrable(width["what"])
        letter = "d" if wide else {"service": "s", "name": "n"}.get(width["kind"], "a")
        letters.append("" if letter in letters else letter)
    return letters


def whose(question: Mapping[str, Any]) -> list[Whom]:
    """The phone itself, and its group if it has one."""
    phone, group = question["phone"], question.get("group", "")
    one = [Whom(f"this phone ({phone})", "phone", {"phone": phone})] if phone else []
    return [*one, Whom(f"group {group}", "group", {"group": group})] if group else one


def refusal(question: Mapping[str, Any], width: Mapping[str, Any], scope: str) -> str:
    """The block rule that "never" makes. `scope`: "phone", "group" or "all"."""
    who = {"phone": question["phone"], "group": question.get("group", "")}
    return " ".join(filter(None, (
        "block", offers.term(width["kind"], width["what"]), offers.term(scope, who[scope]) if scope in who else "",
    )))


def place(question: Mapping[str, Any]) -> str:
    """Where the machine stands and who runs it, as far as that is known."""
    known = question.get("place") or {}
    asn = f"AS{known['asn']}" if known.get("asn") else ""
    operator = str(known.get("operator") or "")
    who = OPERATORS[operator].title if operator in OPERATORS else operator or known.get("organisation") or ""
    country = country_name(str(known["country"])) if known.get("country") else ""
    return inert(", ".join(filter(None, (country, who or asn))))


def tried(question: Mapping[str, Any], now: float) -> str:
    """`6 tries since 14:01:10, all refused`; of what it sent at least the first packets' payload is counted."""
    if not question["count"]:
        return ""  # it was not asked
    since = moment(question["first"], now)
    word = "refused" if question["count"] == 1 else "all refused"
    kept = f", at least {size(question['tried'])} bytes kept back" if question.get("tried") else ""
    if not kept and question.get("proto") == "tcp":
        kept = " before it could send"  # at its first packet, by the kernel
    return f"{count(question['count'], 'try', 'tries')} since {since}, {word}{kept}"


def readable(question: Mapping[str, Any]) -> str:
    """Who can read it on its way."""
    text = inert(str(question.get("readable") or ""))
    return text[:1].upper() + text[1:]


def names(question: Mapping[str, Any], width: int, glyphs: Glyphs) -> list[str]:
    """What it tried: `api.account.xiaomi.com (5)   sms.intl.xiaomi.com (1)`, two lines at most, then how many more."""
    most = sorted(question["names"], key=lambda one: -one["count"])
    texts = [f"{cut_name(inert(one['name']), width - 20, glyphs.ellipsis)} ({one['count']:,})" for one in most]
    if not texts and not question.get("addr"):
        return []
    if not texts:
        return [cut(f"no name was said: {inert(question['addr'])}", width, glyphs.ellipsis)]
    lines, left = [""], len(texts)
    for text in texts:
        joined = f"{lines[-1]}   {text}" if lines[-1] else text
        if lines[-1] and cell_len(joined) > width - 10:  # room for how many more
            if len(lines) == 2:
                break
            lines.append(text)
        else:
            lines[-1] = joined
        left -= 1
    if more := left + int(question.get("more") or 0):
        lines[-1] += f"  +{more:,}"
    return lines


def circumstances(question: Mapping[str, Any], now: float) -> str:
    """How often, where, and who can read it; "" where nobody has asked."""
    return ".  ".join(filter(None, (tried(question, now), place(question), readable(question))))


def again(at: float) -> str:
    return f"put off until {clock(at)}"
