"""What TUI and CLI may ask a gateway, and its answers: the verbs of docs/control-protocol.md."""

from __future__ import annotations

import asyncio
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from firewall.control import Done, Refused, Verb
from firewall.history import HistoryError
from rules.explain import explain
from rules.expression import ExpressionError, parse_filter
from rules.observation import Observation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from firewall.app import App
    from firewall.control import Peer

MOST_ROWS = 100_000
UNLISTED = bytes(4)  # 0.0.0.0 stands for an address that no rule lists
HTTPS = 443


class Place(NamedTuple):
    """Where an owner asks about: a name or an address, and perhaps a port."""

    name: str  # "" for an address
    addr: bytes | None
    port: int


class Questions:
    """One method a verb. `app` is what they are asked about."""

    def __init__(self, app: App) -> None:
        self._app = app

    def verbs(self) -> Mapping[str, Verb]:
        return {
            "status": Verb(self.status),
            "history": Verb(self.history),
            "explain": Verb(self.explain),
            "rules": Verb(self.rules),
            "reload": Verb(self.reload, changes=True),
            "stop": Verb(self.stop, changes=True),
            "resume": Verb(self.resume, changes=True),
        }

    async def status(self, _peer: Peer, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        yield Done(self._app.status())

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

    def backlog(self, limit: int) -> list[dict[str, Any]]:
        """The newest rows, oldest first, for somebody who begins to follow."""
        try:
            rows = self._app.history.query(parse_filter(""), limit, time.time())
        except HistoryError:
            return []
        return [{"episode": row.to_json()} for row in reversed(rows)]

    async def explain(self, _peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        gateway = self._app.gateway
        if gateway.policy is None:
            raise Refused(f"there is no policy: {gateway.reason}")
        phone, what = text(args, "phone"), text(args, "what")
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
        seen = Observation(phone, "tcp", addr or UNLISTED, place.port, answered)
        told = explain(gateway.policy, seen).to_json()
        told |= {"phone": phone, "what": what, "addr": str(ip_address(addr)) if addr else None, "port": place.port}
        if addr is None:
            told["note"] = f"{phone} has not asked for {place.name} yet; an address that no rule lists is assumed"
        yield Done(told)

    async def rules(self, _peer: Peer, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        policy = self._app.gateway.policy
        hits = self._app.recorder.hits
        for position, rule in enumerate(policy.rules if policy else (), 1):
            count, last = hits.get(rule.id, (0, None))
            yield {
                "position": position,
                "id": rule.id,
                "action": str(rule.action),
                "match": str(rule.expression),
                "note": rule.note,
                "source": rule.source,
                "enabled": rule.enabled,
                "hits": count,
                "last": last,
            }
        yield Done({"revision": policy.revision if policy else 0})

    async def reload(self, peer: Peer, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        problems = self._app.load_rules(peer.name)
        if problems:
            raise Refused("\n".join(map(str, problems)))
        policy = self._app.gateway.policy
        yield Done({"revision": policy.revision if policy else 0})

    async def stop(self, peer: Peer, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        self._app.lock(peer.name, locked=True)
        yield Done({"state": str(self._app.gateway.state)})

    async def resume(self, peer: Peer, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        self._app.lock(peer.name, locked=False)
        yield Done({"state": str(self._app.gateway.state)})


def text(args: dict[str, Any], key: str, default: str | None = None) -> str:
    value = args.get(key, default)
    if not isinstance(value, str):
        raise Refused(f"{key}: a text is wanted")
    return value


def parse_place(what: str) -> Place:
    """NAME[:PORT], ADDR, ADDR:PORT or [ADDR]:PORT. Raises Refused."""
    host, port = what.strip(), HTTPS
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        number = rest.removeprefix(":")
    elif host.count(":") == 1:
        host, _, number = host.partition(":")
    else:
        number = ""
    if number:
        if not number.isascii() or not number.isdigit() or not 0 < int(number) < 1 << 16:
            raise Refused(f"{number!r} is no port")
        port = int(number)
    try:
        return Place("", ip_address(host).packed, port)
    except ValueError:
        pass
    name = host.rstrip(".").lower()
    if not name or ":" in name or name.split() != [name]:
        raise Refused(f"{what!r} is neither a name nor an address")
    return Place(name, None, port)
