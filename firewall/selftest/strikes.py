"""Hurting the gate while the probe tries: its process killed, its queue taken away, its rules flushed.

Each strike is one that an accident or an update does too, and the gate mends itself. What is asked is whether anything
got out meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from firewall.backends.linux.nftables import TABLE, XTABLES, run
from firewall.selftest import hellos, packets
from firewall.selftest.tries import REFUSED, SOME_PORT, Try, nobody
from firewall.selftest.verdict import BLIND, HELD, THROUGH, Outcome, Row

if TYPE_CHECKING:
    from collections.abc import Collection

    from firewall.selftest.probe import Phone
    from firewall.selftest.session import Gate
    from firewall.selftest.witness import Witness

Status = dict[str, Any]
Healed = Callable[[Status], bool]  # from the status after: is all well again?
Blow = Callable[[Status], Healed]  # told the status before
_QUEUED: Final = re.compile(r"\bqueue\b.* \d")  # as versions of nft print it: queue num 66, queue to 66
HEAL_SECONDS: Final = 30.0
LEAST_SECONDS: Final = 0.6  # of trying, however soon it is healed
PAUSE: Final = 0.01  # seconds between two datagrams
EVERY: Final = 10  # datagrams: a connection
SETTLE_SECONDS: Final = 0.5


async def all_of_them(
    gate: Gate, witness: Witness, probe: Phone, families: Collection[int], far: dict[int, bytes | None],
    say: Callable[[str], None],
) -> list[Row]:
    """One after the other, each healed before the next."""
    storm = _Storm(witness, probe, families, far)
    blows = ("killed", "the gateway killed", _kill), ("queue", "its queue rule deleted", _take_queue), _flush()
    rows = []
    for name, title, blow in blows:
        say(f"{title} ...")
        rows.append(await _strike(gate, storm, name, title, blow))
    return rows


class _Storm:
    """New flows all the time, each with a token that must not leave."""

    def __init__(
        self, witness: Witness, probe: Phone, families: Collection[int], far: dict[int, bytes | None]
    ) -> None:
        self._probe, self._witness = probe, witness
        self._datagrams: list[tuple[Try, bytes]] = []
        self._hellos: list[Try] = []
        for family in families:
            src, dst, token = probe.address(family), nobody(family, 200), secrets.token_hex(8).encode()
            assert src is not None
            self._datagrams.append((Try("storm", family, "", "frames", dst, SOME_PORT, token), src))
            if there := far[family]:
                says = hellos.client_hello(REFUSED, token := secrets.token_hex(8).encode())
                self._hellos.append(Try("storm", family, "", "connection", there, 443, token, says=says))
        self._all = [*(one for one, _ in self._datagrams), *self._hellos]
        witness.watch(self._all)
        self.tried = 0
        self._sport = 20_000

    def left(self) -> int:
        """Packets with payload that got out since it began."""
        self._witness.read()
        return sum(map(self._witness.left, self._all))

    async def blow(self) -> None:
        """Until it is cancelled."""
        running: set[asyncio.Future[Any]] = set()
        try:
            while True:
                one, src = self._datagrams[self.tried % len(self._datagrams)]
                self._sport = 20_000 + (self._sport + 1) % 40_000
                self._probe.send(packets.udp(src, one.dst, self._sport, SOME_PORT, one.token))
                self.tried += 1
                if self._hellos and self.tried % EVERY == 0:
                    hello = self._hellos[self.tried // EVERY % len(self._hellos)]
                    talk: asyncio.Future[Any] = asyncio.ensure_future(self._probe.connection(hello, Outcome()))
                    running.add(talk)
                    talk.add_done_callback(running.discard)
                await asyncio.sleep(PAUSE)
        finally:
            for talk in running:
                talk.cancel()


async def _strike(gate: Gate, storm: _Storm, name: str, title: str, blow: Blow) -> Row:
    before, tried = storm.left(), storm.tried
    blowing = asyncio.ensure_future(storm.blow())
    try:
        await asyncio.sleep(0.2)
        healed = blow(gate.status())
        began = time.monotonic()
        seconds = 0.0
        while not (well := _well(gate, healed)) and seconds < HEAL_SECONDS:
            await asyncio.sleep(0.02)
            seconds = time.monotonic() - began
        await asyncio.sleep(max(LEAST_SECONDS - seconds, 0.2))
    finally:
        blowing.cancel()
        with suppress(asyncio.CancelledError):
            await blowing
    await asyncio.sleep(SETTLE_SECONDS)
    left, tries = storm.left() - before, storm.tried - tried
    if left:
        return Row(name, 0, title, THROUGH, f"{left} packets of {tries} tries left")
    if not well:
        return Row(name, 0, title, BLIND, f"nothing left, but it is not healed after {HEAL_SECONDS:.0f} s")
    return Row(name, 0, title, HELD, f"{tries} tries, nothing left, healed after {seconds:.1f} s")


def _well(gate: Gate, healed: Healed) -> bool:
    status = gate.answers()
    return status is not None and status["state"] == "ENFORCING" and healed(status)


def _kill(status: Status) -> Healed:
    os.kill(status["pid"], signal.SIGKILL)
    return lambda after: bool(after["pid"] != status["pid"])


def _take_queue(status: Status) -> Healed:
    """Nft's own rule, or those of xtables."""
    kind = status["queue"]["kind"]
    tools = next((pair for pair in XTABLES if kind.endswith(pair[0])), ())
    if not tools:
        run("nft", "flush", "chain", "inet", TABLE, "queued")
        return lambda _: _QUEUED.search(run("nft", "list", "chain", "inet", TABLE, "queued").stdout) is not None
    for tool in tools:
        for rule in _queue_rules(tool):
            run(tool, "-w", "-t", "mangle", "-D", *rule.split()[1:])
    return lambda _: all(map(_queue_rules, tools))


def _queue_rules(tool: str) -> list[str]:
    listed = run(tool, "-w", "-t", "mangle", "-S", "FORWARD").stdout.splitlines()
    return [line for line in listed if "-j NFQUEUE" in line]


def _flush() -> tuple[str, str, Blow]:
    """Everything, if all of it is ours: other programs' rules are not ours to lose."""
    listed = json.loads(run("nft", "-j", "list", "tables").stdout or '{"nftables": []}')["nftables"]
    tables = [item["table"] for item in listed if "table" in item]
    foreign = [table for table in tables if table["name"] not in {TABLE, "mangle"}]
    words = ("delete", "table", "inet", TABLE) if foreign else ("flush", "ruleset")

    def blow(_: Status) -> Healed:
        run("nft", *words)
        return lambda _: run("nft", "list", "chain", "inet", TABLE, "seal").returncode == 0

    return "flushed", f"nft {' '.join(words)}", blow
