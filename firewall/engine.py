"""The loop: batch -> handle -> commands -> record. It makes no decisions and knows no protocol."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from firewall.commands import ForwardQuery, RefuseQuery, SendAnswer
from firewall.inputs import Now, Tick
from firewall.shift import Follower

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from firewall.commands import Command
    from firewall.events import Event
    from firewall.gateway import Gateway
    from firewall.inputs import Input

TICK_SECONDS = 1.0
shifted = Follower()  # of this process; in a lab app.main lets it follow a file
RESOLVERS = frozenset((RefuseQuery, ForwardQuery, SendAnswer))


class CarriesOut(Protocol):
    """A backend or the resolver, seen from here."""

    def carry_out(self, commands: Sequence[Command]) -> None: ...


def clock() -> Now:
    """The time as the kernel tells it, and in a lab as it is told to be.

    CLOCK_BOOTTIME goes on while the machine sleeps (clock_gettime(2)).
    """
    ahead = shifted()
    return Now(time.clock_gettime(time.CLOCK_BOOTTIME) + ahead.boot, time.time() + ahead.wall, trusted=True)


def wall() -> float:
    return clock().wall


class Engine:
    """Feeds the gateway one batch at a time, and everything it wants done to whoever does it."""

    def __init__(
        self,
        gateway: Gateway,
        backend: CarriesOut,
        resolver: CarriesOut,
        record: Callable[[Iterable[Event]], None],
        now: Callable[[], Now] = clock,
    ) -> None:
        self._gateway = gateway
        self._backend = backend
        self._resolver = resolver
        self._record = record
        self._now = now
        self._waiting: deque[Sequence[Input]] = deque()
        self._turning = False
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def start(self) -> None:
        """Begin to tell the gateway the time. Call from the running event loop."""
        self._wake(TICK_SECONDS)

    def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def deliver(self, batch: Sequence[Input]) -> None:
        """One turn; a batch that arrives while commands are carried out waits for the turn after."""
        self._waiting.append(batch)
        if self._turning:
            return
        self._turning = True
        try:
            while self._waiting:
                self._turn(self._waiting.popleft())
        finally:
            self._turning = False

    def _turn(self, batch: Sequence[Input]) -> None:
        now = self._now()
        turn = self._gateway.handle(batch, now)
        # Runs of commands for one receiver go out together and the runs in their order: a learnt address must be
        # refused in the kernel before the answer that names it is sent.
        start = 0
        commands = turn.commands
        if commands and RESOLVERS.isdisjoint(map(type, commands)):  # packets, as a rule
            self._backend.carry_out(commands)
            start = len(commands)
        while start < len(commands):
            for_resolver = type(commands[start]) in RESOLVERS
            end = start + 1
            while end < len(commands) and (type(commands[end]) in RESOLVERS) is for_resolver:
                end += 1
            (self._resolver if for_resolver else self._backend).carry_out(commands[start:end])
            start = end
        if turn.events:
            self._record(turn.events)
        if turn.wake_at is not None and not self._stopped:
            self._wake(max(0.0, turn.wake_at - now.boot))

    def _wake(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        if self._timer is not None and not self._timer.cancelled():
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = loop.call_at(at, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if not self._stopped:
            self._wake(TICK_SECONDS)
            self.deliver((Tick(),))
