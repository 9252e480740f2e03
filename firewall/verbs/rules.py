"""The rules: what stands, and changing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from firewall.control import Done, Refused, Verb

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
            "reload": Verb(self.reload, changes=True),
        }

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
        problems = self._app.load_rules(peer.author)
        if problems:
            raise Refused("\n".join(map(str, problems)))
        policy = self._app.gateway.policy
        yield Done({"revision": policy.revision if policy else 0})
