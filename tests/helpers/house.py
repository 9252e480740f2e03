"""A gateway with consents: given and taken back, and one try after the other."""

from __future__ import annotations

from play import FRIEND, MAC, Play

from firewall.commands import MarkFlow, OpenWay
from firewall.consents import Consent, Life
from firewall.events import ConsentOver
from firewall.inputs import Author, ConsentEnded, ConsentGiven, PacketSeen, Tick
from rules.consent import Subject
from rules.verdict import Verdict

CONSENT = Verdict.CONSENT
HOST, OTHER = "api.account.xiaomi.com", bytes.fromhex("0200000001ff")
A = "service:xiaomi-account"
ANNA = Author("anna", 1000)


class House(Play):
    def __init__(self, *args, **named) -> None:
        self.number = 6
        super().__init__(*args, **named)

    def consent(self, subject: str = A, life: Life = Life.H1, seconds: float | None = 3600, **more) -> Consent:
        self.number += 1
        slot = more.pop("slot", None)
        slot = self.gateway.phones.named("phone1").slot if slot is None else slot
        until = None if seconds is None else self.boot + seconds
        return Consent(self.number, slot, more.pop("group", ""), "phone1", Subject.parse(subject), life, 1.7e9, "anna", 1000, "cli", until, **more)

    def give(self, subject: str = A, life: Life = Life.H1, seconds: float | None = 3600, **more) -> Consent:
        consent = self.consent(subject, life, seconds, **more)
        self << ConsentGiven(consent)
        return consent

    def revoke(self, number: int) -> None:
        self << ConsentEnded(number, "revoked by anna", ANNA)

    def upload(self, wire, sport: int = 40000, name: str = HOST, to: str = FRIEND, mac: bytes = MAC, src: str | None = None) -> Verdict:
        """One try; what became of it."""
        self.ids += 1
        self << PacketSeen(self.ids, mac, wire.tcp(to, 443, wire.hello(name), sport=sport, **({"src": src} if src else {})))
        (verdict,) = self.verdicts()
        return verdict[1]

    def marks(self) -> list[tuple[int, Verdict]]:
        return [(c.flow.sport, c.verdict) for c in self.commands if isinstance(c, MarkFlow)]

    def ways(self) -> list[OpenWay]:
        return [c for c in self.commands if isinstance(c, OpenWay)]

    def over(self) -> list[ConsentOver]:
        return [event for event in self.events if isinstance(event, ConsentOver)]

    def tick(self, seconds: float = 0.0) -> House:
        self.boot += seconds
        return self << Tick()
