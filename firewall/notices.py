"""[pure] What an owner should be told in words, once for each phone, besides the row that every refusal has."""

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
REMEDY: Final = (
    "If it finds no names at all now, that is its Private DNS (Android: Settings, Network & internet): set it to "
    "Automatic, or allow it with a rule of yours"
)


class Notices:
    """A phone with Private DNS set to one provider ("strict") goes offline when that is refused, and does not say why.

    In the automatic mode it tries the gateway alone, so whoever goes to port 853 elsewhere was told to.
    """

    def __init__(self) -> None:
        self._told: set[str] = set()

    def of(self, happened: Iterable[Event]) -> Iterator[Trouble]:
        for event in happened:
            if isinstance(event, FlowDecided) and event.decision.verdict.refuses and (where := _encrypted_dns(event)):
                phone = event.seen.phone or str(ip_address(event.src))
                if phone not in self._told and len(self._told) < MOST_TOLD:
                    self._told.add(phone)
                    rule = event.decision.rule
                    said = f"{phone} wants encrypted DNS at {inert(where)}; rule {rule} refuses it. {REMEDY}"
                    yield Trouble(event.at, said)


def _encrypted_dns(event: FlowDecided) -> str:
    """Where it is looked for; "" if this is something else."""
    seen = event.seen
    names = [name.name for name in seen.names]
    if event.flow is None:
        return names[0] if event.decision.service == DOH and names else ""
    if seen.port != DOT_PORT or seen.proto not in {"tcp", "udp"} or seen.addr is None:
        return ""
    return names[0] if names else str(ip_address(seen.addr))
