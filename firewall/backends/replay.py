"""A recording played through the gate: the same gateway code, a model of the kernel, the recording's own clock.

The model knows what gate.nft does: refused networks and learnt addresses, the verdict and watch class in each
connection's mark, which packets are shown to Python and which wait. What it cannot know is what a phone would have done
had it been refused: the recording goes on as it was made.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from hashlib import blake2b
from itertools import count
from struct import Struct
from typing import TYPE_CHECKING, Final

from firewall import commands, events, inputs, overheard
from firewall.backends.model import Sets, answers, back, ends, is_error, sized, without_syn
from firewall.capture import CaptureError
from firewall.dissect import NOT_MINE, carried, ip, link, tls
from firewall.dissect.fragments import Fragments
from firewall.dissect.order import CONTRADICTS, Order, Segment
from firewall.flow import HELD_SECONDS
from firewall.inputs import Author, FlowKey, Now
from firewall.recorded import Listener, Recorded, Side
from firewall.speech import MORE, Speech
from rules.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from firewall.capture import Window
    from firewall.commands import Command
    from firewall.gateway import Gateway
    from firewall.inputs import Input
    from rules.policy import Policy

MOST: Final = 65_536  # flows at a time; of more, the oldest is told and let go
TICK_SECONDS: Final = 1.0  # as the engine's
DEEPEST: Final = 4  # packets within packets
SEGMENTS: Final = 8  # of a hello, shown as they are; the gate holds ten
LARGEST: Final = 1 << 15  # bytes of the rest of it
PROGRESS: Final = 1 << 14  # packets
ETHERNET_HEADER: Final = 14
OWNER: Final = Author("replay")

PLAIN_IPV4: Final = 0x45  # version 4, no options

# In an Ethernet frame: what is in it, version; length, fragment, protocol, addresses and ports as one key, and of TCP
# the data offset and the flags
_IPV4 = Struct("!12xHBxH2xHxB2x12s8xBB")
_IPV6 = Struct("!18xHBx36s8xBB")
_LONG = Struct("!I")


class Replay:
    """One recording. `all_names`: read on after a refusal, so that every name in the file is told."""

    def __init__(self, gateway: Gateway, policy: Policy, *, all_names: bool) -> None:
        self.packets = 0  # read so far
        self.other = 0  # without IP
        self.cut = False  # words were cut off when they were recorded
        self.unknown_links: set[int] = set()
        self._gateway = gateway
        gateway.flows.listener = self._listener
        self._shown: Recorded | None = None  # whose packet the gate is being shown
        self._all_names = all_names
        self._sets = Sets()
        self._ids = count(1)
        self._waiting: dict[int, Recorded] = {}  # queue id -> whose packet
        self._flows: OrderedDict[FlowKey, Recorded] = OrderedDict()
        # by protocol and the bytes of addresses and ports as they stand in a packet
        self._sides: dict[int, dict[bytes, Side]] = {ip.TCP: {}, ip.UDP: {}}
        self.fragments = Fragments()
        self._back: list[Input] = []  # what the kernel tells in return
        self._asking: Recorded | None = None  # whose DNS question is being judged
        self._now = self._due = float("-inf")
        self._over: list[Recorded] = []  # to be told
        self._ending: deque[tuple[float, Recorded]] = deque()  # when an end was seen, perhaps ahead of its turn
        self._first_batch: tuple[Input, ...] = (inputs.PolicyReplaced(policy, OWNER),)

    def play(self, windows: Iterable[Window], progress: Callable[[], None] | None = None) -> Iterator[Recorded]:
        """Every flow, once nothing more can change it, in the order in which they began.

        What `windows` raises comes after the flows in front of the damage.
        """
        error: CaptureError | None = None
        try:
            yield from self._play(windows, progress)
        except CaptureError as wrong:
            error = wrong
        yield from self._end()
        if error is not None:
            raise error

    def _play(self, windows: Iterable[Window], progress: Callable[[], None] | None) -> Iterator[Recorded]:
        """Most packets belong to flows that nobody asks about any more: they are counted where they lie, not copied."""
        streams, datagrams, others = self._sides[ip.TCP], self._sides[ip.UDP], dict[bytes, Side]()
        tcp, udp, ethernet, mask = ip.TCP, ip.UDP, link.ETHERNET, PROGRESS - 1
        syn, opens, changes = ip.SYN, ip.SYN | ip.ACK, ip.SYN | ip.FIN | ip.RST
        ipv4, ipv6, least4, least6 = link.ETHER_IPV4, link.ETHER_IPV6, _IPV4.size, _IPV6.size
        four, six = _IPV4.unpack_from, _IPV6.unpack_from
        packets = 0
        try:
            for time, kind, data, start, end in windows:
                packets += 1
                if not packets & mask:
                    self.packets = packets
                    if progress is not None:
                        progress()
                if kind == ethernet and end - start >= least4:
                    ether, first, length, fragment, proto, key, offset, flags = four(data, start)
                else:
                    ether = 0
                if ether != ipv4 and ether != ipv6:  # noqa: PLR1714  at every packet: a set would cost more
                    raw = data[start:end]
                    data = link.as_ethernet(kind, raw)  # noqa: PLW2901  the same packet, in one form
                    if not data:
                        self._strange(time, kind, raw)
                        continue
                    start, end, proto = 0, len(data), -1  # noqa: PLW2901
                    if end >= least4:
                        ether, first, length, fragment, proto, key, offset, flags = four(data)
                if time >= self._due:
                    self._tick(time)
                side = None
                if ether == ipv4:
                    if first == PLAIN_IPV4 and not fragment & 0x3FFF:
                        side = (streams if proto == tcp else datagrams if proto == udp else others).get(key)
                elif end - start >= least6:
                    length, proto, key, offset, flags = six(data, start)
                    side = (streams if proto == tcp else datagrams if proto == udp else others).get(key)
                    length = length and length + 40
                if side is not None:
                    if side.quiet:
                        counted = proto != tcp or flags & opens != syn
                    else:
                        silent = length == (offset >> 4 << 2) + (20 if ether == ipv4 else 40)
                        counted = proto == tcp and silent and not flags & changes
                    if counted:
                        side.bytes += length or end - start - ETHERNET_HEADER  # 0: the card would have cut it (TSO)
                        if time >= side.last:
                            side.last = time
                        else:
                            side.at(time)
                        continue
                self._packet(time, data[start:end], side)
                if self._over:
                    yield from self._over
                    self._over.clear()
        finally:  # also where the file breaks off
            self.packets = packets

    def _strange(self, time: float, kind: int, raw: bytes) -> None:
        """No IP; or several frames in one."""
        within = list(link.in_one(kind, raw))
        if within and time >= self._due:
            self._tick(time)
        for frame in within:
            self._packet(time, frame, None)
        self.other += not within
        if not link.known(kind):
            self.unknown_links.add(kind)

    # -- the clock ---------------------------------------------------------------------------------------------------

    def _deliver(self, batch: Sequence[Input]) -> None:
        """One turn, and those that follow from it."""
        while batch:
            turn = self._gateway.handle(batch, Now(self._now, self._now, trusted=True))
            for event in turn.events:
                if isinstance(event, events.FlowDecided):
                    self._decided(event)
            for command in turn.commands:
                self._carry_out(command)
            if turn.wake_at is not None and turn.wake_at < self._due:
                self._due = turn.wake_at
            batch, self._back = self._back, []

    def _tick(self, time: float) -> None:
        """A recording's clock may jump; boot time does not go back."""
        if self._first_batch:
            self._now, batch, self._first_batch = time, self._first_batch, ()
            self._due = time + TICK_SECONDS
            self._deliver(batch)
            return
        while self._ending and self._ending[0][0] + HELD_SECONDS < time:
            self._settle(self._ending.popleft()[1])
        self._now = max(self._now, time)
        self._due = self._now + TICK_SECONDS
        self._deliver((inputs.Tick(),))

    def _end(self) -> Iterator[Recorded]:
        """Nothing more comes: what waits is judged, and everything is told."""
        for flow in self._flows.values():
            self._settle(flow)
        if self._flows:
            self._tick(self._now + HELD_SECONDS + TICK_SECONDS)
        yield from self._over
        yield from self._flows.values()

    # -- the kernel --------------------------------------------------------------------------------------------------

    def _carry_out(self, command: Command) -> None:
        if isinstance(command, commands.GiveVerdict):
            flow = self._waiting.pop(command.id, None)
            if flow is not None and command.verdict is not Verdict.HELD:  # else: dropped, and undecided as before
                flow.mark(command.verdict, command.watch)
        elif isinstance(command, commands.MarkFlow):
            marked = self._flows.get(command.flow)
            if marked is not None:
                marked.mark(command.verdict, command.watch)
        elif isinstance(command, commands.Reconcile):
            self._sets.load(command.desired)
            self._back.append(inputs.Applied(command.desired.generation))
        elif isinstance(command, commands.RefuseAddress):
            self._sets.learn(command, self._now)

    def _decided(self, event: events.FlowDecided) -> None:
        flow = self._asking if event.flow is None else self._flows.get(event.flow)
        if flow is None:
            return
        seen = event.seen
        if event.flow is not None:
            flow.said = tuple(dict.fromkeys((*flow.said, *seen.said)))
            flow.answered, flow.unfinished = seen.answered, seen.unfinished
        flow.decision = event.decision

    def _packet(self, time: float, frame: bytes, side: Side | None, depth: int = 0) -> None:
        """What is not only counted. `frame` is of Ethernet, `depth` packets deep; `side`: whose it is, if known."""
        now = self._now = max(self._now, time)
        whole = frame[ETHERNET_HEADER:] if side else self.fragments.add(frame[ETHERNET_HEADER:], now)
        if whole is None:
            return
        packet = ip.parse(whole)
        if packet is NOT_MINE:
            self.other += 1
            return
        if side is None and is_error(packet, whole):
            return
        side = side or self._side_of(packet)
        begins = packet.proto == ip.TCP and packet.flags & (ip.SYN | ip.ACK) == ip.SYN
        if begins and side is not None and side.flow.isn != packet.seq:
            flow, start = side.flow, (packet.seq + 1) % (1 << 32)
            if flow.isn is None and side is flow.up and flow.order is not None and flow.order.begins_at(start):
                flow.isn = packet.seq  # it was overtaken
            else:
                self._forget(flow)  # its ports are used again
                side = None
        if side is None:
            side = self._open(packet, time, up=begins or not answers(packet, whole), macs=frame[:12])
            flow = side.flow
            if packet.proto == ip.TCP and packet.end >= packet.l4 + 12:  # with the number that it acknowledges
                up = side is flow.up
                at = (packet.seq + begins if up else _LONG.unpack_from(whole, packet.l4 + 8)[0]) % (1 << 32)
                begun = bool(packet.flags & ip.SYN)
                flow.isn = (at - 1) % (1 << 32) if begun else None
                flow.order = Order(at if begun else None, near=at)
        flow, up = side.flow, side is side.flow.up
        # port 53 never crosses the gate: our resolver answers it
        if up and not side.bytes and not flow.asks and self._sets.refuse(flow.mac, flow.key.dst, now):
            self._refuse(flow, whole)
        payload = ip.payload_of(whole, packet)
        side.bytes += packet.payload + payload
        side.at(time)
        if flow.asks and packet.proto == ip.UDP:
            self._talk(flow, whole[packet.payload : packet.end], up=up)
        elif up and not side.quiet:
            if packet.payload + payload > len(whole):
                self.cut = True
                if flow.listener is not None:
                    flow.listener.cut_off(whole[packet.payload : packet.end])
            self._upload(flow, whole, packet)
        elif not (up or flow.asks):
            answer = whole[packet.payload : packet.end]
            side.quiet |= bool(answer) and answer[tls.RANDOM] != tls.RETRY  # which asks for one more hello
        elif not up:
            for message in overheard.messages(flow, whole[packet.payload : packet.end], up=False):
                self._talk(flow, message, up=False)
        if packet.proto == ip.TCP or flow.asks or depth == DEEPEST or not self._all_names:
            return
        if within := carried.frame(packet, whole):
            for end in ends(flow.key):  # none of it is only counted
                self._sides.get(packet.proto, {}).pop(end, None)
            self._packet(time, within, None, depth + 1)

    def _side_of(self, packet: ip.Packet) -> Side | None:
        flow = self._flows.get(packet.flow())
        if flow is not None:
            return flow.up
        flow = self._flows.get(back(packet))
        return flow.down if flow is not None else None

    def _open(self, packet: ip.Packet, time: float, *, up: bool, macs: bytes) -> Side:
        """A flow whose first recorded packet this is. `macs`: its receiver's and its sender's."""
        key, mac = (packet.flow(), macs[6:]) if up else (back(packet), macs[:6])
        if mac == link.NOBODY:  # the link does not tell: the address stands for its phone
            mac = b"\x06" + blake2b(key.src, digest_size=5).digest()
        flow = self._flows[key] = Recorded(key, mac, time)
        sides = self._sides.get(key.proto)
        if sides is not None and not (self._all_names and carried.PORTS.intersection((key.sport, key.dport))):
            there, answering = ends(key)
            sides[there], sides[answering] = flow.up, flow.down
        if len(self._flows) > MOST:
            self._forget(next(iter(self._flows.values())))
        if sides is not None and (key.proto == ip.TCP or not flow.asks):
            flow.listener = Listener(key.proto)
        if key.proto == ip.TCP:
            flow.order = Order(None)
        if not flow.asks:  # should it end before it says anything
            flow.answered = self._gateway.names.chains(self._gateway.phones.with_mac(mac), key.dst, self._now)
        return flow.up if up else flow.down

    def _forget(self, flow: Recorded) -> None:
        """The kernel's entry ends, and the row with it."""
        self._settle(flow)
        key = flow.key
        del self._flows[key]
        sides = self._sides.get(key.proto)
        if sides is not None:
            for end in ends(key):
                sides.pop(end, None)
        self._deliver((inputs.FlowCounted(key, flow.up.bytes, flow.down.bytes, ended=True),))
        del flow.up.flow, flow.down.flow  # else it lives until somebody looks for cycles
        self._over.append(flow)

    def _refuse(self, flow: Recorded, raw: bytes) -> None:
        """By a set of the kernel's own, with the first packet."""
        flow.verdict = Verdict.BLOCK
        self._deliver((inputs.RefusedSeen(flow.mac, raw[:128]),))
        if flow.decision is None:  # the rules think otherwise by now
            flow.verdict = Verdict.HELD

    # -- what the opener sends ---------------------------------------------------------------------------------------

    def _upload(self, flow: Recorded, raw: bytes, packet: ip.Packet) -> None:
        order = flow.order
        if order is None:
            if flow.wanted():
                self._ask(flow, raw)
            elif flow.listener is not None and not self._heard_enough(flow):
                flow.listener.hear(raw[packet.payload : packet.end])
            flow.up.quiet = not flow.wanted() and self._heard_enough(flow)
            return
        seq = packet.seq
        if packet.flags & ip.SYN:
            seq = (seq + 1) % (1 << 32)
            if packet.payload < packet.end:
                raw = without_syn(raw, packet.l4, seq)  # the kernel drops data in a SYN, and the phone sends it again
        if packet.payload < packet.end:
            begins = order.next is None and Speech.begins(raw[packet.payload : packet.end])
            self._heard(flow, order.add(seq, (raw, packet.l4, packet.payload, packet.end), begins=begins))
        if packet.flags & (ip.FIN | ip.RST) and not flow.up.quiet:
            self._ending.append((self._now, flow))
            if len(self._ending) > MOST:
                self._settle(self._ending.popleft()[1])

    def _settle(self, flow: Recorded) -> None:
        """Nothing more comes: what waits for its turn is taken as it is."""
        if flow.order is not None and not flow.up.quiet:
            self._heard(flow, flow.order.settle())

    def _heard(self, flow: Recorded, segments: list[tuple[int, Segment]]) -> None:
        """Segments in their order, to whoever wants them."""
        listener, order = flow.listener, flow.order
        assert listener is not None
        assert order is not None
        for known, (raw, l4, start, end) in segments:
            if known == CONTRADICTS:
                self._contradicted(flow, raw, raw[start:end])
                continue
            data = raw[start + known : end]
            if flow.asks:
                for message in overheard.messages(flow, data, up=True):
                    self._talk(flow, message, up=True)
                continue
            if order.gaps:
                order.gaps = 0
                listener.lost(data)
            if flow.wanted() and flow.looked_at(data):
                self._show(flow, raw[:start], l4, data, known)
            elif not self._heard_enough(flow):
                listener.hear(data)
        if order.otherwise is not None and not flow.asks:
            flow.hear_otherwise(order.otherwise, segments)
        flow.up.quiet = not flow.wanted() and self._heard_enough(flow)

    def _contradicted(self, flow: Recorded, raw: bytes, data: bytes) -> None:
        """Something else was read in its place: the gate has to see it as it came."""
        if flow.wanted() and flow.looked_at(data):
            if flow.kept:
                (head, data), flow.kept = flow.kept, None
                self._ask(flow, sized(head + data))
            self._ask(flow, raw)

    def _listener(self, proto: int) -> Listener | None:
        """The gate listens with the row's own ears: what it heard need not be read twice."""
        flow = self._shown
        if flow is None or flow.listener is None or flow.key.proto != proto:
            return None
        flow.listener.begin()
        return flow.listener

    def _heard_enough(self, flow: Recorded) -> bool:
        """No more names are wanted of it."""
        return flow.listener is None or flow.listener.done or (flow.verdict.refuses and not self._all_names)

    def _show(self, flow: Recorded, head: bytes, l4: int, data: bytes, known: int) -> None:
        """A segment that the kernel would queue.

        What was read before is cut off. Behind the first segments of a hello comes one large one, as from a phone whose
        kernel cuts late (GSO): whatever its size, here it can be told.
        """
        flow.shown += 1
        seq = (_LONG.unpack_from(head, l4 + 4)[0] + known) % (1 << 32)
        flow.begun += data
        if flow.kept:
            flow.kept = flow.kept[0], flow.kept[1] + data
        elif flow.shown >= SEGMENTS and flow.verdict is Verdict.HELD:
            flow.kept = head[: l4 + 4] + _LONG.pack(seq) + head[l4 + 8 :], data
        else:
            self._ask(flow, sized(head[: l4 + 4] + _LONG.pack(seq) + head[l4 + 8 :] + data) if known else head + data)
            flow.begun = flow.begun if flow.verdict is Verdict.HELD else b""
            return
        if Speech().hear(flow.begun) is not MORE or len(flow.kept[1]) > LARGEST:
            head, data = flow.kept
            flow.kept = None
            self._ask(flow, sized(head + data))

    def _ask(self, flow: Recorded, raw: bytes) -> None:
        """The kernel shows this packet to Python."""
        packet_id = next(self._ids)
        self._waiting[packet_id] = flow
        self._shown = flow
        self._deliver((inputs.PacketSeen(packet_id, flow.mac, raw, watched=flow.verdict is not Verdict.HELD),))

    # -- names -------------------------------------------------------------------------------------------------------

    def _talk(self, flow: Recorded, message: bytes, *, up: bool) -> None:
        """A DNS question, or the answer to one: our resolver would have heard it."""
        told = overheard.question(flow, message) if up else overheard.answer(flow, message, local=self._all_names)
        if told is None:
            return
        self._asking = flow
        self._deliver((told,))
        self._asking = None
        if isinstance(told, inputs.AnswerSeen):
            phone, names = self._gateway.phones.of(flow.mac, self._now), self._gateway.names
            if told.chain not in names.chains(phone, told.addresses[0], self._now):
                # refused by one of its names; in the recording the phone was told the address all the same
                names.learn(phone, told.chain, told.addresses, told.ttl, self._now)
