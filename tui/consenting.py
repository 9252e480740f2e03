"""[pure] A consent, as the verb "consents" tells it: what is left of it, and why it is no more.

Remaining time is what the gateway said, less what has passed since: its clock need not be this program's (the lab moves
its own).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from textual.content import Content

from firewall.text import inert
from tui.asking import FOR
from tui.format import count, cut, duration, moment, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui.glyphs import Glyphs

SPANS: Final = {"once": 120.0, "15m": 900.0, "1h": 3_600.0, "12h": 43_200.0}  # seconds; once: in which to begin
ENDED, SUSPENDED = "ended", "suspended"


def whom(consent: Mapping[str, Any]) -> str:
    """The phone, or the group."""
    return inert(str(consent["phone"])) if consent.get("slot") else f"group {inert(str(consent['group']))}"


def what(consent: Mapping[str, Any]) -> str:
    return inert(str(consent.get("title") or consent["what"]))


def left(consent: Mapping[str, Any], passed: float) -> float | None:
    """Seconds; None: until it is revoked, or its flow ends. `passed`: seconds since the gateway said it."""
    known = consent.get("left")
    if known is None:
        return None
    return float(known) if consent["state"] == SUSPENDED else max(0.0, float(known) - passed)


def share(consent: Mapping[str, Any], passed: float) -> float:
    """How much of it is left, 0 to 1."""
    rest = left(consent, passed)
    if consent["state"] == ENDED:
        return 0.0
    if rest is None:
        return 1.0
    whole = SPANS.get(str(consent["life"])) or float(consent.get("ends") or 0) - float(consent["given"])
    return min(1.0, rest / whole) if whole > 0 else 1.0


def bar(part: float, width: int, glyphs: Glyphs) -> str:
    """Never empty while something is left, never full when something is gone."""
    full = -int(-part * width // 1) if part > 0 else 0
    full = min(full, width - 1) if 0 < part < 1 and width > 1 else min(full, width)
    return glyphs.bar[0] * full + glyphs.bar[1] * (width - full)


def remaining(consent: Mapping[str, Any], passed: float) -> str:
    """In words of at most 13 cells."""
    rest = left(consent, passed)
    if consent["state"] == SUSPENDED:
        return "waits: clock"
    if consent["state"] == ENDED:
        return "ended"
    if rest is None:
        return "one flow" if consent["life"] == "once" else "until revoked"
    return duration(rest) if rest else "ends now"


def ended(consent: Mapping[str, Any]) -> float:
    """When (epoch), as far as the gateway has said."""
    return float(consent.get("ended") or consent.get("ends") or 0)


def used(consent: Mapping[str, Any]) -> str:
    if not consent["flows"]:
        return "not used yet" if consent["state"] != ENDED else "never used"
    return f"{count(consent['flows'], 'flow')}, {size(consent['up'])} up, {size(consent['down'])} down"


def in_full(consent: Mapping[str, Any], passed: float, now: float, width: int, glyphs: Glyphs) -> list[Content]:
    """Four lines: who may what; by whom; how long; what became of it."""
    word = (f"{glyphs.verdicts['consent']} ", "$given bold")
    reach = "could reach" if consent["state"] == ENDED else "may reach"
    subject = f"  {inert(str(consent['kind']))}:{inert(str(consent['what']))}"
    head = Content.assemble(word, (f"{whom(consent)} {reach} {what(consent)}", "bold"), (subject, "$muted"))
    given = (
        f"given by {inert(str(consent['who']))} on {inert(str(consent['screen'])) or 'an unknown screen'}, "
        f"{moment(consent['given'], now)}, for: {FOR.get(str(consent['life']), inert(str(consent['life'])))}"
    )
    return [
        head.truncate(width),
        Content(cut(given, width, glyphs.ellipsis)),
        _state(consent, passed, now, width, glyphs),
        Content(cut(f"used: {used(consent)}", width, glyphs.ellipsis)),
    ]


def _state(consent: Mapping[str, Any], passed: float, now: float, width: int, glyphs: Glyphs) -> Content:
    if consent["state"] == ENDED:
        at = f"ended {moment(ended(consent), now)}: " if ended(consent) else "ended: "
        return Content.assemble((cut(f"{at}{inert(str(consent['why']))}", width, glyphs.ellipsis), "$warning"))
    if consent["state"] == SUSPENDED:
        rest = left(consent, passed)
        told = f" ({duration(rest)} left)" if rest is not None else ""
        text = f"suspended{told}: the time is not known, nothing passes. t: the clock is right"
        return Content.assemble((cut(text, width, glyphs.ellipsis), "$warning bold"))
    rest = left(consent, passed)
    if rest is None:
        text = "until its flow ends" if consent["life"] == "once" else "until it is revoked"
    else:
        until = f", until {moment(consent['ends'], now)}" if consent["ends"] else ""
        text = f"{duration(rest)} left{until}"
    return Content.assemble((f"{bar(share(consent, passed), 20, glyphs)} ", "$given"), text)
