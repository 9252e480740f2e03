"""[pure] Live flows, and what waits for their names.

An undecided flow's first payload packets stay in the kernel's queue, unanswered, until what the phone says has a name
in it. A hold is bounded by the phone itself: it sends ten segments before it wants to see an ACK, and we hold all of
those back (RFC 6928; the same for QUIC: RFC 9002, 7.2).
"""

from __future__ import annotations

import re
from collections import OrderedDict, defaultdict
from enum import Enum
from typing import TYPE_CHECKING, Final

from firewall.commands import MarkFlow, Watch
from firewall.dissect import NEED_MORE, NOT_MINE, ip, tls
from firewall.inputs import LiveFlow
from firewall.speech import (
    HELLO_LIKELY,
    LONGEST_BEGIN,
    MOST_BEGUN,
    NO_NAME,
    NO_NAME_YET,
    NOTHING_NEW,
    UNFINISHED,
    Datagrams,
    Heard,
    Speech,
    listener,
    said_by,
)
from firewall.stream import FAR, SEQUENCE, Place, Remembered, Stream
from rules.observation import Source
from rules.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from firewall.inputs import FlowKey
    from firewall.phones import Phone
    from firewall.speech import Hears, Said
    from rules.verdict import Decision

MOST = 131_072  # flows remembered; the kernel remembers the verdicts of any beyond
HELD_SEGMENTS = 10
HELD_SECONDS = 3.0
HELD_FLOWS = 8  # of one phone
BURST_SECONDS = 1.0  # packets queued before the kernel learnt a verdict are seen within this
BURST_BYTES = 1 << 16  # and are no more than this: the phone waits for an ACK then
MOST_MIDWAY = 1 << 14  # flows that the kernel was told to ask about once more, and has not yet
_MOST_HELLOS = 4  # in one segment behind what was judged, that are tried
TCP, UDP = 6, 17
_RST, _URG = ip.RST, ip.URG

# Stands between two hellos and means nothing, however often (RFC 8446, 5 and D.4).
_CHANGES = re.compile(rb"(?:\x14\x03[\x00-\x04]\x00\x01\x01)+")


class Hearing(Enum):
    """What a packet is worth when it brings no name to judge."""

    WAIT = "keep it in the queue: a name has begun"
    AGAIN = "a repeat, or nothing that is said: drop it"
    REPEATED = "what waits in the queue is said again: drop it, and tell the phone that it was heard"
    LIFE = "it asks for a sign of life: its server shall see that, and not the byte in it"
    SAME = "more of what has been judged"


class Deaf:
    """Who has forgotten what a flow said, for want of room: nobody knows where in it the next name begins."""

    size: Final = 0

    def hear(self, data: bytes) -> Said:  # noqa: ARG002  as all who listen
        return UNFINISHED


DEAF: Final = Deaf()


class Flow:
    """One flow, from its first payload packet to the end that conntrack tells."""

    __slots__ = (
        "answered", "asked", "begun", "behind", "burst_until", "counted", "decision", "down", "first_held", "held",
        "held_since", "key", "mac", "may_say_more", "phone", "resumed", "said", "signs", "speech", "stream", "twice",
        "unfinished", "unread", "up", "watch",
    )

    def __init__(self, key: FlowKey, mac: bytes, phone: Phone, speech: Hears | None = None) -> None:
        self.key = key
        self.mac = mac
        self.phone = phone
        self.speech = speech
        self.stream = Stream()  # the phone's, if it is one
        self.held: list[tuple[int, int]] = []  # queue ids without an answer, and where each ends in its stream
        self.unread: frozenset[int] = frozenset()  # of those released last: behind a gap
        self.held_since = 0.0
        self.first_held = b""  # the packet a RST to the server is made of
        self.decision: Decision | None = None
        self.watch = Watch.NONE
        self.said = NO_NAME.said
        self.signs = NO_NAME.signs
        self.unfinished = False
        self.counted = False  # what is kept of its words, among its phone's
        self.behind = 0, b""  # so many bytes have passed behind what was judged, and with what they ended
        self.begun = False  # a hello in them, and what is held is of that
        self.asked = False  # its server has asked for one more hello (RFC 8446, 4.1.4)
        self.twice = False  # which has come
        self.answered: tuple[tuple[str, ...], ...] = ()  # by DNS, when it was judged
        self.may_say_more = False
        self.resumed = False  # by an earlier process: where in its stream it is, nobody knows
        self.burst_until = 0.0
        self.up = self.down = 0

    @property
    def size(self) -> int:
        """Bytes that are kept of what it says."""
        return self.speech.size if self.speech is not None else 0

    @property
    def shown(self) -> Watch:
        """What the kernel is told to show. One more hello may come in any order, whatever its server says meanwhile."""
        return Watch.NAMES if self.asked and self.watch is Watch.BEGUN else self.watch

    def forget(self) -> None:
        """There is no room to keep them."""
        self.speech = DEAF

    def late(self) -> Heard:
        """What is to be judged when nobody waits for the rest any more; what it had said before counts."""
        if isinstance(self.speech, Speech) and self.speech.word:
            return NO_NAME_YET
        return UNFINISHED.beside(self.said, self.signs)

    def settled(self, boot: float) -> None:
        """A verdict was given; packets already queued behind it belong to it."""
        self.burst_until = boot + BURST_SECONDS


class FlowTable:
    """Who is talking, and who is being held."""

    def __init__(self) -> None:
        self._flows: OrderedDict[FlowKey, Flow] = OrderedDict()
        self._holding: dict[FlowKey, Flow] = {}  # in the order they began to wait
        self._held_of: defaultdict[Phone, int] = defaultdict(int)
        self._remembered: Remembered[Phone, Stream] = Remembered()
        self._listened: Remembered[Phone, Flow] = Remembered()
        self._midway: OrderedDict[FlowKey, None] = OrderedDict()
        # told of each flow let go of, the queue ids that it held, and whether the kernel lets it pass all the same
        self.gone: Callable[[Flow, list[int], bool], None] = lambda *_: None
        self.listener: Callable[[int], Hears | None] = listener  # who listens to a new flow of a protocol

    def __len__(self) -> int:
        return len(self._flows)

    def __iter__(self) -> Iterator[Flow]:
        return iter(self._flows.values())

    def get(self, key: FlowKey) -> Flow | None:
        return self._flows.get(key)

    def open(self, key: FlowKey, mac: bytes, phone: Phone) -> Flow:
        """A flow that nothing is known of; whatever bore this key before is over."""
        before = self._flows.get(key)
        if before is not None:
            self._let_go(before, passing=False)
        if len(self._flows) >= MOST:
            oldest = next(iter(self._flows.values()))
            self._let_go(oldest, passing=oldest.decision is not None and not oldest.decision.verdict.refuses)
        flow = self._flows[key] = Flow(key, mac, phone, self.listener(key.proto))
        return flow

    def anew(self, key: FlowKey) -> MarkFlow:
        """The kernel shall ask about it again, in its middle: its beginning will not be seen."""
        self._midway[key] = None
        if len(self._midway) > MOST_MIDWAY:
            self._midway.popitem(last=False)
        return MarkFlow(key, Verdict.HELD)

    def resume(self, was: LiveFlow, phone: Phone) -> Flow:
        """A flow that an earlier process had let pass, with what that one knew of it."""
        flow = self.open(was.flow, was.mac, phone)
        flow.decision, flow.said, flow.unfinished = was.decision, was.said, was.unfinished
        flow.signs = was.signs
        flow.may_say_more, flow.watch, flow.resumed = was.may_say_more, Watch(was.watch), was.flow.proto == TCP
        flow.up, flow.down, flow.answered = was.up, was.down, was.answered
        if was.flow.proto == UDP:  # each datagram stands for itself: what comes next is listened to as ever
            flow.speech = Datagrams(NO_NAME_YET._replace(said=was.said, signs=was.signs, unfinished=was.unfinished))
        return flow

    def live(self) -> Iterator[LiveFlow]:
        """What passes, for the process after this one."""
        for flow in self._flows.values():
            decision = flow.decision
            if decision is not None and not decision.verdict.refuses:
                yield LiveFlow(
                    flow.key, flow.mac, flow.said, flow.unfinished, flow.may_say_more, flow.watch, decision,
                    flow.up, flow.down, flow.answered, flow.signs,
                )

    def passing_from(self, addr: bytes) -> list[FlowKey]:
        """What has not been refused of who uses this address."""
        return [
            key
            for key, flow in self._flows.items()
            if key.src == addr and flow.decision is not None and not flow.decision.verdict.refuses
        ]

    def hand_over(self, gone: Phone, phone: Phone) -> None:
        """What was one phone's is another's."""
        for flow in self._flows.values():
            if flow.phone is gone:
                self._held_of[phone] += bool(flow.held)
                self._held_of[gone] -= bool(flow.held)
                self._remembered.drop(gone, flow.stream)
                self._remembered.keep(phone, flow.stream)
                if flow.counted:
                    self._listened.drop(gone, flow)
                    self._listened.keep(phone, flow)
                flow.phone = phone
        self._held_of.pop(gone, None)

    def forget(self, key: FlowKey) -> Flow | None:
        self._midway.pop(key, None)
        flow = self._flows.get(key)
        if flow is not None:
            self._let_go(flow, passing=False)
        return flow

    def _no_longer_counted(self, flow: Flow) -> None:
        flow.counted = False
        self._listened.drop(flow.phone, flow)

    def _let_go(self, flow: Flow, *, passing: bool) -> None:
        del self._flows[flow.key]
        self._remembered.drop(flow.phone, flow.stream)
        if flow.counted:
            self._no_longer_counted(flow)
        self.gone(flow, self.release(flow), passing)

    def hear(
        self, flow: Flow, packet_id: int, packet: ip.Packet, raw: bytes, boot: float, *, first: bool = True
    ) -> Heard | Hearing:
        """One queued packet of `flow`: the names it completes, or what to do with it.

        `first`: of TCP, it stands where its connection begins. After WAIT the packet's id is in `flow.held`; after
        names, call `release` for all ids to answer.
        """
        if flow.speech is None:
            return NO_NAME
        data, end = raw[packet.payload : packet.end], 0
        if packet.proto == TCP:
            if packet.flags & _RST:
                return Hearing.AGAIN  # what it carries is nothing that is said (RFC 9293, 3.10.7.4)
            place: bytes | Place
            if packet.flags & _URG:
                place = Place.ODD
            elif first and flow.decision is None:
                place = flow.stream.add(packet.seq, data, first=True)
            else:
                place = self._place(flow, packet.seq, data, first)
            end = packet.seq + len(data)
            if isinstance(place, Place):
                return self._misplaced(flow, place, packet_id, raw, boot, end)
            data = place
        heard = flow.speech.hear(data)
        if flow.speech.size:
            flow.counted = True
            self._listened.keep(flow.phone, flow)
        elif flow.counted:
            self._no_longer_counted(flow)
        if heard is NOTHING_NEW:
            return Hearing.SAME
        if flow.decision is not None and packet.proto == TCP:
            self._remember(flow, data)
        if isinstance(heard, Heard):
            flow.twice |= flow.asked
            return heard.beside(flow.said, flow.signs) if flow.decision and flow.watch is Watch.BEGUN else heard
        return self._hold(flow, packet_id, raw, boot, end)

    def _misplaced(
        self, flow: Flow, place: Place, packet_id: int, raw: bytes, boot: float, end: int
    ) -> Heard | Hearing:
        """It brings nothing to read."""
        if place is Place.ODD:
            return UNFINISHED._replace(said=flow.said, signs=flow.signs)
        if place is Place.BEGUN or (place is Place.WAITS and not flow.decision):
            return self._hold(flow, packet_id, raw, boot, end)
        if place is Place.BEHIND and flow.begun:  # that hello is whole, and says what was judged
            return NO_NAME._replace(said=flow.said, signs=flow.signs, may_say_more=flow.may_say_more)
        if place is Place.LIFE:
            return Hearing.LIFE  # the server might read it in place of the byte that was judged
        if place is Place.WAITS:
            return Hearing.AGAIN
        if place is Place.KNOWN and flow.held and not flow.begun:
            return Hearing.REPEATED
        return Hearing.AGAIN if flow.held or not flow.decision else Hearing.SAME

    def _place(self, flow: Flow, seq: int, data: bytes, first: bool) -> bytes | Place:  # noqa: FBT001  as hear's
        stream = flow.stream
        if flow.decision is None:
            if stream.next is None and not first and self._midway and self._midway.pop(flow.key, self) is None:
                stream.begin(seq)
            return stream.add(seq, data, first=first)
        if stream.next is None:  # it was judged by its address, or resumed
            return Place.BEHIND
        if flow.watch is not Watch.BEGUN or (flow.held and not flow.begun):
            return stream.follow(seq, data)
        place = stream.compare(seq, data)
        return self._behind(flow, stream.ahead(seq), data) if place is Place.BEHIND else place

    def _behind(self, flow: Flow, ahead: int, data: bytes) -> bytes | Place:
        """What goes on behind what was judged, so many bytes `ahead` of it: one more hello counts too."""
        stream = flow.stream
        assert stream.next is not None
        end, tail = flow.behind
        if end > FAR:
            flow.watch = Watch.NONE
        if flow.twice:  # no server wants a third
            flow.behind = max(end, ahead + len(data)), b""
            return Place.BEHIND
        if ahead > end:
            return Place.WAITS  # who lets the end of a hello pass before its beginning may be told another end
        if flow.begun:
            again = end - ahead
            if again > len(tail) or not data.startswith(tail[len(tail) - again :][: len(data)]):
                return Place.WAITS  # its turn comes when what is held has passed
            data, ahead = data[again:], end
        else:
            data, ahead = data[max(-ahead, 0) :], max(ahead, 0)  # the rest is said again, in the same words
            if not end and (changes := _CHANGES.match(data)):
                stream.follow(stream.next, changes[0])
                self._remember(flow, changes[0])
                data = data[changes.end() :]
        if not data:
            return Place.KNOWN
        if not end and data[0] == tls.HANDSHAKE and tls.client_hello(data) is not NOT_MINE:
            return stream.follow(stream.next, data)
        if ahead < end and _another(flow, data)[0] is not Place.BEHIND:
            return Place.ODD  # a part of it may have passed already, and be another
        seen = tail + data[end - ahead :]
        place, at = _another(flow, seen)
        if place is Place.ODD or ahead + len(data) <= end:
            return place  # behind what a server reads over: early data that it has refused (RFC 8446, 4.2.10)
        flow.begun |= place is Place.BEGUN
        flow.behind = ahead + len(data), seen[at:] if place is Place.BEGUN else seen[-LONGEST_BEGIN:]
        return place

    def _hold(self, flow: Flow, packet_id: int, raw: bytes, boot: float, end: int = 0) -> Heard | Hearing:
        if not flow.held:
            if self._held_of[flow.phone] >= HELD_FLOWS:
                return UNFINISHED._replace(said=flow.said, signs=flow.signs)
            self._held_of[flow.phone] += 1
            self._holding[flow.key] = flow
            flow.held_since = boot
            flow.first_held = raw
        if len(flow.held) + 1 >= HELD_SEGMENTS:
            return UNFINISHED._replace(said=flow.said, signs=flow.signs)
        flow.held.append((packet_id, end))
        return Hearing.WAIT

    def judged(self, flow: Flow) -> None:
        """It has its verdict, which is for what was said until now and for nothing else in its place."""
        if flow.decision is not None and flow.decision.verdict.refuses:
            if flow.counted:
                self._no_longer_counted(flow)
            flow.speech = None  # nothing that it says is heard any more
        if flow.stream.judged():
            self._remembered.keep(flow.phone, flow.stream)

    def _remember(self, flow: Flow, said: bytes) -> None:
        flow.stream.remember(said)
        self._remembered.keep(flow.phone, flow.stream)

    def continues(self, flow: Flow, packet: ip.Packet, raw: bytes, boot: float) -> bool:
        """Whether a packet of whose flow the kernel knows no verdict belongs to what this flow was judged for.

        It does if it was queued before the kernel had learnt the verdict: at once, and near by in the stream. Anything
        else with this key is a new connection (a port used again), and so is what begins like one.
        """
        if boot > flow.burst_until:
            return False
        if flow.stream.next is None:
            return True  # no stream, and nothing said: the same phone, place and moment get the same verdict
        ahead = (packet.seq - flow.stream.next) % SEQUENCE
        data = raw[packet.payload : packet.end]
        if min(ahead, SEQUENCE - ahead) >= BURST_BYTES:
            return False
        return not Speech.begins(data) or flow.stream.compare(packet.seq, data) is Place.KNOWN  # said twice: a repeat

    def release(self, flow: Flow) -> list[int]:
        """The ids that waited, in their order. The flow holds nothing any more."""
        held, flow.held, flow.first_held = flow.held, [], b""
        begun, flow.begun = flow.begun, False
        read = None if begun else flow.stream.next
        flow.unread = frozenset() if read is None else frozenset(
            packet_id for packet_id, end in held if 0 < (end - read) % SEQUENCE < SEQUENCE // 2
        )
        if self._holding.pop(flow.key, None) is not None:
            self._held_of[flow.phone] -= 1
            if not self._held_of[flow.phone]:
                del self._held_of[flow.phone]
        return [packet_id for packet_id, _ in held]

    def overdue(self, boot: float) -> list[Flow]:
        """Flows whose names did not come in time."""
        late = []
        for flow in self._holding.values():
            if flow.held_since + HELD_SECONDS > boot:
                break
            late.append(flow)
        return late

    def next_due(self) -> float | None:
        """Boot time at which a held flow's time is up."""
        first = next(iter(self._holding.values()), None)
        return None if first is None else first.held_since + HELD_SECONDS


def _another(flow: Flow, data: bytes) -> tuple[Place, int]:
    """What looks like a hello, wherever it begins: it is not whole, and from where on; or says something else."""
    begin = HELLO_LIKELY.search(data)
    for _ in range(_MOST_HELLOS):
        if begin is None:
            return Place.BEHIND, 0
        hello = tls.client_hello(data[begin.start() :])
        if hello is NEED_MORE and len(data) - begin.start() <= MOST_BEGUN:
            return Place.BEGUN, begin.start()
        if not isinstance(hello, tls.Hello):
            return Place.ODD, 0
        heard = said_by(hello, Source.SNI)
        if set(heard.said) != set(flow.said) or not set(heard.signs) <= set(flow.signs):
            return Place.ODD, 0
        begin = HELLO_LIKELY.search(data, begin.start() + 1)
    return (Place.BEHIND if begin is None else Place.ODD), 0
