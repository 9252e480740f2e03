"""What the scripted gateway says of questions and of consents."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from firewall.control import Done, Refused, Verb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECONDS = {"15m": 900, "1h": 3_600, "12h": 43_200, "tomorrow": 50_000}
TITLES = {"xiaomi-account": "Xiaomi account and messaging"}


def width(kind: str, what: str) -> dict[str, Any]:
    return {"kind": kind, "what": what, "title": TITLES.get(what, what)}


def question(
    number: int, phone: str = "redmi-1s", service: str = "xiaomi-account", *, names: dict[str, int] | None = None, group: str = "family",
    at: float | None = None, put_off: float | None = None, addr: str = "42.62.48.181", more: int = 0, country: str = "CN",
) -> dict[str, Any]:
    """A service "" makes it one of a domain, or of an address if there is no name either."""
    at = time.time() if at is None else at
    names = {"api.account.xiaomi.com": 5, "sms.intl.xiaomi.com": 1} if names is None else names
    widths = [width("service", service)] if service else []
    for name in list(names)[:1]:
        domain = ".".join(name.split(".")[-2:])
        widths += [width("name", domain), width("name", name)] if not service else [width("name", name), width("name", domain)]
    widths.append(width("addr", addr))
    return {
        "id": number, "phone": phone, "slot": number, "group": group, **widths[0], "count": sum(names.values()) or 1, "more": more, "first": at - 78, "last": at,
        "names": [{"name": name, "count": count} for name, count in names.items()], "widths": widths, "addr": addr, "readable": "cleartext HTTP",
        "place": {"country": country, "operator_country": country, "asn": 4808, "organisation": "China Unicom", "operator": "xiaomi"}, "put_off": put_off,
    }


def consent(
    number: int, phone: str = "redmi-1s", what: str = "xiaomi-account", *, kind: str = "service", life: str = "1h", left: float | None = 2_000.0, state: str = "active",
    slot: int = 10, group: str = "family", who: str = "anna", why: str = "", flows: int = 3, up: int = 4_200, given: float | None = None,
) -> dict[str, Any]:
    given = time.time() - 1_600 if given is None else given
    ends = given + 1_600 + left if left is not None and state == "active" else None
    return {
        "id": number, "phone": phone, "slot": slot, "group": group, **width(kind, what), "life": life, "given": given, "who": who, "uid": 0, "screen": "tui: asks",
        "ends": ends, "left": left, "state": state, "flows": flows, "up": up, "down": 900, "why": why,
    }


class AskKeeper:
    """Part of the Gatekeeper."""

    def __init__(self) -> None:
        super().__init__()
        self.questions: list[dict[str, Any]] = []
        self.consents: list[dict[str, Any]] = []
        self.previewed: dict[str, Any] = {"includes": ["account and messaging alike: they share these hosts"], "refused": [], "cuts": 0}
        self.refuses = ""  # why it takes no answer
        self.uncounted = 0

    def ask_verbs(self) -> dict[str, Verb]:
        return {
            "asks": Verb(self._asks), "asks.later": Verb(self._later), "asks.never": Verb(self._never), "consents": Verb(self._consents),
            "consents.preview": Verb(self._preview), "consents.grant": Verb(self._grant), "consents.revoke": Verb(self._revoke), "clock.trust": Verb(self._trust),
        }

    def wait(self, *questions: dict[str, Any]) -> None:
        """These are asked from now on."""
        self.questions += questions
        for one in questions:
            self._server.publish({"question": one})
        self._count()

    def _count(self) -> None:
        active = sum(one["state"] == "active" for one in self.consents)
        self.say(asks=sum(not one["put_off"] for one in self.questions), consents=active)

    def _question(self, args: dict[str, Any]) -> dict[str, Any]:
        found = next((one for one in self.questions if one["id"] == args["id"]), None)
        if found is None:
            raise Refused(f"there is no question {args['id']}: somebody else may have answered it")
        return found

    async def _asks(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        told = [one for one in self.questions if args.get("all") or not one["put_off"]]
        for one in told:
            yield one
        yield Done({"count": len(told), "waiting": sum(not one["put_off"] for one in self.questions), "uncounted": self.uncounted})

    async def _later(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        self.asked.append(("asks.later", args))
        self._question(args)["put_off"] = time.time() + args["seconds"]
        self._count()
        yield Done()

    async def _never(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        self.asked.append(("asks.never", args))
        self.questions.remove(self._question(args))
        self._count()
        yield Done({"rule": "k7x2", "revision": 4})

    async def _consents(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        told = [one for one in self.consents if args.get("ended") or one["state"] != "ended"]
        for one in told:
            yield one
        yield Done({"count": len(told)})

    async def _preview(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        self.asked.append(("consents.preview", args))
        await self.may_answer.wait()
        yield Done({"words": f"opens {args['subject']} for {args.get('phone') or args['group']}"} | self.previewed)

    async def _grant(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        self.asked.append(("consents.grant", args))
        if self.refuses:
            raise Refused(self.refuses)
        if "ask" in args:
            self.questions.remove(self._question({"id": args["ask"]}))
        kind, _, what = args["subject"].partition(":")
        phone = args.get("phone", "")
        made = consent(
            len(self.consents) + 1, phone, what, kind=kind, life=args["life"], left=SECONDS.get(args["life"]), slot=10 if phone else 0, group=args.get("group", "family"),
            given=time.time(), flows=0, up=0,
        )
        self.consents.append(made)
        self._server.publish({"consent": made})
        self._count()
        yield Done(made | {"words": f"consent {made['id']} opens {TITLES.get(what, what)} for {phone or args['group']}, for {args['life']}"})

    async def _revoke(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        self.asked.append(("consents.revoke", args))
        found = next((one for one in self.consents if one["id"] == args["id"] and one["state"] != "ended"), None)
        if found is None:
            raise Refused(f"there is no consent {args['id']}")
        found |= {"state": "ended", "why": "revoked by root", "left": None, "ended": time.time()}
        self._server.publish({"consent": found})
        self._count()
        yield found
        yield Done({"cut": 2})

    async def _trust(self, _peer: object, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        self.asked.append(("clock.trust", args))
        for one in self.consents:
            if one["state"] == "suspended":
                one |= {"state": "active", "ends": time.time() + one["left"]}
        self.say(clock=True)
        yield Done()
