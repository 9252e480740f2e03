"""`stop` and `resume` say what holds in the kernel, not what is about to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from firewall.control import Done, Peer
from firewall.verbs.gate import GateVerbs


class App:
    """Becomes what it was asked to be when the kernel has it."""

    def __init__(self) -> None:
        self.state, self.gateway, self._wanted = object(), SimpleNamespace(state="STARTING"), ""

    def lock(self, _who: object, *, locked: bool) -> None:
        self._wanted = "LOCKED" if locked else "ENFORCING"

    async def settled(self) -> None:
        self.gateway.state = self._wanted


@pytest.mark.parametrize(("verb", "state"), [("stop", "LOCKED"), ("resume", "ENFORCING")])
async def test_the_answer_waits_for_the_kernel(verb: str, state: str) -> None:
    app: Any = App()
    answers = [said async for said in getattr(GateVerbs(app), verb)(Peer(1, 0, 0, frozenset()), {})]
    assert answers == [Done({"state": state})]
