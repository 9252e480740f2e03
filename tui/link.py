"""The connection to the gateway: follows it, and comes back by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from firewall.control import AsyncClient, NoGateway, Refused

if TYPE_CHECKING:
    from pathlib import Path

BACKLOG: Final = 500
RETRY_SECONDS: Final = 0.5
TURN: Final = 64  # items until the keyboard gets its turn: reading from a full buffer never waits by itself


class Listener(Protocol):
    """What the link tells, in the event loop's own thread; none of it may wait."""

    def met(self) -> None:
        """A gateway has greeted."""

    def heard(self, item: dict[str, Any]) -> None:
        """It said {"episode"}, {"status"} or {"skipped"}."""

    def lost(self, error: NoGateway | Refused) -> None:
        """It is gone, or was never there. Tried again."""


async def follow(socket: Path, listener: Listener) -> None:
    """Never ends. What the gateway cannot or will not say is told to the listener."""
    while True:
        try:
            async with AsyncClient(socket) as client:
                listener.met()
                listener.heard({"status": (await client.ask("status")).done})  # not a second late
                turn = 0
                async for item in client.stream("follow", backlog=BACKLOG):
                    listener.heard(item)
                    turn += 1
                    if turn % TURN == 0:
                        await asyncio.sleep(0)
            listener.lost(NoGateway("it has hung up"))
        except (NoGateway, Refused) as error:
            listener.lost(error)
        await asyncio.sleep(RETRY_SECONDS)
