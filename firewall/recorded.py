"""One flow of a recording: what was counted of it, what it said, what became of it, and how that is told."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from firewall.commands import Watch
from firewall.dissect import NEED_MORE, NOT_MINE, quic, tls
from firewall.speech import Heard, Speech
from rules.observation import Name, Source
from rules.verdict import Verdict

if TYPE_CHECKING:
    from firewall.dissect.order import Order
    from firewall.inputs import FlowKey
    from rules.verdict import Decision

DNS: Final = 53
HEAD: Final = 16_384  # bytes of an upload that are kept until it has said a name
RELISTENED: Final = 32  # segments of what said no name that are looked at for a hello: STARTTLS, CONNECT
SILENT: Final = "nothing was asked: only a handshake, or packets of one direction"

# An address in place of a name: no name to the rules, and still what the flow said.
_HOST = re.compile(rb"(?i)\nhost[ \t]*:[ \t]*(?:\[([0-9a-f:.]+)\]|([0-9.]+))(?::[0-9]*)?[ \t]*\r?\n")
_SNI = re.compile(rb"\0\0\0.\0.\0\0.([0-9a-fA-F:.]{2,45})", re.DOTALL)
_HELLO_BEGINS: Final = (b"\x16\x03\x00", b"\x16\x03\x01", b"\x16\x03\x02", b"\x16\x03\x03")


@lru_cache(maxsize=16_384)
def text_of(addr: bytes) -> str:
    """A packed address for people."""
    return str(ip_address(addr))


class Listener:
    """Reads all that the phone said on one connection, also after the gate has heard enough."""

    __slots__ = ("_head", "_speech", "_unheard", "done", "hidden", "literal", "said")

    def __init__(self) -> None:
        self.said: tuple[Name, ...] = ()
        self.hidden = False  # the true name may be encrypted
        self.literal: Name | None = None  # an address that was said where a name would stand
        self.done = False
        self._speech: Speech | None = Speech()
        self._head = b""
        self._unheard = 0

    @property
    def waits(self) -> bool:
        """A statement has begun and not ended."""
        return bool(self._head)

    def hear(self, data: bytes) -> None:
        """The next bytes, in order."""
        if self._speech is None:
            self._unheard += 1
            self.done = self._unheard > RELISTENED
            if not data.startswith(_HELLO_BEGINS):
                return
            self._speech, self._head = Speech(), b""
        if len(self._head) < HEAD:
            self._head += data
        heard = self._speech.hear(data)
        if not isinstance(heard, Heard):
            return
        new = tuple(name for name in heard.said if name not in self.said)
        self.said += new
        self._look()
        if heard.may_say_more:
            return
        self._speech = None
        self.done = any(name.source is Source.SNI for name in new)
        if not new and self.said and data.startswith(_HELLO_BEGINS):
            self.hear(data)  # behind a CONNECT

    def lost(self, data: bytes) -> None:
        """Bytes are missing in front of these: only a beginning makes sense."""
        self._speech = Speech() if Speech.begins(data) else None

    def _look(self) -> None:
        """What the first statement holds beside names."""
        head, self._head = self._head, b""
        if not head or self.hidden:
            return
        if head[0] in (tls.ALERT, tls.HANDSHAKE):
            hello = tls.client_hello(head)
            if hello is not NEED_MORE and hello is not NOT_MINE:
                self.hidden = hello.ech
        if not self.said and self.literal is None:
            self.literal = literal(head)


class Datagrams:
    """The same for a UDP flow: the hellos in QUIC's Initial packets."""

    __slots__ = ("_heard", "_initials", "done", "hidden", "literal", "said", "waits")

    def __init__(self) -> None:
        self.said: tuple[Name, ...] = ()
        self.hidden = False
        self.literal: Name | None = None
        self.done = False
        self.waits = False
        self._initials = quic.Initials()
        self._heard = 0

    def hear(self, data: bytes) -> None:
        """The next datagram."""
        self._heard += 1
        # what comes behind a handshake has no long header (RFC 9000, 17.3)
        self.done = self._heard > RELISTENED or (bool(self.said) and data[:1] < b"\x80")
        found = self._initials.feed(data)
        if not isinstance(found, tuple) or isinstance(found, quic.Unknown):
            return
        for message in found:
            self._hello(b"\x16\x03\x01" + len(message).to_bytes(2) + message)

    def _hello(self, record: bytes) -> None:
        hello = tls.client_hello(record)
        if hello is NEED_MORE or hello is NOT_MINE:
            return
        names = (Name(name, Source.QUIC) for name in hello.names)
        self.said = tuple(dict.fromkeys((*self.said, *names)))
        self.hidden |= hello.ech
        self.literal = self.literal or literal(record)


def literal(head: bytes) -> Name | None:
    """The address that a hello, or a request's Host, has in place of a name."""
    from_tls = head[:1] == b"\x16"
    for found in (_SNI if from_tls else _HOST).finditer(head):
        said = next(group for group in found.groups() if group).decode("ascii")
        try:
            return Name(str(ip_address(said)), Source.SNI if from_tls else Source.HTTP)
        except ValueError:
            continue
    return None


class Recorded:
    """One flow, from its first packet on. Bytes are those of IP packets with their headers, as conntrack counts."""

    __slots__ = (
        "answered", "asked", "asks", "decision", "down", "first", "isn", "kept", "key", "last", "listener", "mac",
        "order", "quiet", "said", "shown", "unfinished", "up", "verdict", "watch",
    )

    def __init__(self, key: FlowKey, mac: bytes, first: float) -> None:
        self.key = key
        self.mac = mac
        self.first = self.last = first
        self.up = self.down = 0
        self.isn: int | None = None  # of the opener, if its SYN, or the answer to it, was seen
        self.order: Order | None = None
        self.listener: Listener | Datagrams | None = None
        self.shown = 0  # packets that were shown to the gate
        self.kept: tuple[bytes, bytes] | None = None  # headers and payload of what will be
        self.quiet = False  # neither the gate nor the listener wants more of it
        # the kernel's connection mark
        self.verdict = Verdict.HELD
        self.watch = Watch.NONE
        # what the gate said
        self.decision: Decision | None = None
        self.said: tuple[Name, ...] = ()
        self.answered: tuple[tuple[str, ...], ...] = ()
        self.unfinished = False
        self.asks = key.dport == DNS and key.word in {"tcp", "udp"}  # our resolver, wherever it believes to ask
        self.asked: dict[str, None] = {}  # names asked for, if this is a talk with a DNS server

    def to_json(self, file: str) -> dict[str, Any]:
        """One row (docs/cli.md)."""
        names, via = self._names()
        key, decision = self.key, self.decision
        return {
            "file": file,
            "proto": key.word,
            "src": text_of(key.src),
            "sport": key.sport,
            "dst": text_of(key.dst),
            "dport": key.dport,
            "name": names[0].name if names and via != "ambiguous" else "",
            "via": via,
            "names": [{"name": name.name, "source": str(name.source)} for name in names],
            "hidden": self.listener is not None and self.listener.hidden,
            "verdict": str(decision.verdict) if decision else str(Verdict.ALLOW if self.asked else Verdict.HELD),
            "rule": decision.rule if decision else "",
            "reason": decision.reason if decision else "our DNS answers it" if self.asked else SILENT,
            "bytes_up": self.up,
            "bytes_down": self.down,
            "first": round(self.first, 6),
            "last": round(self.last, 6),
        }

    def _names(self) -> tuple[list[Name], str]:
        """All names, the best first, and how that one was learnt, as `via:` would say."""
        if self.asked:
            return [Name(name, Source.DNS) for name in self.asked], "dns"
        listener = self.listener
        said = (*self.said, *listener.said) if listener else self.said
        found = dict.fromkeys((*said, *(Name(name, Source.DNS) for chain in self.answered for name in chain)))
        names = list(found)
        if said:
            return names, str(said[0].source)
        if len(self.answered) > 1:
            return names, "ambiguous"
        via = "dns" if names else "unfinished" if self.unfinished else "none"
        return [*names, listener.literal] if listener and listener.literal else names, via
