"""The gate itself: how it does, locking it and opening it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from firewall.control import Done, Refused, Verb
from firewall.state import StateError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from firewall.app import App
    from firewall.control import Peer


class GateVerbs:
    def __init__(self, app: App) -> None:
        self._app = app

    def verbs(self) -> dict[str, Verb]:
        return {
            "status": Verb(self.status),
            "stop": Verb(self.stop, changes=True),
            "resume": Verb(self.resume, changes=True),
        }

    async def status(self, _peer: Peer, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        yield Done(self._app.status())

    async def stop(self, peer: Peer, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        self._app.lock(peer.author, locked=True)
        await self._app.settled()
        yield Done({"state": str(self._app.gateway.state)})

    async def resume(self, peer: Peer, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        if self._app.state is None:
            try:
                self._app.begin_anew()
            except StateError as error:
                remedy = "Repair it, or move it away (phones, modes and undo go with it)"
                raise Refused(f"LOCKED: {error}. {remedy}") from None
            yield Done({"state": "STARTING"})
            return
        self._app.lock(peer.author, locked=False)
        await self._app.settled()  # it is LOCKED until the kernel holds what opens it
        yield Done({"state": str(self._app.gateway.state)})
