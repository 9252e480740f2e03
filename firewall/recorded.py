"""One flow of a recording: what was counted of it, what it said, what became of it, and how that is told."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from firewall.commands import Watch
from firewall.dissect import http, tls
from firewall.dissect.order import CONTRADICTS
from firewall.speech import NOTHING_NEW, Heard, Said, Speech, listener
from rules.observation import Name, Sign, Source
from rules.verdict import Verdict

if TYPE_CHECKING:
    from firewall.dissect.order import Order, Segment
    from firewall.inputs import FlowKey
    from rules.verdict import Decision

DNS: Final = 53
CHANGE: Final = 20  # TLS: ChangeCipherSpec (RFC 8446, 5)
MOST_OTHERWISE: Final = 16  # names of one flow
MOST_READINGS: Final = 16  # of one flow, each as long as what is remembered of it
TCP: Final = 6
RELISTENED: Final = 32  # segments that are looked at for a hello behind what said no name; datagrams of a flow
SILENT: Final = "nothing was asked: only a handshake, or packets of one direction"

# What may follow where no name was said: behind STARTTLS, within SOCKS or CONNECT.
_OPENING: Final = re.compile(rb"\x16\x03[\0-\3]|[A-Z]{3,10} [^\r\n]{1,4096} HTTP/1\.[01]\r?\n")
_SOURCES: Final = {"tls": Source.SNI, "dtls": Source.SNI, "quic": Source.QUIC}


@lru_cache(maxsize=16_384)
def text_of(addr: bytes) -> str:
    """A packed address for people."""
    return str(ip_address(addr))


class Listener:
    """Reads all that the phone said on one flow, also after the gate has heard enough."""

    __slots__ = ("_again", "_proto", "_speech", "done", "literals", "said", "signs")
    size: Final = 0  # a recording is no phone that fills the gate

    def __init__(self, proto: int) -> None:
        self.said: dict[Name, None] = {}  # in their order; there may be as many as requests
        self.literals: tuple[Name, ...] = ()  # addresses that stood where a name should
        self.signs: tuple[Sign, ...] = ()
        self.done = False
        self._proto = proto
        self._speech = listener(proto)
        self._again = 0

    def begin(self) -> None:
        """The gate takes the flow for a new one."""
        if self._again or self.said or self._speech is None:
            self._speech = listener(self._proto)

    def hear(self, data: bytes) -> Said:
        """The next bytes of a stream, in order; the next datagram."""
        if self._speech is None or self._proto != TCP:
            self._again += 1
            # what comes behind QUIC's handshake has no long header (RFC 9000, 17.3)
            self.done = self._again > RELISTENED or (bool(self.said) and data[:1] < b"\x80" and self._proto != TCP)
        fresh = self._speech is None
        if self._speech is None:
            if not _OPENING.match(data):
                return NOTHING_NEW
            self._speech = listener(self._proto)
            assert self._speech is not None
        heard = self._speech.hear(data)
        if not isinstance(heard, Heard):
            return heard
        new = [name for name in heard.said if name not in self.said]
        self.said.update(dict.fromkeys(new))
        if heard.signs:
            self.signs = tuple(dict.fromkeys((*self.signs, *heard.signs)))
        if heard.addresses:
            source = _SOURCES.get(heard.protocol.partition(" ")[0], Source.HTTP)
            found = (Name(address, source) for address in heard.addresses)
            self.literals = tuple(dict.fromkeys((*self.literals, *found)))
        if heard.may_say_more:
            return heard
        self._speech = None
        self.done = any(name.source is Source.SNI for name in new)
        if not new and not fresh and self.said and _OPENING.match(data):
            self.hear(data)
        return heard

    def cut_off(self, data: bytes) -> None:
        """The recording kept only this of a packet: a host in it is told, and no rule counts it."""
        if _OPENING.match(data):
            found = (Name(host, Source.HTTP) for host in http.odd_hosts(data[: data.rfind(b"\n")]))
            self.literals = tuple(dict.fromkeys((*self.literals, *found)))

    def lost(self, data: bytes) -> None:
        """Bytes of the stream are missing in front of these: only a beginning makes sense."""
        self._speech = listener(self._proto) if Speech.begins(data) else None


class Side:
    """One direction of a flow. Bytes are those of IP packets with their headers, as conntrack counts."""

    __slots__ = ("bytes", "flow", "last", "quiet")

    def __init__(self, flow: Recorded, *, quiet: bool) -> None:
        self.flow = flow
        self.bytes = 0
        self.last = flow.first  # of its packets' times, which need not stand in their order
        self.quiet = quiet  # nobody wants more of what it says: it is only counted

    def at(self, time: float) -> None:
        """One more packet was recorded then."""
        if time >= self.last:
            self.last = time
        elif time < self.flow.first:
            self.flow.first = time


class Recorded:
    """One flow, from its first packet on."""

    __slots__ = (
        "answered", "asked", "asks", "begun", "decision", "down", "first", "isn", "kept", "key", "listener", "mac",
        "order", "other", "otherwise", "readings", "rest",
        "said", "shown", "unfinished", "up", "verdict", "watch",
    )

    def __init__(self, key: FlowKey, mac: bytes, first: float) -> None:
        self.key = key
        self.mac = mac
        self.first = first
        self.asks = key.dport == DNS and key.word in {"tcp", "udp"}  # our resolver, wherever it believes to ask
        self.up, self.down = Side(self, quiet=False), Side(self, quiet=not self.asks)
        self.isn: int | None = None  # of the opener, if its SYN, or the answer to it, was seen
        self.order: Order | None = None
        self.listener: Listener | None = None
        self.other: Listener | None = None  # hears the stream as it is if the last to speak was right
        self.otherwise: tuple[Name, ...] = ()  # what such a one heard
        self.readings = 0  # of them, from the beginning
        self.shown = 0  # packets that were shown to the gate
        self.begun = b""  # what was said while the gate was undecided
        self.kept: tuple[bytes, bytes] | None = None  # headers and payload of what will be
        # the kernel's connection mark
        self.verdict = Verdict.HELD
        self.watch = Watch.NONE
        # what the gate said
        self.decision: Decision | None = None
        self.said: tuple[Name, ...] = ()
        self.answered: tuple[tuple[str, ...], ...] = ()
        self.unfinished = False
        self.asked: dict[str, None] = {}  # names asked for, if this is a talk with a DNS server
        self.rest: dict[bool, bytes] = {}  # up or down -> of that talk over TCP, a message's beginning

    def mark(self, verdict: Verdict, watch: Watch) -> None:
        """As the kernel's connection is. While the server's answer is waited for, what it says is looked at."""
        self.verdict, self.watch = verdict, watch
        self.down.quiet = not self.asks and watch is not Watch.BEGUN

    def wanted(self) -> bool:
        """The kernel queues what the phone says of it; datagrams until a handshake is over, or many said nothing."""
        if self.verdict is Verdict.HELD:
            return True
        over = self.order is None and (self.listener is None or self.listener.done)
        return self.watch is not Watch.NONE and not over

    def looked_at(self, data: bytes) -> bool:
        """Whether the kernel shows Python this payload of a watched flow.

        Behind the server's answer only what may be one more hello, as gate.nft has it (goes_on): a handshake, or a
        change of ciphers that is not followed by what is encrypted. Anything else ends the watch.
        """
        if self.watch is not Watch.BEGUN or not self.down.quiet:
            return True
        if data[0] == tls.HANDSHAKE or (data[0] == CHANGE and data[6:7] != b"\x17"):
            self.down.quiet = False
            return True
        self.watch = Watch.NONE
        return False

    def hear_otherwise(self, text: bytearray, segments: list[tuple[int, Segment]]) -> None:
        """`text`: the stream as it is if the last to speak was right, with these segments, the newest, in it."""
        if any(known == CONTRADICTS for known, _ in segments):
            self.readings += 1
            self.other = Listener(self.key.proto) if self.readings <= MOST_READINGS else None
            said = [bytes(text)]
        else:
            said = [raw[start + known : end] for known, (raw, _, start, end) in segments]
        if self.other is not None:
            for data in said:
                self.other.hear(data)
            self.otherwise = tuple(dict.fromkeys((*self.otherwise, *self.other.said)))[:MOST_OTHERWISE]

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
            "hidden": self.listener is not None and Sign.HIDDEN in self.listener.signs,
            "verdict": str(decision.verdict) if decision else str(Verdict.ALLOW if self.asked else Verdict.HELD),
            "rule": decision.rule if decision else "",
            "reason": decision.reason if decision else "our DNS answers it" if self.asked else SILENT,
            "bytes_up": self.up.bytes,
            "bytes_down": self.down.bytes,
            "first": round(self.first, 6),
            "last": round(max(self.up.last, self.down.last), 6),
        }

    def _names(self) -> tuple[list[Name], str]:
        """All names, the best first, and how that one was learnt, as `via:` would say."""
        if self.asked:
            return [Name(name, Source.DNS) for name in self.asked], "dns"
        listener = self.listener
        said = (*self.said, *listener.said, *self.otherwise) if listener else self.said
        found = dict.fromkeys((*said, *(Name(name, Source.DNS) for chain in self.answered for name in chain)))
        names = [*found, *listener.literals] if listener else list(found)
        if said:
            return names, str(said[0].source)
        if self.answered:
            return names, "dns" if len(self.answered) == 1 else "ambiguous"
        signs = [sign for sign in listener.signs if sign is not Sign.HIDDEN] if listener else []
        return names, "unfinished" if self.unfinished else str(signs[0]) if signs else "none"
