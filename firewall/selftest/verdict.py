"""[pure] The judge: from what the probe saw and what was seen on the way out to one word for each try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from firewall.selftest.tries import Try

Word = Literal["held", "through", "open", "void", "seen", "blind"]
HELD: Final = "held"  # nothing of it left
THROUGH: Final = "through"  # it left, and no rule lets it
OPEN: Final = "open"  # it left, and a rule of the owner's lets it
VOID: Final = "void"  # could not be tried
SEEN: Final = "seen"  # of the control: let through on purpose, and seen
BLIND: Final = "blind"  # whoever judges could not see: no word of its can be believed


@dataclass(slots=True)
class Outcome:
    """What became of one try."""

    answered: bool = False  # something came back
    connected: bool = False
    said: bool = False  # what must not leave was handed to the wire
    error: str = ""
    left: int = 0  # packets of it with payload that were seen leaving
    ways: str = ""  # the interfaces that they left by
    knocked: bool = False  # its SYN was seen leaving
    heard: bool = False  # by the other phone
    allowed: str = ""  # the rule that let it pass, as the history says and the rules confirm
    refused: str = ""  # the rule that refused it, as the history says
    watched: bool = False  # the gate let it pass because it only watches


class Row(NamedTuple):
    """One line of the table."""

    name: str
    family: int  # 4, 6; 0: neither
    title: str
    state: Word
    says: str


def judge(one: Try, seen: Outcome) -> Row:
    def row(state: Word, says: str) -> Row:
        return Row(one.name, one.family, one.title, state, says)

    def held(says: str) -> Row:
        return row(HELD, f"{says} ({seen.refused})" if seen.refused else says)

    if seen.heard or seen.left:
        packets = f"{seen.left} packet{'s' * (seen.left > 1)} with payload left by {seen.ways}"
        what = "another phone received it" if seen.heard else packets
        if seen.watched:
            return row(THROUGH, f"{what}: the gate only watches")
        allowed = seen.allowed and one.name not in NEVER
        return row(OPEN, f"rule {seen.allowed} allows it") if allowed else row(THROUGH, what)
    if not one.way.endswith("question") and not seen.said:
        if one.way == "connection" and seen.error:
            if not seen.knocked:
                return held(f"at the first packet ({seen.error})")
            return row(VOID, f"no server answered ({seen.error})")
        return row(VOID, seen.error or "it was not sent")
    if one.way.endswith("question"):
        return held("our resolver answered" if seen.answered else "no answer, and nothing left")
    if one.way == "connection":
        return held("handshake only: nothing it said left")
    return held("nothing left" if one.way == "frames" else "not received")


def believed(controls: list[Row]) -> list[Row]:
    """Where one family was seen leaving, the witness sees; that the other was not means that nobody answers there."""
    if not any(row.state == SEEN for row in controls):
        return controls
    why = "is not answered on the way out, so nothing leaves anyway"
    return [row._replace(state=VOID, says=why) if row.state == BLIND else row for row in controls]


def refused_at_all(rows: Iterable[Row]) -> Row:
    """Rules that let a phone do everything that nobody has named are no gate, however well they are obeyed."""
    rows = list(rows)
    tried = [row for row in rows if row.state != VOID]
    title = "a phone nobody named"
    opened = sum(row.state == OPEN for row in tried)
    if not tried:
        return Row("rules", 0, title, VOID, "nothing could be tried")
    if opened and not any(row.state == HELD for row in tried if row.name in DECIDED):
        return Row("rules", 0, title, THROUGH, "your rules let a phone that nobody has named out, wherever it goes")
    but = f", but for {opened} ways that your rules open" if opened else ""
    return Row("rules", 0, title, HELD, f"is refused{but}")


# What no rule can let through.
NEVER: Final = frozenset(("dns", "dns-tcp", "lone-fragment", "spoof", "syn", "stray", "neighbour"))

# Tries whose fate is the rules'; the others are refused whatever the rules say.
DECIDED: Final = frozenset(
    ("dot", "doh", "doh-address", "tls", "http", "bare", "quic", "doq", "bare-udp", "ping", "routed"),
)


def passed(rows: Iterable[Row]) -> bool:
    """Nothing got through; and something was tried."""
    rows = list(rows)
    return not any(row.state in {THROUGH, BLIND} for row in rows) and any(row.state == HELD for row in rows)
