"""What TUI and CLI may ask a gateway, and its answers: the verbs of docs/control-protocol.md, one file for each room.

Each room is a class made with the `App` it is asked about; its `verbs()` are what it answers. A verb yields items and
then a Done, or raises Refused. Those that change something say so (`changes=True`) and pass on who asked; they are
answered when the kernel holds what they changed, so that whoever reads "done" may try at once.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from firewall.control import Done
from firewall.verbs.consents import ConsentsVerbs
from firewall.verbs.gate import GateVerbs
from firewall.verbs.past import PastVerbs
from firewall.verbs.phones import PhonesVerbs
from firewall.verbs.rules import RulesVerbs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from firewall.app import App
    from firewall.control import Peer, Verb

ROOMS = (ConsentsVerbs, GateVerbs, PastVerbs, PhonesVerbs, RulesVerbs)


def all_verbs(app: App) -> dict[str, Verb]:
    return {word: _answered_late(app, verb) for room in ROOMS for word, verb in room(app).verbs().items()}


def _answered_late(app: App, verb: Verb) -> Verb:
    return replace(verb, run=partial(_held, app, verb)) if verb.changes else verb


async def _held(app: App, verb: Verb, peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
    async for one in verb.run(peer, args):
        if isinstance(one, Done):
            await app.settled()
        yield one
