"""[pure] What may be claimed about the gate: its last words, and how long ago they were said."""

from __future__ import annotations

from typing import Any, Final

from firewall.text import inert

STALE_SECONDS: Final = 3.0  # a gateway says its status every second
NO_GATE: Final = "NO GATE"


class Pulse:
    """`now` is monotonic where an age is measured and wall time where a person will read it."""

    def __init__(self, wall: float) -> None:
        self._status: dict[str, Any] | None = None
        self._heard = 0.0
        self._gone_since = wall
        self._why_gone = "connecting"

    def hear(self, status: dict[str, Any], now: float, wall: float) -> None:
        self._status, self._heard, self._gone_since = status, now, wall
        self._why_gone = "it has stopped answering"

    def lose(self, why: str, wall: float) -> None:
        """The connection is gone. Only the first loss tells since when."""
        if self._status is not None:
            self._gone_since = wall
        self._status, self._why_gone = None, why

    def fell(self, status: dict[str, Any]) -> str:
        """The children that have failed since the last words, with remedies; "" if none has. Before `hear`."""
        before = {name: why for name, why, _ in troubles(self._status or {})}
        new = [f"{name}: {why}. {remedy}" for name, why, remedy in troubles(status) if before.get(name) != why]
        return "; ".join(new)

    def status(self, now: float) -> dict[str, Any] | None:
        """None unless the gate itself has said it a moment ago."""
        return self._status if self._status is not None and now - self._heard <= STALE_SECONDS else None

    @property
    def last_known(self) -> dict[str, Any]:
        """For what does not age: version, socket. Empty while there is none."""
        return self._status or {}

    @property
    def network(self) -> str:
        """What a phone is to be connected to, in words."""
        told = self.last_known
        return inert(str(told.get("network") or f"the network behind {told.get('lan', 'the gate')}"))

    @property
    def gone(self) -> tuple[float, str]:
        """Since when (wall time) nothing is known, and why."""
        return self._gone_since, self._why_gone


def troubles(status: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What of the phones' network does not work: (child, reason, remedy)."""
    children = status.get("children") or {}
    return [(name, one["reason"], one["remedy"]) for name, one in children.items() if one["state"] == "failed"]
