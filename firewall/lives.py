"""How long consents last: durations run on boot time, and what is left of them outlives a boot."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from firewall.consents import ONCE_SECONDS, Life

if TYPE_CHECKING:
    from firewall.inputs import Now
    from firewall.state import StoredConsent

SECONDS: Final = {Life.ONCE: ONCE_SECONDS, Life.M15: 900.0, Life.H1: 3_600.0, Life.H12: 43_200.0}
LONGEST: Final = SECONDS | {Life.TOMORROW: 2 * 86_400.0}
TOMORROW_HOUR: Final = 8
BACKWARDS: Final = 60.0  # seconds that a clock may be behind what it said before the boot
WORDS: Final = {
    Life.ONCE: "once: the first flow within 2 minutes, until it ends",
    Life.M15: "for 15 minutes",
    Life.H1: "for 1 hour",
    Life.H12: "for 12 hours",
    Life.TOMORROW: "until tomorrow 08:00",
    Life.REVOKED: "until it is revoked",
}


def until_of(life: Life, now: Now) -> float | None:
    """Boot time at which it ends; None: when it is revoked. Raises ValueError in words for an owner."""
    if life is Life.REVOKED:
        return None
    if life is not Life.TOMORROW:
        return now.boot + SECONDS[life]
    if not now.trusted:
        raise ValueError("the clock cannot be trusted, so when is tomorrow? Choose 12h, or: consentry clock trust")
    year, month, day, *_ = time.localtime(now.wall)
    return now.boot + time.mktime((year, month, day + 1, TOMORROW_HOUR, 0, 0, 0, 0, -1)) - now.wall


def left_of(stored: StoredConsent, now: Now, *, owner: bool) -> float | None:
    """Seconds left after another boot, 0 or less if it is over; None: nobody knows. `owner` says the clock is right."""
    until = stored.consent.until
    assert until is not None
    if stored.consent.life is Life.ONCE:
        return 0.0  # its flow did not outlive the boot
    gone = now.wall - stored.wall
    if not owner and (not now.trusted or not stored.trusted or gone < -BACKWARDS):
        return None
    return min(until - stored.boot, LONGEST[stored.consent.life]) - max(gone, 0.0)
