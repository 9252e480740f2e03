"""The phones: who they are, and what their owner says of them."""

from __future__ import annotations

import asyncio
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from firewall.control import Done, Refused, Verb
from firewall.edits import Renaming
from firewall.engine import wall
from firewall.history.sums import Sums
from firewall.inputs import ModeAsked, PhoneChanged
from firewall.phones import ENFORCE, WATCH, Phone, PhoneError
from firewall.state import State, StateError, StoredPhone
from firewall.vendor import is_random, vendor
from firewall.verbs.args import flag, text
from firewall.verbs.past import looked_up
from rules.expression import parse_filter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from sqlite3 import Connection

    from firewall.app import App
    from firewall.control import Peer
    from firewall.inputs import Author
    from firewall.phones import Phones


class PhonesVerbs:
    """What is changed is on the disk before it counts, and before it is said."""

    def __init__(self, app: App) -> None:
        self._app = app

    def verbs(self) -> dict[str, Verb]:
        return {
            "phones": Verb(self.phones),
            "phones.set": Verb(self.set, changes=True),
            "phones.join": Verb(self.join, changes=True),
            "phones.forget": Verb(self.forget, changes=True),
            "mode": Verb(self.mode, changes=True),
        }

    async def phones(self, _peer: Peer, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        phones = sorted(self._app.gateway.phones, key=lambda phone: phone.name)
        today = await looked_up(self._app.history.read, _today)
        for phone in phones:
            yield self._told(phone) | {"today": today.get(phone.name, {})}
        yield Done({"count": len(phones)})

    async def set(self, peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        called = text(args, "phone")
        name, group, mode = (text(args, key) if key in args else None for key in ("name", "group", "mode"))
        phones, edits = self._app.gateway.phones, self._app.edits
        did = [
            *([f"called {name}"] if name is not None else ()),
            *([f"put into group {group}"] if group is not None else ()),
            *([f"set to {mode or 'the mode of all'}"] if mode is not None else ()),
        ]
        if not did:
            raise Refused("name, group or mode: say what shall change", 2)
        async with self._app.saving:
            try:
                wanted = phones.edited(called, new_name=name, group=group, mode=mode)
            except PhoneError as error:
                raise Refused(str(error)) from None
            what, rules = f"{called} was {' and '.join(did)}", ""
            if flag(args, "rules", otherwise=True) and wanted.name != called and edits.names_phone(called):
                change = PhoneChanged(wanted, what, peer.author)
                try:
                    done = await edits.rename(called, wanted.name, Renaming(to_store(wanted), change), peer.author)
                except Refused as error:
                    raise Refused(f"{error} (the phone alone: --keep-rules)") from None
                rules = done["words"]
            else:
                await self._change(wanted, what, peer)
        yield Done(self._told(phones.slot(wanted.slot)) | {"rules": rules})

    async def join(self, peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        called, into, consents = text(args, "phone"), text(args, "into"), flag(args, "consents", otherwise=True)
        phones = self._app.gateway.phones
        async with self._app.saving:
            try:
                gone, wanted = phones.need(called), phones.joined(called, into)
            except PhoneError as error:
                raise Refused(str(error)) from None
            what = f"{called} is {into} as well" + ("" if consents else ", without its consents")
            async with self._app.granting.moving(gone.slot if consents else 0, wanted.slot, wanted.name):
                await self._change(wanted, what, peer, gone.slot, consents=consents)
        yield Done(self._told(phones.slot(wanted.slot)))

    async def forget(self, peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        called = text(args, "phone")
        async with self._app.saving:
            try:
                phone = self._app.gateway.phones.need(called)
            except PhoneError as error:
                raise Refused(str(error)) from None
            await self._change(None, f"{called} was forgotten", peer, forgotten=phone.slot)
        yield Done()

    async def mode(self, peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        mode = text(args, "mode")
        if mode not in {WATCH, ENFORCE}:
            raise Refused(f"{mode!r} is no mode: watch or enforce", 2)
        async with self._app.saving:
            await self._store(State.set_word, "mode", mode)
            self._app.engine.deliver((ModeAsked(mode, peer.author),))
        yield Done({"mode": mode})

    async def _change(
        self, wanted: Phone | None, what: str, peer: Peer, forgotten: int = 0, *, consents: bool = True
    ) -> None:
        """Called with `saving` held: nothing older is written over it."""
        stored = (to_store(wanted),) if wanted else ()
        heir = wanted.slot if wanted and consents else 0
        await self._store(State.save_phones, stored, (forgotten,) if forgotten else (), heir)
        self._app.engine.deliver((PhoneChanged(wanted, what, peer.author, forgotten, consents),))

    async def _store(self, write: Callable[..., None], *what: object) -> None:
        """In a thread, for it waits for the disk. Raises Refused."""
        try:
            await asyncio.to_thread(write, self._app.need_state(), *what)
        except StateError as error:
            raise Refused(f"not changed, for it could not be stored: {error}") from None

    def _told(self, phone: Phone) -> dict[str, Any]:
        presence = self._app.gateway.presence
        joined, signal = presence.signal(phone)
        return {
            "slot": phone.slot,
            "name": phone.name,
            "group": phone.group,
            "mode": phone.mode,
            "named": phone.named,
            "vendor": next(filter(None, map(vendor, phone.macs)), ""),
            "random": bool(phone.macs) and all(map(is_random, phone.macs)),
            "macs": [mac.hex(":") for mac in phone.macs],
            "addresses": [str(ip_address(addr)) for addr in sorted(phone.addresses, key=_by_family)],
            "first": phone.first,
            "last": phone.last,
            "host": presence.host(phone),
            "joined": joined,
            "signal": signal,
        }


def _today(db: Connection) -> dict[str, dict[str, int]]:
    """Phone -> verdict -> tries since midnight."""
    now = wall()
    midnight = time.mktime((*time.localtime(now)[:3], 0, 0, 0, 0, 0, -1))
    wanted = parse_filter(f"last:{max(int(now - midnight), 1)}s")
    return {group["key"]: group["verdicts"] for group in Sums(db, wanted, now).groups("phone")}


def _by_family(addr: bytes) -> tuple[int, bytes]:
    return len(addr), addr


def renaming(phones: Phones, old: str, new: str, who: Author) -> Renaming | None:
    """What takes a renaming back or does it again; None if the phone is gone or the name is taken."""
    try:
        wanted = phones.edited(old, new_name=new)
    except PhoneError:
        return None
    return Renaming(to_store(wanted), PhoneChanged(wanted, f"{old} was called {new}", who))


def from_store(phone: StoredPhone) -> Phone:
    return Phone(phone.slot, phone.name, phone.group, phone.mode, phone.named, phone.first, phone.last, phone.macs)


def to_store(phone: Phone) -> StoredPhone:
    return StoredPhone(
        phone.slot, phone.name, phone.group, phone.mode, phone.named, phone.first, phone.last, phone.macs
    )
