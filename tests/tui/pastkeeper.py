"""What the scripted gateway says of phones and of the past."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from firewall.control import Done, Refused, Verb
from rules.expression import parse_filter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOUR = 3_600


def phone(slot: int, name: str, *, group: str = "home", mode: str = "", named: bool = True, random: bool = False, vendor: str = "Xiaomi", **today: int) -> dict[str, Any]:
    now = time.time()
    return {
        "slot": slot, "name": name, "group": group, "mode": mode, "named": named, "vendor": vendor, "random": random, "macs": [f"02:00:00:00:00:{slot:02x}"],
        "addresses": [f"10.77.0.{slot}"], "first": now - 90_000, "last": now, "today": today,
    }


class PastKeeper:
    """Part of the Gatekeeper."""

    def __init__(self) -> None:
        super().__init__()
        self.phones: list[dict[str, Any]] = []
        self.notes: list[dict[str, Any]] = []
        self.page = 10_000  # rows of a page at most
        self.whole: dict[str, Any] = {
            "minutes": 12, "broken": [], "forgotten": 0, "unsealed": 2, "complete": True, "seal": "ab" * 32, "says": "this proves little against root",
        }

    def past_verbs(self) -> dict[str, Verb]:
        return {
            "phones": Verb(self._phones), "phones.set": Verb(self._set), "phones.join": Verb(self._join), "phones.forget": Verb(self._forget),
            "mode": Verb(self._mode), "history": Verb(self._history), "history.hours": Verb(self._hours), "history.groups": Verb(self._groups),
            "history.notes": Verb(self._notes), "history.verify": Verb(self._verify),
        }

    async def _phones(self, _peer: object, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        for one in self.phones:
            yield one
        yield Done({"count": len(self.phones)})

    def _need(self, name: str) -> dict[str, Any]:
        found = next((one for one in self.phones if one["name"] == name), None)
        if found is None:
            raise Refused(f"there is no phone {name!r}")
        return found

    async def _set(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        self.asked.append(("phones.set", args))
        one = self._need(args["phone"])
        if args.get("name") == "":
            raise Refused("'' cannot be a name")
        one |= {key: args[key] for key in ("name", "group", "mode") if key in args}
        if "name" in args and not one["named"]:
            one |= {"named": True, "group": "home"}
        yield Done({key: value for key, value in one.items() if key != "today"})

    async def _join(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        self.asked.append(("phones.join", args))
        gone, into = self._need(args["phone"]), self._need(args["into"])
        self.phones.remove(gone)
        yield Done(into)

    async def _forget(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        self.asked.append(("phones.forget", args))
        self.phones.remove(self._need(args["phone"]))
        yield Done()

    async def _mode(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        self.asked.append(("mode", args))
        watching = [one["name"] for one in self.phones] if args["mode"] == "watch" else []
        self.say(mode=args["mode"], watching=watching)
        yield Done({"mode": args["mode"]})

    def _wanted(self, verb: str, args: dict[str, Any]) -> list[Any]:
        """Newest first."""
        self.asked.append((verb, args))
        wanted = parse_filter(args["filter"])
        return [row for row in reversed(self.rows) if wanted.matches(row, time.time())]

    async def _history(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        rows = self._wanted("history", args)
        begin = int(args.get("before") or 0)
        end = begin + min(args["limit"], self.page)
        for row in rows[begin:end]:
            yield row.to_json()
        yield Done({"count": len(rows[begin:end]), "seconds": 0.18, "more": str(end) if end < len(rows) else None})

    async def _hours(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        rows = self._wanted("history.hours", args)
        end = time.time() // HOUR * HOUR + HOUR
        for back in range(args["hours"], 0, -1):
            told = dict.fromkeys(("allow", "ask", "block", "consent", "watch"), 0)
            for row in rows:
                if end - back * HOUR <= row.last < end - (back - 1) * HOUR:
                    told[row.verdict] += row.count
            yield {"hour": end - back * HOUR, **told}
        yield Done({"seconds": 0.01, "since": None})

    async def _groups(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        groups: dict[str, list[Any]] = {}
        for row in self._wanted("history.groups", args):
            groups.setdefault({"country": row.place.country or "", "operator": row.run_by, "name": row.to}.get(args["by"], getattr(row, args["by"], "")), []).append(row)
        titles = {one["id"]: one["title"] for one in self.vocabulary["services"]} if args["by"] == "service" else {}
        for key, rows in sorted(groups.items(), key=lambda group: -sum(row.count for row in group[1])):
            counts = {word: sum(row.count for row in rows if row.verdict == word) for word in ("allow", "ask", "block", "consent", "watch")}
            yield {
                "key": key, "title": titles.get(key, f"title of {key}" if args["by"] == "service" and key else key), "count": sum(counts.values()),
                "refused": counts["ask"] + counts["block"], "allowed": counts["allow"], "consented": counts["consent"], "watched": counts["watch"], "verdicts": counts,
                "phones": len({row.phone for row in rows}), "up": 0, "down": 0, "last": max(row.last for row in rows),
            }
        yield Done({"seconds": 0.02, "count": len(groups), "since": None})

    async def _notes(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        for note in self.notes[: args["limit"]]:
            yield note
        yield Done({"count": len(self.notes)})

    async def _verify(self, _peer: object, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        yield {"looked": 1}
        yield Done(self.whole)
