"""A gateway that says what it is told to say, over the real protocol on a real socket."""

from __future__ import annotations

import asyncio
import copy
import time
from typing import TYPE_CHECKING, Any

from askkeeper import AskKeeper
from pastkeeper import PastKeeper

from firewall.control import Done, Refused, Verb
from firewall.control_server import Server
from firewall.episode import Episode
from rules.expression import ExpressionError, parse_rule
from rules.observation import Name, Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SOURCES = {"sni": Source.SNI, "http": Source.HTTP}


def episode(
    number: int, name: str = "", *, verdict: str = "allow", phone: str = "phone1", dst: str = "142.250.74.78", port: int = 443,
    via: str = "sni", rule: str = "default", service: str = "", reason: str = "no rule speaks of it; the default allows it",
    count: int = 1, at: float | None = None, first: float | None = None, up: int = 0, down: int = 0, proto: str = "tcp",
    tries: dict[int, int] | None = None, asked: bool = True, **more: Any,
) -> Episode:
    at = time.time() if at is None else at
    said = (Name(name, SOURCES[via]),) if name and via in SOURCES else ()
    answered = ((name,),) if name and asked else ()
    names = said + tuple(Name(n, Source.DNS) for chain in answered for n in chain)
    return Episode(
        number, phone, "10.77.0.10", dst, port, proto, name, names, answered, via, service, verdict, rule, reason, 3, count,
        at if first is None else first, at, up, down, tries or {0: count}, **more,
    )


def rule(position, name, action="ask", match="service:x", source="xiaomi 2026-11", *, hits=0, note="", enabled=True, hidden_by="", mine=None) -> dict[str, Any]:
    return {
        "position": position, "id": name, "action": action, "match": match, "note": note, "source": source, "enabled": enabled, "hits": hits,
        "last": time.time() if hits else None, "mine": source == "mine" if mine is None else mine, "hidden_by": hidden_by,
    }


class Gatekeeper(PastKeeper, AskKeeper):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.rows: list[Episode] = []
        self.rules: list[dict[str, Any]] = []
        self.explained: dict[str, Any] | None = None
        self.dry_run: dict[str, Any] | None = None  # what rules.test tells beside "words"
        self.words = "added"
        self.may_answer = asyncio.Event()  # a dry run waits for it
        self.may_answer.set()
        self.vocabulary: dict[str, Any] = {"services": [{"id": "xiaomi-account", "title": "Xiaomi account"}], "operators": [], "phones": ["phone1", "phone2"], "groups": []}
        self.past: list[tuple[str, list[dict[str, Any]]]] = []  # words of an act, and the rules before it
        self.undone: list[tuple[str, list[dict[str, Any]]]] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.status: dict[str, Any] = {
            "state": "ENFORCING", "reason": "", "since": time.time() - 3600, "revision": 3, "rules": "/var/lib/consentry/rules.toml",
            "phones": 2, "queue": {"waiting": 0, "lost": 0, "unanswered": 0, "kind": "nft queue"}, "per_second": [0] * 48 + [1, 2, 9, 3, 2, 0, 4, 12, 5, 3, 2, 4],
            "lan": "lan0", "wan": "wan0", "pid": 4242, "version": "0.1.0", "socket": str(path), "lab": False, "trouble": None,
        }
        self._server: Server | None = None

    async def open(self) -> None:
        verbs = {"status": Verb(self._status), "explain": Verb(self._explain), "rules": Verb(self._rules)}
        verbs |= {"rules.edit": Verb(self._edit), "rules.test": Verb(self._test), "vocabulary": Verb(self._vocabulary)}
        verbs |= self.past_verbs() | self.ask_verbs()
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

    async def _explain(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        self.asked.append(("explain", args))
        if self.explained is None:
            raise Refused("there is no policy")
        yield Done(self.explained)

    async def _rules(self, _peer: object, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        for one in self.rules:
            yield one
        yield Done({"revision": self.status["revision"], "undo": self.past[-1][0] if self.past else ""})

    async def _vocabulary(self, _peer: object, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        yield Done(self.vocabulary)

    async def _test(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        self.asked.append(("rules.test", args))
        await self.may_answer.wait()
        self._judge(args)
        if self.dry_run is None:
            raise Refused("the past cannot be read")
        yield Done({"words": f"reading of {args.get('text', '')}"} | self.dry_run)

    async def _edit(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        """As the real one does it: ids stay, `was` has to be what stands, the owner's rules stand above the packs'."""
        self.asked.append(("rules.edit", args))
        done = self._step(args["act"]) if args["act"] in {"undo", "redo"} else self._apply(args)
        self.say(revision=self.status["revision"] + 1)
        yield Done({"revision": self.status["revision"], "cut": 0} | done)

    def _step(self, way: str) -> dict[str, Any]:
        source, target = (self.past, self.undone) if way == "undo" else (self.undone, self.past)
        if not source:
            raise Refused(f"there is nothing to {way}")
        words, rules = source.pop()
        target.append((words, self.rules))
        self.rules = rules
        return {"words": f"{'took back' if way == 'undo' else 'did again'}: {words}"}

    def _judge(self, args: dict[str, Any]) -> tuple[str, str]:
        action, _, match = args.get("text", "").partition(" ")
        try:
            parse_rule(match)
        except ExpressionError as error:
            raise Refused(f"column {error.start + len(action) + 2}: {error.message}") from None
        return action, match

    def _apply(self, args: dict[str, Any]) -> dict[str, Any]:
        rules = copy.deepcopy(self.rules)
        mine = sum(one["mine"] for one in rules)
        if args["act"] == "add":
            action, match = self._judge(args)
            at = args.get("at", 1)
            made = rule(at, f"r{len(self.past)}", action, match, "mine", note=args.get("note", ""))
            rules.insert(at - 1, made)
            words = f"added {args['text']} at {at}"
        else:
            made = next((one for one in rules if one["id"] == args["rule"]), None)
            if made is None:
                raise Refused(f"there is no rule {args['rule']!r}")
            text = f"{made['action']} {made['match']}".rstrip()
            if args.get("was", text) != text:
                raise Refused(f"rule {made['id']} has been changed meanwhile: it was {args['was']!r}, it is {text!r}")
            if not made["mine"] and args["act"] not in {"enable", "disable"}:
                raise Refused(f"rule {made['id']} is of a pack")
            words = f"{args['act']} {made['id']}"
            match args["act"]:
                case "change":
                    if "text" in args:
                        made["action"], made["match"] = self._judge(args)
                    made["note"] = args.get("note", made["note"])
                case "move":
                    assert 1 <= args["at"] <= mine
                    rules.remove(made)
                    rules.insert(args["at"] - 1, made)
                case "remove":
                    rules.remove(made)
                case act:
                    made["enabled"] = act == "enable"
        for position, one in enumerate(rules, 1):
            one["position"] = position
        self.past.append((words, self.rules))
        self.undone.clear()
        self.rules = rules
        return {"id": made["id"], "position": made["position"], "words": words}
