"""What is noted beside the rows: edits, changes of mode and state, troubles, consents, comings and goings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from firewall.events import (
    ConsentGranted,
    ConsentOver,
    OwnerActed,
    PhoneJoined,
    PhoneLeft,
    PolicyChanged,
    PolicyKept,
    StateChanged,
    Trouble,
)
from firewall.lives import WORDS

if TYPE_CHECKING:
    from firewall.consents import Consent
    from firewall.events import Event

Note = tuple[float, str, str, str, int | None]  # at, kind, text, who, uid
# Above every id that a seal covers: those of notes that are gone are never given again.
INSERT: Final = (
    "INSERT INTO notes (id, at, kind, text, who, uid) VALUES (1 + max("
    "coalesce((SELECT max(id) FROM notes), 0), coalesce((SELECT max(notes) FROM seals), 0)), ?, ?, ?, ?, ?)"
)


def _whose(consent: Consent) -> str:
    return f"phone {consent.phone}" if consent.slot else f"group {consent.group}"


def note(event: Event) -> Note | None:
    """None: it stands in a row, or nowhere."""
    match event:
        case PolicyChanged(at, revision, count, who):
            return at, "policy", f"revision {revision} with {count} rules, by {who.name}", *who
        case PolicyKept(at, revision, problems, who):
            text = f"new rules by {who.name} were refused, revision {revision} stays: {problems[0]}"
            return at, "refused", text, *who
        case StateChanged(at, state, reason):
            return at, "state", f"{state}: {reason}" if reason else str(state), "", None
        case Trouble(at, text):
            return at, "trouble", text, "", None
        case OwnerActed(at, kind, text, who):
            return at, kind, text, *who
        case PhoneJoined(at, phone, mac, signal):
            strong = "" if signal is None else f", {signal} dBm"
            return at, "joined", f"{phone} joined ({mac.hex(':')}{strong})", "", None
        case PhoneLeft(at, phone, mac):
            return at, "left", f"{phone} left ({mac.hex(':')})", "", None
        case ConsentGranted(at, one, prolonged):
            life = WORDS[one.life] + (f" (from {one.screen})" if one.screen else "")
            which = f"consent {one.id}{', prolonged' * prolonged}"
            return at, "consent", f"{which}: {_whose(one)} may {one.subject}, {life}", one.who, one.uid
        case ConsentOver(at, number, why, who, one):
            return at, "consent", f"consent {number} ended: {_whose(one)} may {one.subject} no more: {why}", *who
    return None
