"""What `consentry service install` begins: the lock always, the gate with a plan, unless its owner starts that by hand."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from plans import PLAN

from firewall.cli import service


@pytest.mark.parametrize(("words", "plan", "start"), [
    ((), PLAN, True), (("--lock-only",), PLAN, False), ((), None, False), (("--lock-only",), None, False),
])
def test_what_begins(monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], plan: object, start: bool) -> None:
    asked: list[bool] = []

    class Told:
        def __init__(self, _: object) -> None: ...

        def install(self, _lan: str, _ports: list[str], *, start: bool) -> None:
            asked.append(start)

    monkeypatch.setattr(service, "Service", Told)
    monkeypatch.setattr(service, "planned", lambda: plan)
    monkeypatch.setattr(service, "need_root", lambda _: None)
    done = CliRunner().invoke(service.service, ["install", *words])
    assert (done.exit_code, asked) == (0, [start]), done.output
    assert ("No plan yet" in done.output) is (plan is None)
