"""What TUI and CLI may ask a gateway, and its answers: the verbs of docs/control-protocol.md, one file for each room.

Each room is a class made with the `App` it is asked about; its `verbs()` are what it answers. A verb yields items and
then a Done, or raises Refused. Those that change something say so (`changes=True`) and pass on who asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from firewall.verbs.consents import ConsentsVerbs
from firewall.verbs.gate import GateVerbs
from firewall.verbs.past import PastVerbs
from firewall.verbs.phones import PhonesVerbs
from firewall.verbs.rules import RulesVerbs

if TYPE_CHECKING:
    from firewall.app import App
    from firewall.control import Verb

ROOMS = (ConsentsVerbs, GateVerbs, PastVerbs, PhonesVerbs, RulesVerbs)


def all_verbs(app: App) -> dict[str, Verb]:
    return {word: verb for room in ROOMS for word, verb in room(app).verbs().items()}
