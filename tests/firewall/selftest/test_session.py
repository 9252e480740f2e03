"""What the history says is not believed by itself: an opening counts only if the rules, asked on their own, allow it too."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from firewall.selftest.session import NAMES, Session
from firewall.selftest.tries import Try
from firewall.selftest.verdict import HELD, OPEN, THROUGH, judge

BARE = Try("bare-udp", 4, "", "frames", bytes((192, 0, 2, 62)), 9_999, b"t", proto="udp")


class Gate:
    """Its history, and its rules."""

    def __init__(self, history: str, rules: str) -> None:
        self._history, self._rules = history, rules
        self.asked: list[dict[str, Any]] = []

    def status(self) -> dict[str, Any]:
        return {}

    def ask(self, verb: str, **args: Any) -> Any:
        if verb == "explain":
            self.asked.append(args)
            return SimpleNamespace(done={"verdict": self._rules})
        row = {"name": "", "dst": "192.0.2.62", "dport": 9_999, "first": 1e12, "verdict": self._history, "rule": "r1"}
        return SimpleNamespace(items=[row])


@pytest.mark.parametrize(("left", "history", "rules", "word"), [
    (1, "allow", "allow", OPEN),
    (1, "consent", "consent", OPEN),
    (1, "allow", "ask", THROUGH),  # a gate that lets pass what it should not says that it should
    (1, "block", "allow", THROUGH),
    (1, "watch", "allow", THROUGH),
    (0, "block", "block", HELD),
    (0, "allow", "ask", HELD),
])
def test_whether_a_rule_lets_it(left: int, history: str, rules: str, word: str) -> None:
    gate = Gate(history, rules)
    session = Session(gate, disrupt=False, say=lambda _: None)  # type: ignore[arg-type]
    seen = session._seen[BARE]
    seen.said, seen.left = True, left
    asyncio.run(session._ask_why([BARE]))
    assert judge(BARE, seen).state == word
    assert gate.asked in ([], [{"phone": NAMES[0], "what": "[192.0.2.62]:9999", "proto": "udp"}])
