"""What can happen to the gateway: the only way in. The counterpart, what it wants done, is commands.py.

Inputs come in batches, with the time told beside them (`Now`); the core never asks a clock. What a phone or a
server sent is carried as bytes and never shown by `repr`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable

    from firewall.commands import Command
    from firewall.consents import Consent
    from firewall.phones import Phone
    from rules.observation import Name, Sign
    from rules.policy import Policy
    from rules.problem import Problem
    from rules.verdict import Decision


WORDS: Final = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmp"}


class Now(NamedTuple):
    """The time as three facts."""

    boot: float  # seconds, CLOCK_BOOTTIME: durations run on it
    wall: float  # seconds since the epoch: what people are shown
    trusted: bool  # whether the wall clock may be believed


class Author(NamedTuple):
    """Who did it. `uid` is what the kernel says of whoever is at the control socket; None: nobody is there."""

    name: str
    uid: int | None = None


class FlowKey(NamedTuple):
    """A flow as its phone opened it (conntrack's original direction). Addresses packed; ports 0 where there are none.

    For ICMP and ICMPv6 `sport` is the echo identifier and `dport` 0, as conntrack tells echo flows apart.
    """

    proto: int
    src: bytes
    sport: int
    dst: bytes
    dport: int

    @property
    def word(self) -> str:
        """The protocol, as `proto:` has it."""
        return WORDS.get(self.proto) or str(self.proto)


NEXT_FLOW: Final = FlowKey(0, b"", 0, b"", 0)  # no flow there is: whichever comes next


@dataclass(slots=True)
class PacketSeen:
    """A packet from a phone waits in the kernel's queue for its verdict."""

    id: int  # the queue's name for it
    mac: bytes  # 6 bytes, sender
    packet: bytes = field(repr=False)  # from the IP header on
    watched: bool = False  # the kernel knows the flow as allowed and watched; else it knows no verdict
    first: bool = True  # of TCP: where its connection begins, by the server's SYN-ACK
    near: bool = False  # it goes to another phone; then a SYN is shown too
    always: bool = False  # nothing that its server says ends the watching; of TLS: it has asked for one more hello


@dataclass(slots=True)
class RefusedSeen:
    """The kernel refused a packet by one of its own sets (NFLOG; at most a few a second and phone)."""

    mac: bytes
    packet: bytes = field(repr=False)  # first 128 bytes, from the IP header on


@dataclass(slots=True)
class SpoofSeen:
    """The kernel dropped a packet whose source address is another sender's (NFLOG; at most a few a second)."""

    mac: bytes
    packet: bytes = field(repr=False)  # first 128 bytes, from the IP header on


@dataclass(slots=True)
class PairsFound:
    """What the kernel still knew of senders and their addresses when this process began: (MAC, address, slot)."""

    pairs: tuple[tuple[bytes, bytes, int], ...]


@dataclass(slots=True)
class QuerySeen:
    """A phone asks for a name. `token` is the resolver's handle; the answer to it is a command with that token."""

    token: Hashable
    mac: bytes
    src: bytes
    qname: str  # lower case, no trailing dot
    qtype: int


@dataclass(slots=True)
class AnswerSeen:
    """A true answer is ready and has not been sent. `chain`: asked name, then the CNAMEs on the way.

    With `hints` it is of type HTTPS or SVCB: the addresses stand beside what was asked for, and each can be left out.
    The chain goes on with the names that its records lead to.
    """

    token: Hashable
    mac: bytes
    src: bytes
    chain: tuple[str, ...]
    addresses: tuple[bytes, ...]
    ttl: int  # seconds, the smallest of the chain
    hints: bool = False


@dataclass(slots=True)
class FlowCounted:
    """What conntrack has counted so far, with headers. `ended`: the kernel has forgotten the flow."""

    flow: FlowKey
    up: int  # bytes, phone to server
    down: int
    ended: bool
    late: bool = False  # more had ended than could be told at once: another flow of these ports may be there by now


@dataclass(slots=True)
class PolicyReplaced:
    """A policy that compiled. Live flows are judged again."""

    policy: Policy
    who: Author


@dataclass(slots=True)
class PolicyRefused:
    """The rules could not be read: the last good policy stays, or the gate is LOCKED if there never was one."""

    problems: tuple[Problem, ...]
    who: Author


@dataclass(slots=True)
class Applied:
    """The kernel holds this generation."""

    generation: int


@dataclass(slots=True)
class CommandFailed:
    """The world refused a command; `error` says how."""

    command: Command
    error: str


@dataclass(slots=True)
class Tampered:
    """Somebody changed what we had put into the kernel. `what` names it for the history."""

    what: str


@dataclass(slots=True)
class Strained:
    """The kernel is at a limit of its own, and the phones feel it. `what` names it for the history."""

    what: str


@dataclass(slots=True)
class LockAsked:
    """The owner closes the gate for everything undecided, or opens it again to what the rules allow."""

    locked: bool
    who: Author
    reason: str = ""  # where it is not simply the owner's wish


@dataclass(slots=True)
class ModeAsked:
    """The owner only watches from now on ("watch"), or enforces ("enforce"): all phones without a mode of their own."""

    mode: str
    who: Author


@dataclass(slots=True)
class PlacesReplaced:
    """Other databases: addresses may stand elsewhere than before."""


@dataclass(slots=True)
class TranslatorsFound:
    """The prefixes of this network's own NAT64 (rules.networks.translators): addresses behind them lead to IPv4."""

    nat64: tuple[bytes, ...]


@dataclass(slots=True)
class RoutersTold:
    """The same, as routers of the way to the internet say (RFC 8781): whoever is on that wire can. It opens nothing."""

    nat64: tuple[bytes, ...]


@dataclass(slots=True)
class ConsentGiven:
    """The owner consented, and it is stored already."""

    consent: Consent


@dataclass(slots=True)
class ConsentEnded:
    """The owner took a consent back; that is stored already."""

    id: int
    why: str
    who: Author


@dataclass(slots=True)
class ConsentsRemembered:
    """Consents that were given earlier, as they are now: at the start together with Remembered, before any packet.

    Later as well: when suspended ones are in force again. One with a known id replaces it.
    """

    consents: tuple[Consent, ...]


@dataclass(slots=True)
class PhoneChanged:
    """The owner named a phone, gave it another group, mode or MAC, or wants to forget one. It is stored already."""

    phone: Phone | None  # as it shall be; None: nothing but the forgetting
    text: str  # what was done, in words
    who: Author
    forgotten: int = 0  # slot of a phone that is no more (0: none); its flows go to `phone`, or to nobody
    consents: bool = True  # and so do its consents; else they end


class LiveFlow(NamedTuple):
    """What was known of a flow that an earlier process had let pass."""

    flow: FlowKey
    mac: bytes
    said: tuple[Name, ...]
    unfinished: bool
    may_say_more: bool
    watch: int  # firewall.commands.Watch
    decision: Decision
    up: int
    down: int
    answered: tuple[tuple[str, ...], ...] = ()
    signs: tuple[Sign, ...] = ()


class LearntName(NamedTuple):
    """What our DNS had told the phone with this MAC. `until` is boot time."""

    mac: bytes
    addr: bytes
    chain: tuple[str, ...]
    until: float


@dataclass(slots=True)
class Remembered:
    """At the start: what an earlier process knew, and every flow that the kernel still lets pass because of it."""

    flows: tuple[LiveFlow, ...]
    names: tuple[LearntName, ...]
    digest: str  # of the rules and modes that it had last put into the kernel
    alive: frozenset[FlowKey]
    consented: frozenset[FlowKey] = frozenset()  # those of them that pass while their way is open


@dataclass(slots=True)
class ProbeSeen:
    """A packet of our own waits in the queue: that it is decided and goes on proves that phones' packets are."""

    id: int


@dataclass(slots=True)
class Joined:
    """A phone has joined the access point, or is still joined to it."""

    mac: bytes
    signal: int | None  # dBm; None: not known


@dataclass(slots=True)
class Left:
    """A phone has left the access point."""

    mac: bytes


@dataclass(slots=True)
class Leased:
    """Our DHCP has given a phone its address. `host`: what it calls itself; anything can stand there."""

    mac: bytes
    addr: bytes
    host: str


@dataclass(slots=True)
class Tick:
    """Time has passed."""


Input = (
    PacketSeen | RefusedSeen | SpoofSeen | QuerySeen | AnswerSeen | FlowCounted | PolicyReplaced | PolicyRefused
    | PlacesReplaced | TranslatorsFound | RoutersTold | ModeAsked | PhoneChanged | ConsentGiven | ConsentEnded
    | ConsentsRemembered | LockAsked | PairsFound | Remembered | Applied | CommandFailed | Tampered | Strained
    | ProbeSeen | Joined | Left | Leased | Tick
)
