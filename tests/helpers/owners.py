"""A house with phones, rules and owners: the real state.db, questions and consents; only the kernel is missing."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from types import SimpleNamespace

from firewall.events import ConsentGranted, ConsentOver, FlowDecided
from firewall.granting import Granting
from firewall.inbox import Inbox
from firewall.inputs import ConsentEnded, ConsentGiven, FlowKey, Now, PolicyReplaced
from firewall.phones import Phone, Phones
from firewall.state import State, StateError
from rules.decide import decide
from rules.observation import NOWHERE, Name, Observation, Source
from rules.store import compiled

XIAOMI = "42.62.48.9"
ELSEWHERE = "198.51.100.9"
ACCOUNT, INVENTORY = "api.account.xiaomi.com", "policy.app.xiaomi.com"


class House:
    def __init__(self, path, rules: str = "", boot: str = "boot-1") -> None:
        self.path = path
        self.time = Now(1_000.0, 1_700_000_000.0, trusted=True)
        self.boot = boot
        self.phones = Phones([Phone(1, "anna", "home", named=True), Phone(2, "tv", "home", named=True), Phone(3, "guest", "strict")])
        self.policy = compiled("rules.toml", rules, 1)
        self.start()

    def start(self) -> None:
        """As after a restart."""
        self.delivered: list = []
        self.told: list = []
        self.noted: list = []
        self.flows: list = []
        self.gateway = SimpleNamespace(phones=self.phones, policy=self.policy, flows=self.flows, reason="")
        try:
            self.state = State(self.path / "state.db")
        except StateError:
            self.state = None
        self.granting = Granting(self.state, self.gateway, self.deliver, self.told.append, self.now, self.boot)
        self.inbox = Inbox(self.state, self.gateway, self.now, self.granting.grants, self.told.append)
        self.granting.remember()

    def now(self) -> Now:
        return self.time

    def wait(self, seconds: float, wall: float | None = None) -> None:
        self.time = Now(self.time.boot + seconds, self.time.wall + (seconds if wall is None else wall), self.time.trusted)

    def reboot(self, off: float, *, trusted: bool = True) -> None:
        """The machine was off for so long, by its clock; boot time begins anew."""
        self.state.close()
        self.boot += "'"
        self.time = Now(5.0, self.time.wall + off, trusted)
        self.start()

    def deliver(self, batch) -> None:
        """Stands where the engine does: what the core says at once is said."""
        self.delivered += batch
        for one in batch:
            if isinstance(one, ConsentGiven):
                self.see(ConsentGranted(self.time.wall, one.consent))
            elif isinstance(one, PolicyReplaced):
                self.policy = self.gateway.policy = one.policy
            elif isinstance(one, ConsentEnded):
                known = self.granting.get(one.id)
                self.see(ConsentOver(self.time.wall, one.id, one.why, one.who, replace(known, ended=self.time.wall, why=one.why)))

    def see(self, *events) -> None:
        self.granting.see(events)
        self.inbox.see(events)

    def tries(self, phone: str, name: str = "", addr: str = ELSEWHERE, *, times: int = 1, source: Source = Source.SNI, place=NOWHERE, port: int = 443) -> None:
        """A phone tries, and what the rules and its consents say of it is said."""
        who = self.phones.named(phone)
        said = (Name(name, source),) if name else ()
        answered = ((name,),) if name else ()
        seen = Observation(phone, "tcp", ip_address(addr).packed, port, answered, said, group=who.group, place=place, consents=self.granting.grants(who.slot, who.group))
        decision = decide(self.gateway.policy, seen)
        key = FlowKey(6, b"\x0a\x4d\0\x0a", 40_000, seen.addr, port)
        self.see(*[FlowDecided(self.time.wall, key.src, key, seen, decision)] * times)

    @property
    def waiting(self) -> list[str]:
        return [f"{self.phones.slot(one.topic.slot).name} {one.topic.subject}" for one in self.inbox.questions.waiting(self.time.wall)]
