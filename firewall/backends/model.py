"""What a recording has in place of a house and of a kernel: everybody's phones, and the sets that refuse."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from firewall.phones import HOME, Phones

if TYPE_CHECKING:
    from collections.abc import Mapping

    from firewall.commands import Command, KernelState, RefuseAddress
    from firewall.phones import Phone


class Everybody(Phones):
    """Who sends in a recording: all in one group, and no address belongs to one sender alone."""

    def __init__(self, group: str = HOME, given: Mapping[bytes, str] | None = None) -> None:
        super().__init__(given=given)
        self._group = self.stranger.group = group

    def of(self, mac: bytes, wall: float) -> Phone:
        phone = super().of(mac, wall)
        phone.group = self._group
        return phone

    def admit(self, mac: bytes, addr: bytes, boot: float, wall: float) -> tuple[Phone | None, list[Command]]:  # noqa: ARG002  one phone's addresses are not counted here
        return self.of(mac, wall), []


class Sets:
    """What the kernel refuses by itself."""

    def __init__(self) -> None:
        self._ranges: dict[int, tuple[list[bytes], list[bytes]]] = {4: ([], []), 16: ([], [])}
        self._learned: dict[tuple[bytes, bytes], float] = {}

    def load(self, state: KernelState) -> None:
        for size, ranges in ((4, state.refused4), (16, state.refused6)):
            self._ranges[size] = [first for first, _ in ranges], [last for _, last in ranges]
        if not state.keep_learned:
            self._learned.clear()

    def learn(self, command: RefuseAddress, now: float) -> None:
        if command.seconds:
            self._learned[command.mac, command.addr] = now + command.seconds
        else:
            self._learned.pop((command.mac, command.addr), None)

    def refuse(self, mac: bytes, addr: bytes, now: float) -> bool:
        firsts, lasts = self._ranges[len(addr)]
        at = bisect_right(firsts, addr) - 1
        return (at >= 0 and addr <= lasts[at]) or self._learned.get((mac, addr), 0.0) > now
