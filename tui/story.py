"""[pure] Why: an episode told in words, in three lines, in a pane, or with everything that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.cells import cell_len
from textual.content import Content

from firewall.text import inert
from rules.countries import country_name
from rules.observation import Sign, Source
from rules.operators import OPERATORS
from rules.verdict import Verdict
from tui.format import clock, count, cut, cut_name, duration, endpoint, series, size, sparkline
from tui.theme import COLOURS

if TYPE_CHECKING:
    from firewall.episode import Episode
    from tui.glyphs import Glyphs

SOURCES: Final = {
    Source.SNI: "TLS hello (SNI)", Source.QUIC: "QUIC hello (SNI)", Source.HTTP: "Host",
    Source.XIAOMI: "Xiaomi's channel", Source.HTTPDNS: "asked for over HTTP", Source.DNS: "our DNS",
    Source.DNS_ELSEWHERE: "asked of another DNS",
}
LABEL: Final = 11  # cells
SPARK: Final = 20
MUTED, HEAD = "$muted", "bold"


def refused(episode: Episode) -> bool:
    return episode.verdict in {Verdict.ASK, Verdict.BLOCK}


def called(episode: Episode) -> str:
    """In a few words, inert."""
    return inert(f"{episode.phone}: {episode.to}")


def verdict(episode: Episode, glyphs: Glyphs) -> Content:
    """Shape, word and colour."""
    shape = glyphs.verdicts.get(episode.verdict, " ")
    return Content.assemble((f"{shape} {inert(episode.verdict)}", f"{COLOURS.get(episode.verdict, '')} bold"))


def left(episode: Episode) -> Content:
    """What has left the gateway."""
    if not refused(episode):
        if episode.verdict == Verdict.HELD and not episode.bytes_up:
            return Content("0 bytes left the gateway: it waits for its name")
        return Content(f"{size(episode.bytes_up)} up, {size(episode.bytes_down)} down, packet headers included")
    if episode.bytes_up:
        return Content.assemble((f"{size(episode.bytes_up)} counted up to its refusal, headers included", "$warning"))
    return Content.assemble(("0 bytes left the gateway", "$success"))


def tries(episode: Episode) -> str:
    word = ("try", "tries") if refused(episode) else ("time", "times")
    if not episode.count:
        return "a flow that began earlier goes on"
    span = f" in {duration(episode.last - episode.first)}" if episode.count > 1 else f" at {clock(episode.first)}"
    return count(episode.count, *word) + span


def seen(episode: Episode, width: int, glyphs: Glyphs) -> Content:
    """How often, and how that was spread over its first minute, as far as there is room."""
    words = tries(episode)
    room = min(SPARK, width - len(words) - 1)
    if room < 2 or len(episode.tries) < 2:
        return Content(words)
    line = sparkline(series(episode.tries, room), room, glyphs.ramp)
    return Content.assemble(f"{words} ", (line, COLOURS.get(episode.verdict, "")))


def name_from(episode: Episode) -> str:
    """Who said the name, and whether they agree (decisions.md 2)."""
    said = [name for name in episode.names if name.source is not Source.DNS]
    if episode.proto == "dns":
        return "the question to our DNS"
    if said:
        words = " and ".join(dict.fromkeys(SOURCES[name.source] for name in said))
        if not episode.answered:
            return f"{words}; our DNS was not asked for it"
        agree = all(any(name.name in chain for chain in episode.answered) for name in said)
        return f"{words}, our DNS ({'agree' if agree else 'disagree'})"
    if len(episode.answered) > 1:
        return f"our DNS: {len(episode.answered)} names share this address, none was said"
    if episode.answered:
        return "our DNS alone"
    return "none: it began to say one and did not end" if episode.via == "unfinished" else "nobody said one"


def readable(episode: Episode) -> str:
    """Who can read it on its way."""
    words = {"http": "yes: cleartext HTTP", "sni": "no: TLS (its name can be read)", "dns-elsewhere": "yes: plain DNS"}
    if Sign.TUNNEL in episode.signs:
        return "not what goes through it: this is a tunnel"
    if Sign.HIDDEN in episode.signs:
        return "no, and its true name may be another (ECH)"
    if episode.proto == "dns":
        return "the question was not passed on" if refused(episode) else "the question only"
    return words.get(episode.via, "not known")


def where(episode: Episode) -> str:
    """Address, port and protocol."""
    if episode.proto == "dns":
        return "a question to our DNS"
    return f"{inert(endpoint(episode.dst, episode.dport))} {inert(episode.proto)}"


def place(episode: Episode) -> str:
    """Where the machine stands, and who runs it from where; what is not known of it is said to be so."""
    known = episode.place
    if not episode.dst:
        return "nowhere: the question was not passed on"
    if (known.country, known.operator_country, known.asn) == (None, None, None):
        return "not known: there is no valid database"
    network = f"AS{known.asn} {known.organisation}".rstrip() if known.asn else known.organisation
    home = f"registered in {country_name(known.operator_country)}" if known.operator_country else ""
    if not any((known.country, episode.operator, network, home)):
        return "not known: its address is in none of the databases"
    country = country_name(known.country) if known.country else "country not known"
    return inert(", ".join(filter(None, (country, _operator(episode), network, home))))


def nearby(episode: Episode) -> str:
    """The same in two words: `China, Xiaomi`; "" if nothing is known."""
    country = country_name(episode.place.country or "")
    return inert(", ".join(filter(None, (country, _operator(episode) or episode.place.organisation))))


def _operator(episode: Episode) -> str:
    """By the title of those whom we have gathered."""
    return OPERATORS[episode.operator].title if episode.operator in OPERATORS else episode.operator


def outcome(episode: Episode) -> str:
    """Beside the verdict."""
    if episode.verdict == Verdict.WATCH:
        return "  would be refused; passed, as you only watch"
    if episode.verdict == "consent":
        return f" {episode.consent}  c shows it, and takes it back"
    return "  refused" if refused(episode) else ""


def title(episode: Episode, width: int, glyphs: Glyphs) -> str:
    return cut_name(inert(episode.name), width, glyphs.ellipsis) if episode.name else where(episode)


def three_lines(episode: Episode, width: int, glyphs: Glyphs) -> Content:
    """Who and where; by which rule; what has left."""
    who, word = cut(inert(episode.phone), 20, glyphs.ellipsis), verdict(episode, glyphs)
    far = [f"  {part}" for part in (nearby(episode), where(episode) if episode.name else "") if part]
    free = width - len(who) - word.cell_length - 4 - cell_len(title(episode, width, glyphs))
    while far and cell_len("".join(far)) > free:  # the name goes first; the address can be found with enter
        far.pop()
    place = "".join(far)
    room = width - len(who) - word.cell_length - 4 - cell_len(place)
    sent = Content.assemble(left(episode), ".  ")
    last = Content.assemble(sent, seen(episode, width - sent.cell_length, glyphs))
    return Content("\n").join((
        Content.assemble((who, HEAD), "  ", word, "  ", (title(episode, room, glyphs), HEAD), (place, MUTED)),
        Content(cut(inert(episode.reason), width, glyphs.ellipsis)),
        last.truncate(width),
    ))


def pane(episode: Episode, width: int, glyphs: Glyphs) -> Content:
    """What there is to say without asking the gateway."""
    who = cut(inert(episode.phone), 24, glyphs.ellipsis)
    lines = [
        Content.assemble((who, HEAD), "  ", verdict(episode, glyphs), (outcome(episode), MUTED)),
        Content(""),
        Content.assemble((title(episode, width, glyphs), HEAD)),
        *([Content.assemble((where(episode), MUTED))] if episode.name else ()),
        *_facts(episode, width, glyphs),
        Content(""),
        Content.assemble(("Why", HEAD)),
        Content(inert(episode.reason)),
    ]
    return Content("\n").join(lines)


def everything(
    episode: Episode, explanation: dict[str, Any] | str, glyphs: Glyphs, then: dict[str, Any] | str = ""
) -> Content:
    """`explanation`: the gateway's answer to "explain", or why there is none (yet); `then`: of the revision
    that judged, where that is not today's.
    """
    told = explanation if isinstance(explanation, dict) else {}
    lines = [
        Content.assemble(
            (inert(episode.phone), HEAD), (f" ({inert(episode.src)})  ", MUTED), verdict(episode, glyphs),
            (outcome(episode), MUTED),
        ),
        Content.assemble((inert(episode.name) if episode.name else where(episode), HEAD)),
        *([_fact("where", where(episode))] if episode.name else ()),
        *_facts(episode, 80, glyphs, inert(told.get("service_title", ""))),
        _fact("group", inert(episode.group) or "not known"),
        _fact("from, to", f"{clock(episode.first)}, {clock(episode.last)}"),
        Content(""),
        Content.assemble(("Why", HEAD)),
        Content(inert(episode.reason)),
        _fact("rule", f"{inert(episode.rule) or 'none yet'} of revision {episode.revision}"),
    ]
    rules = told.get("matches", [])
    if then:
        lines += _then(then, glyphs)
    else:
        for rule in rules:
            if rule["id"] == episode.rule:
                lines += _rule(rule, glyphs)
    lines += [Content(""), Content.assemble(("Names", HEAD)), *_names(episode)]
    lines += [Content(""), Content.assemble(("Asked again now", HEAD))]
    if isinstance(explanation, str):
        lines.append(Content.assemble((inert(explanation), MUTED)))
    else:
        lines.append(Content(f"{inert(told['verdict'])}: {inert(told['reason'])}"))
        others = [rule for rule in rules if rule["id"] not in {episode.rule, told["rule"]}]
        lines += [Content(""), Content.assemble(("Would also match", HEAD))]
        for rule in others:
            lines += _rule(rule, glyphs)
        if not others:
            lines.append(Content.assemble(("no other rule", MUTED)))
    return Content("\n").join(lines)


def _fact(label: str, value: str | Content) -> Content:
    return Content.assemble((f"{label:<{LABEL}}", MUTED), value)


def _facts(episode: Episode, width: int, glyphs: Glyphs, service: str = "") -> list[Content]:
    named = inert(episode.service)
    return [
        _fact("name from", name_from(episode)),
        _fact("place", place(episode)),
        _fact("readable", readable(episode)),
        _fact("sent", left(episode)),
        _fact("seen", seen(episode, width - LABEL, glyphs)),
        _fact("service", f"{service} ({named})" if service else named or "none that we know"),
    ]


def _names(episode: Episode) -> list[Content]:
    if not episode.names:
        return [Content.assemble(("none is known", MUTED))]
    sources: dict[str, list[str]] = {}
    for name in episode.names:
        sources.setdefault(name.name, []).append(SOURCES[name.source])
    return [Content.assemble(inert(name), (f"  {', '.join(words)}", MUTED)) for name, words in sources.items()]


def _then(told: dict[str, Any] | str, glyphs: Glyphs) -> list[Content]:
    """The rule as it was when it decided."""
    if isinstance(told, str):
        return [Content.assemble((inert(told), MUTED))]
    lines = _rule(told["was"], glyphs) if told.get("was") else []
    return lines + ([Content.assemble((f"({inert(told['caveat'])})", MUTED))] if told.get("caveat") else [])


def _rule(rule: dict[str, Any], glyphs: Glyphs) -> list[Content]:
    opening, closing = glyphs.quotes
    said = f"{opening}{inert(rule['note'])}{closing}  " if rule["note"] else ""
    could = "" if rule["answer"] == "matches" else f"  ({rule['answer']})"
    return [
        Content.assemble(f"{inert(rule['id'])}  {inert(rule['rule'])}", (could, MUTED)),
        Content.assemble((f"{said}{inert(rule['source'])}", MUTED)),
    ]
