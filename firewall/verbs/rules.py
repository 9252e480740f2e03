"""The rules: what stands, changing it, and trying it first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from firewall.control import Done, Refused, Verb
from firewall.phones import HOME, STRICT
from rules.lint import hidden
from rules.operators import OPERATORS
from rules.rule import MINE
from rules.words import sentence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from firewall.app import App
    from firewall.control import Peer


class RulesVerbs:
    def __init__(self, app: App) -> None:
        self._app = app

    def verbs(self) -> dict[str, Verb]:
        return {
            "rules": Verb(self.rules),
            "rules.edit": Verb(self.edit, changes=True),
            "rules.test": Verb(self.test),
            "reload": Verb(self.reload, changes=True),
            "vocabulary": Verb(self.vocabulary),
        }

    async def rules(self, _peer: Peer, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        edits = self._app.edits
        policy = edits.policy
        hits = self._app.recorder.hits
        by = hidden(policy) if policy else {}
        titles = {operator.id: operator.title for operator in OPERATORS.values()}
        titles |= {service.id: service.title for service in policy.services.values()} if policy else {}
        for position, rule in enumerate(policy.rules if policy else (), 1):
            count, last = hits.get(rule.id, (0, None))
            yield {
                "position": position,
                "id": rule.id,
                "action": str(rule.action),
                "match": str(rule.expression),
                "words": sentence(rule.action, rule.expression, titles),
                "note": rule.note,
                "source": rule.source,
                "mine": rule.source == MINE,
                "enabled": rule.enabled,
                "hits": count,
                "last": last,
                "hidden_by": by.get(rule.id, ""),
            }
        yield Done({
            "revision": policy.revision if policy else 0,
            "file": str(self._app.settings.rules_file),
            "undo": edits.undo_words,
            "redo": edits.redo_words,
        })

    async def edit(self, peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        async with self._app.saving:  # undo of a renaming renames the phone as well
            done = await self._app.edits.edit(args, peer.author)
        yield Done(done)

    async def test(self, _peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        yield Done(await self._app.edits.test(args))

    async def reload(self, peer: Peer, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        problems = await self._app.edits.load(peer.author)
        if problems:
            raise Refused("\n".join(map(str, problems)))
        policy = self._app.edits.policy
        yield Done({"revision": policy.revision if policy else 0})

    async def vocabulary(self, _peer: Peer, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        policy = self._app.edits.policy
        services = policy.services.values() if policy else ()
        phones = self._app.gateway.phones
        yield Done({
            "services": [{"id": service.id, "title": service.title} for service in services],
            "operators": [{"id": operator.id, "title": operator.title} for operator in OPERATORS.values()],
            "phones": sorted(phone.name for phone in phones),
            "groups": sorted({phone.group for phone in phones} | {HOME, STRICT}),
            "rules": [{"id": rule.id, "says": str(rule)} for rule in (policy.rules if policy else ())],
        })
