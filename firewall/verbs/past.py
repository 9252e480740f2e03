"""What happened, and why."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from firewall.control import Done, Refused, Verb
from firewall.engine import wall
from firewall.history import HistoryError
from firewall.history.search import Cursor
from firewall.history.sums import BY, Sums
from firewall.inputs import NEXT_FLOW
from firewall.readers import in_turn
from firewall.verbs.args import number, parse_place, text
from rules.explain import explain
from rules.expression import ExpressionError, parse_filter
from rules.matchers import ValueProblem
from rules.matchers.proto import ProtoMatcher
from rules.observation import Observation, Sign

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from sqlite3 import Connection

    from firewall.app import App
    from firewall.control import Peer
    from rules.expression import Filter
    from rules.rule import Rule

MOST_ROWS = 100_000
MOST_HOURS = 24 * 366
MOST_REVISIONS = 1 << 53
UNLISTED = bytes(4)  # 0.0.0.0 stands for an address that no rule lists


class PastVerbs:
    def __init__(self, app: App) -> None:
        self._app = app

    def verbs(self) -> dict[str, Verb]:
        return {
            "history": Verb(self.history),
            "history.hours": Verb(self.hours),
            "history.groups": Verb(self.groups),
            "history.notes": Verb(self.notes),
            "history.verify": Verb(self.verify),
            "explain": Verb(self.explain),
        }

    async def history(self, _peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        wanted, limit = parse_wanted(args), number(args, "limit", 200, MOST_ROWS)
        try:
            before = Cursor.parse(text(args, "before")) if args.get("before") else None
        except ValueError:
            raise Refused("before: what an earlier page gave as `more` is wanted", 2) from None
        began = time.monotonic()
        page = await looked_up(self._app.history.page, wanted, limit, wall(), before)
        for row in page.rows:
            yield row.to_json()
        more = str(page.more) if page.more else None
        yield Done({"count": len(page.rows), "seconds": time.monotonic() - began, "more": more})

    async def hours(self, _peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        wanted, hours = parse_wanted(args), number(args, "hours", 24, MOST_HOURS)
        began = time.monotonic()

        def add_up(db: Connection) -> tuple[list[dict[str, Any]], float | None]:
            sums = Sums(db, wanted, wall())
            return sums.hours(hours), sums.since

        told, since = await looked_up(self._app.history.read, add_up)
        for hour in told:
            yield hour
        yield Done({"seconds": time.monotonic() - began, "since": since})

    async def groups(self, _peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        wanted, by, limit = parse_wanted(args), text(args, "by"), number(args, "limit", 1_000, MOST_ROWS)
        if by not in BY:
            raise Refused(f"by: one of {', '.join(BY)}", 2)
        began = time.monotonic()

        def add_up(db: Connection) -> tuple[list[dict[str, Any]], float | None]:
            sums = Sums(db, wanted, wall())
            return sums.groups(by), sums.since

        told, since = await looked_up(self._app.history.read, add_up)
        titles = self._titles() if by == "service" else {}
        for group in told[:limit]:
            yield group | {"title": titles.get(group["key"], group["title"])}
        yield Done({"seconds": time.monotonic() - began, "count": len(told), "since": since})

    async def notes(self, _peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        told = await looked_up(self._app.history.notes, number(args, "limit", 200, MOST_ROWS))
        for note in told:
            yield note
        yield Done({"count": len(told)})

    async def verify(self, _peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        """In a process of its own: hashing a million rows burns CPU that packets need."""
        expected = text(args, "expect", "").strip().lower()
        if expected and not re.fullmatch("[0-9a-f]{64}", expected):
            raise Refused("expect: a seal is 64 hexadecimal digits, as history.verify tells the newest", 2)
        runs = (sys.executable, "-P", "-W", "ignore::RuntimeWarning:runpy", "-m", "firewall.history.seals")
        command = (*runs, str(self._app.settings.history_file), expected)  # the warning is of a package imported first
        worker = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert worker.stdout is not None
        told: dict[str, Any] = {}
        try:
            async for line in worker.stdout:
                told = json.loads(line)
                if "says" not in told and "error" not in told:
                    yield told
        finally:
            with contextlib.suppress(ProcessLookupError):
                worker.kill()
            await worker.wait()
        if "says" not in told:
            raise Refused(told.get("error") or "the history could not be looked at")
        yield Done(told)

    def _titles(self) -> dict[str, str]:
        policy = self._app.gateway.policy
        return {word: service.title for word, service in policy.services.items()} if policy else {}

    async def explain(self, _peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        gateway = self._app.gateway
        policy, caveat = gateway.policy, ""
        if policy is None:
            raise Refused(f"there is no policy: {gateway.reason}")
        if args.get("revision") is not None:
            policy, caveat = await self._app.edits.policy_of(number(args, "revision", 0, MOST_REVISIONS))
        called, what = text(args, "phone"), text(args, "what")
        named = gateway.phones.named(called)
        phone = named or gateway.phones.stranger
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
        there, proto = addr or UNLISTED, protocol(text(args, "proto", "tcp"))
        port = place.port if proto in {"tcp", "udp"} else None
        seen = Observation(
            called, proto, there, port, answered, group=phone.group, place=self._app.places.look_up(there),
            consents=gateway.consents.of(phone, NEXT_FLOW, boot),
            signs=(Sign.NEIGHBOUR,) if self._app.backend.on_phones_side(there) else (),
        )
        told = explain(policy, seen).to_json()
        told |= {"phone": called, "what": what, "addr": str(ip_address(addr)) if addr else None, "port": port}
        unknown = "" if named else f"no phone is called {called}: this is for one that nobody has named"
        told["caveat"] = "; ".join(filter(None, (caveat, unknown)))
        wanted = text(args, "rule", "")
        told["was"] = next((as_told(rule) for rule in policy.rules if rule.id == wanted), None)
        if addr is None:
            told["note"] = f"{called} has not asked for {place.name} yet; an address that no rule lists is assumed"
        yield Done(told)


def protocol(word: str) -> str:
    """As observations have it. Raises Refused."""
    try:
        (found,) = ProtoMatcher.parse([word]).values
    except ValueProblem as error:
        raise Refused(f"proto: {error.message}; {error.remedy}") from None
    return found


def as_told(rule: Rule) -> dict[str, Any]:
    return {"id": rule.id, "rule": str(rule), "answer": "matches", "source": rule.source, "note": rule.note}


def parse_wanted(args: dict[str, Any]) -> Filter:
    """Raises Refused."""
    try:
        return parse_filter(text(args, "filter", ""))
    except ExpressionError as error:
        raise Refused(f"column {error.start + 1}: {error.message} ({error.remedy})") from error


async def looked_up(look: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401  whatever `look` gives
    """In its turn. Raises Refused."""
    try:
        return await in_turn(look, *args)
    except HistoryError as error:
        raise Refused(str(error)) from None


def backlog(app: App, limit: int) -> list[dict[str, Any]]:
    """The newest rows, oldest first, for somebody who begins to follow."""
    try:
        rows = app.history.query(parse_filter(""), limit, wall())
    except HistoryError:
        return []
    return [{"episode": row.to_json()} for row in reversed(rows)]
