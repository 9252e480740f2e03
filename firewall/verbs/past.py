"""What happened, and why."""

from __future__ import annotations

import asyncio
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from firewall.control import Done, Refused, Verb
from firewall.history import HistoryError
from firewall.verbs.args import parse_place, text
from rules.explain import explain
from rules.expression import ExpressionError, parse_filter
from rules.observation import Observation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from firewall.app import App
    from firewall.control import Peer

MOST_ROWS = 100_000
UNLISTED = bytes(4)  # 0.0.0.0 stands for an address that no rule lists


class PastVerbs:
    def __init__(self, app: App) -> None:
        self._app = app

    def verbs(self) -> dict[str, Verb]:
        return {
            "history": Verb(self.history),
            "explain": Verb(self.explain),
        }

    async def history(self, _peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        try:
            wanted = parse_filter(text(args, "filter", ""))
        except ExpressionError as error:
            raise Refused(f"column {error.start + 1}: {error.message} ({error.remedy})") from error
        limit = args.get("limit", 200)
        if not isinstance(limit, int) or not 1 <= limit <= MOST_ROWS:
            raise Refused(f"limit is a number from 1 to {MOST_ROWS}")
        began = time.monotonic()
        try:
            rows = await asyncio.to_thread(self._app.history.query, wanted, limit, time.time())
        except HistoryError as error:
            raise Refused(str(error)) from None
        for row in rows:
            yield row.to_json()
        yield Done({"count": len(rows), "seconds": time.monotonic() - began})

    async def explain(self, _peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        gateway = self._app.gateway
        if gateway.policy is None:
            raise Refused(f"there is no policy: {gateway.reason}")
        called, what = text(args, "phone"), text(args, "what")
        phone = gateway.phones.named(called) or gateway.phones.stranger
        place = parse_place(what)
        boot = self._app.boot_time()
        addr = place.addr
        if place.name:
            addr = next(iter(gateway.names.addresses(phone, place.name, boot)), None)
            answered = gateway.names.chains(phone, addr, boot) if addr else ()
            if not any(place.name in chain for chain in answered):
                answered = ((place.name,),)
        else:
            assert addr is not None
            answered = gateway.names.chains(phone, addr, boot)
        there = addr or UNLISTED
        seen = Observation(
            called, "tcp", there, place.port, answered, group=phone.group, place=self._app.place(there)
        )
        told = explain(gateway.policy, seen).to_json()
        told |= {"phone": called, "what": what, "addr": str(ip_address(addr)) if addr else None, "port": place.port}
        if addr is None:
            told["note"] = f"{called} has not asked for {place.name} yet; an address that no rule lists is assumed"
        yield Done(told)


def backlog(app: App, limit: int) -> list[dict[str, Any]]:
    """The newest rows, oldest first, for somebody who begins to follow."""
    try:
        rows = app.history.query(parse_filter(""), limit, time.time())
    except HistoryError:
        return []
    return [{"episode": row.to_json()} for row in reversed(rows)]
