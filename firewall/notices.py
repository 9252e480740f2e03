"""[pure] What an owner should be told in words, once an hour about each phone, besides the row of each refusal."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from firewall.events import FlowDecided, Trouble
from firewall.text import inert

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from firewall.events import Event

DOT_PORT: Final = 853  # RFC 7858, RFC 9250
DOH: Final = "doh"  # the service of the pack `bypass`
MOST_TOLD: Final = 256  # phones; MACs can be invented, and a household has fewer
AGAIN: Final = 3_600.0  # seconds until a phone that goes on, or has begun again, is told of once more
# What to do stands first: screens are narrow.
REMEDY: Final = "offline? Set its Private DNS to Automatic (Android: Settings, Network & internet)"


class Notices:
    """A phone with Private DNS set to one provider ("strict") goes offline when that is refused, and does not say why.

    In the automatic mode it tries the gateway alone, so whoever goes to port 853 elsewhere was told to.
    """

    def __init__(self) -> None:
        self._told: dict[str, float] = {}  # phone -> when, wall time

    def of(self, happened: Iterable[Event]) -> Iterator[Trouble]:
        for event in happened:
            if isinstance(event, FlowDecided) and event.decision.verdict.refuses and (where := _encrypted_dns(event)):
                phone = event.seen.phone or str(ip_address(event.src))
                if self._silent(phone, event.at):
                    self._told[phone] = event.at
                    wants = f"wants encrypted DNS at {inert(where)}, which rule {event.decision.rule} refuses"
                    yield Trouble(event.at, f"{phone} {REMEDY}: it {wants}; or allow it with a rule of yours")

    def _silent(self, phone: str, now: float) -> bool:
        """Nothing has been said of it for a while; or the wall clock went back."""
        if phone in self._told:
            return not 0 <= now - self._told[phone] < AGAIN
        if len(self._told) >= MOST_TOLD:
            self._told = {other: at for other, at in self._told.items() if 0 <= now - at < AGAIN}
        return len(self._told) < MOST_TOLD


def _encrypted_dns(event: FlowDecided) -> str:
    """Where it is looked for; "" if this is something else."""
    seen = event.seen
    names = [name.name for name in seen.names]
    if event.flow is None:
        return names[0] if event.decision.service == DOH and names else ""
    if seen.port != DOT_PORT or seen.proto not in {"tcp", "udp"} or seen.addr is None:
        return ""
    return names[0] if names else str(ip_address(seen.addr))
