"""A gateway that says what it is told to say, over the real protocol on a real socket."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from firewall.control import Done, Refused, Verb
from firewall.control_server import Server
from firewall.episode import Episode
from rules.expression import parse_filter
from rules.observation import Name, Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SOURCES = {"sni": Source.SNI, "http": Source.HTTP}


def episode(
    number: int, name: str = "", *, verdict: str = "allow", phone: str = "phone1", dst: str = "142.250.74.78", port: int = 443,
    via: str = "sni", rule: str = "default", service: str = "", reason: str = "no rule speaks of it; the default allows it",
    count: int = 1, at: float | None = None, first: float | None = None, up: int = 0, down: int = 0, proto: str = "tcp",
    tries: dict[int, int] | None = None, asked: bool = True,
) -> Episode:
    at = time.time() if at is None else at
    said = (Name(name, SOURCES[via]),) if name and via in SOURCES else ()
    answered = ((name,),) if name and asked else ()
    names = said + tuple(Name(n, Source.DNS) for chain in answered for n in chain)
    return Episode(
        number, phone, "10.77.0.10", dst, port, proto, name, names, answered, via, service, verdict, rule, reason, 3, count,
        at if first is None else first, at, up, down, tries or {0: count},
    )


class Gatekeeper:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Episode] = []
        self.rules: list[dict[str, Any]] = []
        self.explained: dict[str, Any] | None = None
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.status: dict[str, Any] = {
            "state": "ENFORCING", "reason": "", "since": time.time() - 3600, "revision": 3, "rules": "/var/lib/consentry/rules.toml",
            "phones": 2, "queue": {"waiting": 0, "lost": 0, "unanswered": 0, "kind": "nft queue"}, "per_second": [0] * 48 + [1, 2, 9, 3, 2, 0, 4, 12, 5, 3, 2, 4],
            "lan": "lan0", "wan": "wan0", "pid": 4242, "version": "0.1.0", "socket": str(path), "lab": False, "trouble": None,
        }
        self._server: Server | None = None

    async def open(self) -> None:
        verbs = {"status": Verb(self._status), "history": Verb(self._history), "explain": Verb(self._explain), "rules": Verb(self._rules)}
        self._server = Server(self.path, verbs, "0.1.0", lambda most: [{"episode": row.to_json()} for row in self.rows[-most:]])
        await self._server.start()

    @property
    def followers(self) -> int:
        return len(self._server._followers) if self._server else 0

    async def close(self) -> None:
        if self._server is not None:
            await self._server.close()
            self._server = None

    def say(self, *rows: Episode, **status: Any) -> None:
        """New or changed rows, and a status with these changes."""
        assert self._server is not None
        self.rows += rows
        for row in rows:
            self._server.publish({"episode": row.to_json()})
        self.status |= status
        self._server.publish({"status": self.status})

    def skip(self, number: int) -> None:
        assert self._server is not None
        self._server.publish({"skipped": number})

    async def _status(self, _peer: object, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        yield Done(self.status)

    async def _history(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        self.asked.append(("history", args))
        wanted = parse_filter(args["filter"])
        rows = [row for row in reversed(self.rows) if wanted.matches(row, time.time())]
        for row in rows:
            yield row.to_json()
        yield Done({"count": len(rows), "seconds": 0.18})

    async def _explain(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        self.asked.append(("explain", args))
        if self.explained is None:
            raise Refused("there is no policy")
        yield Done(self.explained)

    async def _rules(self, _peer: object, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        for rule in self.rules:
            yield rule
        yield Done({"revision": 3})
