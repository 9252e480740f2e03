"""The world of packets behind one small seam. Backends do not know each other; `open_backend` chooses."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from firewall.commands import Command
    from firewall.inputs import FlowKey, Input
    from firewall.settings import Settings
    from rules.verdict import Verdict


class BackendError(Exception):
    """The machine cannot do what is asked of it: what, and what would help."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """What the kernel says about its queue to us. Counters grow since the backend began."""

    waiting: int  # packets in the queue now
    lost: int  # packets dropped because the queue or our socket was full
    unanswered: int  # packets that reached the seal without a verdict, and were dropped
    queue: str  # "nft queue" (", flowtable" if bulk is offloaded) or "NFQUEUE through iptables-nft" / "...-legacy"


class Backend(Protocol):
    """Batches are delivered by calling `deliver` in the event loop, not through an iterator (docs/adr/0002)."""

    def start(self, deliver: Callable[[Sequence[Input]], None]) -> None:
        """Begin to deliver batches of at most 64 inputs a source and turn, from the running event loop."""

    def carry_out(self, commands: Sequence[Command]) -> None:
        """Do them in their order. Never waits but for the kernel's acknowledgement (about 0.1 ms)."""

    def gauges(self) -> Gauges: ...

    def probe(self) -> str | None:
        """Send a packet of our own through the queue. What became of the one before: "" if it was decided and came
        back, else what is wrong with the gate; None if it is the first.
        """

    def flows(self) -> dict[FlowKey, Verdict]:
        """The flows that the kernel lets pass now: ALLOW for good, CONSENT while their way is open.

        It may wait: call it in a thread.
        """

    def mac_of(self, address: bytes) -> bytes | None:
        """The MAC of a neighbour on the phones' side; None if there is none."""

    def on_phones_side(self, address: bytes) -> bool:
        """Whether what a phone sends there goes to another phone, which may sleep now."""

    def lock(self) -> None:
        """Close the way before anything listens. A table that stands from before is left as it is."""

    def close(self) -> None:
        """Stop reading. Leaves the gate closed: everything put into the kernel stays there."""

    def remove(self) -> None:
        """Put the machine back as it was. The phones are then unfiltered."""


def open_backend(settings: Settings) -> Backend:
    """The backend of this machine; the one place that asks which system this is. Raises BackendError."""
    if sys.platform != "linux":
        raise BackendError(f"no gate for {sys.platform} yet: Linux only")
    from firewall.backends.linux.backend import LinuxBackend  # noqa: PLC0415  exists on Linux only

    return LinuxBackend(settings)
