"""A house with phones, rules and owners: the real state.db, questions and consents; only the kernel is missing."""

from __future__ import annotations

from ipaddress import ip_address

from firewall.consents import Life
from firewall.events import FlowDecided
from firewall.gateway import Gateway
from firewall.granting import Granting, Wanted
from firewall.inbox import Inbox
from firewall.inputs import Author, FlowKey, Now, PolicyReplaced, Tick
from firewall.phones import Phone, Phones
from firewall.state import State, StateError
from rules.consent import Subject
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
        self.gateway = Gateway(self.phones)
        try:
            self.state = State(self.path / "state.db")
        except StateError:
            self.state = None
        self.granting = Granting(self.state, self.gateway, self.deliver, self.told.append, self.now, self.boot)
        self.inbox = Inbox(self.state, self.gateway, self.now, self.told.append, self.granting.has_passed)
        self.deliver((PolicyReplaced(self.policy, Author("start")),))
        self.delivered.clear()
        remembered = self.granting.remembered()
        if remembered.consents:
            self.deliver((remembered,))

    def grants(self, phone: str) -> list[int]:
        """Ids of the consents by which a flow of this phone could pass now."""
        return [grant.id for grant in self.gateway.consents.of(self.phones.named(phone), FlowKey(6, b"", 1, b"", 1), self.time.boot)]

    def now(self) -> Now:
        return self.time

    def wait(self, seconds: float, wall: float | None = None) -> None:
        self.time = Now(self.time.boot + seconds, self.time.wall + (seconds if wall is None else wall), self.time.trusted)

    def tick(self) -> None:
        self.deliver((Tick(),))

    def reboot(self, off: float, *, trusted: bool = True) -> None:
        """The machine was off for so long, by its clock; boot time begins anew."""
        self.state.close()
        self.boot += "'"
        self.time = Now(5.0, self.time.wall + off, trusted)
        self.start()

    def deliver(self, batch) -> None:
        """Stands where the engine does."""
        self.delivered += batch
        self.noted += (turn := self.gateway.handle(batch, self.time)).events
        self.see(*turn.events)

    def see(self, *events) -> None:
        self.inbox.see(events)
        self.granting.see(events)

    def tries(self, phone: str, name: str = "", addr: str = ELSEWHERE, *, times: int = 1, source: Source = Source.SNI, place=NOWHERE, port: int = 443, answered: bool = True, names_open: bool = False) -> None:
        """A phone tries, and what the rules and its consents say of it is said."""
        who = self.phones.named(phone)
        said = (Name(name, source),) if name and source is not Source.DNS else ()
        chains = ((name,),) if name and answered else ()
        key = FlowKey(6, b"\x0a\x4d\0\x0a", 40_000, ip_address(addr).packed, port)
        consents = self.gateway.consents.of(who, key, self.time.boot)
        seen = Observation(who.name, "tcp", key.dst, port, chains, said, group=who.group, place=place, consents=consents, names_open=names_open)
        decision = decide(self.gateway.policy, seen)
        self.see(*[FlowDecided(self.time.wall, key.src, key, seen, decision)] * times)

    @property
    def waiting(self) -> list[str]:
        return [f"{self.phones.slot(one.topic.slot).name} {one.topic.subject}" for one in self.inbox.questions.waiting(self.time.wall)]


ANNA, BEN = Author("anna", 1000), Author("ben", 1001)
SERVICE = Subject.parse("service:xiaomi-account")


def wanted(life: Life = Life.H1, subject: Subject = SERVICE, slot: int = 1, group: str = "", left: float | None = None) -> Wanted:
    return Wanted(slot, group, "anna" if slot else "", subject, life, "cli", left)


async def grant(house: House, who: Author = ANNA, answered=None, **more):
    return (await house.granting.grant((wanted(**more),), who, answered))[0]
