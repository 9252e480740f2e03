from __future__ import annotations

import asyncio

from firewall.commands import ForwardQuery, GiveVerdict, RefuseAddress, SendAnswer
from firewall.engine import Engine
from firewall.gateway import Turn
from firewall.inputs import Now, Tick
from rules.verdict import Verdict


class Scripted:
    """Stands where the gateway does: answers each batch with what the test laid down."""

    def __init__(self, *turns: Turn) -> None:
        self.turns, self.batches = list(turns), []

    def handle(self, batch, now) -> Turn:
        self.batches.append(list(batch))
        return self.turns.pop(0) if self.turns else Turn([], [], None)


class Carrier:
    def __init__(self, log: list, name: str) -> None:
        self.log, self.name, self.then = log, name, None

    def carry_out(self, commands) -> None:
        self.log.append((self.name, [type(c).__name__ for c in commands]))
        if self.then:
            then, self.then = self.then, None
            then()


def build(*turns: Turn, boot: float = 0.0) -> tuple[Engine, Scripted, list, list]:
    log: list = []
    events: list = []
    gateway = Scripted(*turns)
    backend, resolver = Carrier(log, "backend"), Carrier(log, "resolver")
    engine = Engine(gateway, backend, resolver, events.extend, lambda: Now(boot, 0.0, True))
    engine.parts = (backend, resolver)
    return engine, gateway, log, events


def test_commands_keep_their_order_across_receivers() -> None:
    commands = [RefuseAddress(b"m", b"a", 5), SendAnswer(1), ForwardQuery(2), GiveVerdict(3, Verdict.ALLOW)]
    engine, _, log, _ = build(Turn(commands, [], None))
    engine.deliver([Tick()])
    assert log == [("backend", ["RefuseAddress"]), ("resolver", ["SendAnswer", "ForwardQuery"]), ("backend", ["GiveVerdict"])]


def test_what_is_all_for_one_receiver_goes_out_once_and_together() -> None:
    verdicts = [GiveVerdict(number, Verdict.ALLOW) for number in range(3)]
    engine, _, log, _ = build(Turn(verdicts, [], None), Turn([ForwardQuery(1), SendAnswer(1)], [], None), Turn([], [], None))
    for _ in range(3):
        engine.deliver([Tick()])
    assert log == [("backend", ["GiveVerdict"] * 3), ("resolver", ["ForwardQuery", "SendAnswer"])]


def test_a_batch_that_arrives_while_commands_are_carried_out_waits() -> None:
    engine, gateway, log, events = build(Turn([ForwardQuery(1)], ["first"], None), Turn([SendAnswer(1)], ["second"], None))
    engine.parts[1].then = lambda: engine.deliver(["answer"])
    engine.deliver(["question"])
    assert gateway.batches == [["question"], ["answer"]]
    assert events == ["first", "second"]


async def test_a_tick_comes_when_the_gateway_asked_for_it() -> None:
    engine, gateway, _, _ = build(Turn([], [], 0.05), boot=0.0)
    engine.deliver(["packet"])
    async with asyncio.timeout(30):
        while len(gateway.batches) < 2:
            await asyncio.sleep(0.01)
    assert isinstance(gateway.batches[1][0], Tick)
    engine.stop()


async def test_after_stop_nothing_is_told_any_more() -> None:
    engine, gateway, _, _ = build(Turn([], [], 0.01))
    engine.start()
    engine.deliver(["packet"])
    engine.stop()
    await asyncio.sleep(0.05)
    assert len(gateway.batches) == 1
