"""The gateway by values: inputs in, commands and events out. No clock, no kernel; the rules are a file."""

from __future__ import annotations

import socket
from pathlib import Path

from firewall.commands import GiveVerdict, Reconcile, Watch
from firewall.events import FlowDecided
from firewall.gateway import Gateway
from firewall.inputs import AnswerSeen, Applied, Author, Now, PacketSeen, PolicyRefused, PolicyReplaced, QuerySeen
from firewall.phones import Phones
from rules import store
from rules.observation import NOWHERE, Place
from rules.problem import RuleError
from rules.verdict import Verdict

MAC = bytes.fromhex("020000000101")
FRIEND, LISTED, MOVED = "198.18.7.7", "42.62.48.181", "54.179.140.65"
ALLOW, ASK, BLOCK, HELD = Verdict.ALLOW, Verdict.ASK, Verdict.BLOCK, Verdict.HELD


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


class Play:
    """`play << input` is one turn; what came out of the last one is in `commands` and `events`."""

    def __init__(self, rules: str = "", tmp: Path | None = None) -> None:
        self.places: dict[bytes, Place] = {}  # where addresses stand
        self.gateway = Gateway(Phones(given={MAC: "phone1"}), lambda addr: self.places.get(addr, NOWHERE))
        self.boot = 1000.0
        self.ids = 0
        self.tmp = tmp
        self.revision = 0
        self.commands: list = []
        self.events: list = []
        if rules is not None:
            self.rules(rules)
            self << Applied(self.of(Reconcile).desired.generation)

    def __lshift__(self, seen) -> Play:
        turn = self.gateway.handle([seen], Now(self.boot, 1.7e9 + self.boot, True))
        self.commands, self.events, self.wake_at = turn.commands, turn.events, turn.wake_at
        return self

    def rules(self, text: str) -> None:
        assert self.tmp is not None
        file = self.tmp / "rules.toml"
        file.write_text(text)
        self.revision += 1
        try:
            self << PolicyReplaced(store.load(file, self.revision), Author("test"))
        except RuleError as error:
            self << PolicyRefused(error.problems, Author("test"))

    def packet(self, raw: bytes, *, watched: bool = False) -> int:
        self.ids += 1
        self << PacketSeen(self.ids, MAC, raw, watched)
        return self.ids

    def ask(self, name: str) -> Play:
        return self << QuerySeen("q", MAC, packed("10.77.0.10"), name, 1)

    def answer(self, chain: tuple[str, ...], *addresses: str, ttl: int = 60) -> Play:
        return self << AnswerSeen("q", MAC, packed("10.77.0.10"), chain, tuple(map(packed, addresses)), ttl)

    def of(self, kind):
        found = [command for command in self.commands if isinstance(command, kind)]
        assert len(found) == 1, self.commands
        return found[0]

    def verdicts(self) -> list[tuple[int, Verdict, Watch]]:
        return [(c.id, c.verdict, c.watch) for c in self.commands if isinstance(c, GiveVerdict)]

    def decided(self) -> list[FlowDecided]:
        return [event for event in self.events if isinstance(event, FlowDecided)]
