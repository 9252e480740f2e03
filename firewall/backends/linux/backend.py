"""The Linux backend: reads what the kernel asks and tells, carries out commands, and keeps its own rules standing."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from firewall.backends import BackendError, Gauges
from firewall.backends.linux import conntrack, marks, nfnl
from firewall.backends.linux.counting import Ends, keep_counting, passing, queue_length
from firewall.backends.linux.links import (
    LINKS_CHANGED,
    ROUTES_CHANGED,
    RULES_CHANGED,
    Closed,
    Sides,
    Sysctls,
    has_global6,
    listen,
    waiting,
)
from firewall.backends.linux.neighbours import NEIGHBOURS_CHANGED, Neighbours, gone, unpin_all
from firewall.backends.linux.nftables import CHILDREN, GROUP, QUEUE, SPOOFED, TABLE, Held, Ruleset, table_stands
from firewall.backends.linux.pairs import Pairs, sender
from firewall.backends.linux.probe import Probe
from firewall.backends.linux.reset import RawSender, acknowledged, emptied, rst
from firewall.backends.linux.routers import keep_hearing
from firewall.backends.linux.ways import Way, Ways
from firewall.commands import (
    Acknowledge,
    AdmitPair,
    AskForLife,
    Exempt,
    ExpelPair,
    ForgetFlows,
    GiveVerdict,
    KernelState,
    MarkFlow,
    OpenWay,
    Reconcile,
    RefuseAddress,
    ResetServer,
)
from firewall.inputs import Applied, CommandFailed, PacketSeen, PairsFound, RefusedSeen, SpoofSeen, Tampered
from rules.verdict import Verdict

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine, Sequence

    from firewall.backends.linux.pairs import Pair
    from firewall.commands import Command
    from firewall.inputs import FlowKey, Input
    from firewall.settings import Settings

A_TURN: Final = 64  # messages of one source, so that no source starves another
LOOK_SECONDS: Final = 1.0  # between looks whether anything has changed, should a notification have been lost
WHOLE_LOOK_SECONDS: Final = 30.0  # between whole looks at everything, changed or not
_ANSWER: Final = marks.PERMIT | marks.ASK


class LinuxBackend:
    """Lives in the network namespace it was made in. See Backend for its methods."""

    def __init__(self, settings: Settings) -> None:
        if os.geteuid() != 0:
            raise BackendError("the gate needs root: it changes routes and firewall rules")
        self._sides = Sides(settings.lan, settings.wan)
        self._lan = settings.lan
        self._rules = Ruleset(settings.lan, self._sides.wan, QUEUE, ssh=settings.ssh)
        self._closed = Closed(settings.lan)
        self._sysctls = Sysctls(Path(settings.run_dir, "sysctl-before.json"))
        self._neighbours = Neighbours(self._sides.lan)
        self._queue: nfnl.Queue | None = None
        self._calls = nfnl.Netlink()  # marks and elements: a question and its acknowledgement
        self._raw = RawSender()
        self._probe = Probe()
        self._kept: dict[int, int] = {}  # queued packet -> other programs' bits in its mark, and its phone's slot
        self._newcomers: dict[int, Pair] = {}  # queued packet -> whose it is, if the kernel did not know
        self._pairs = Pairs(self._calls, self._neighbours)
        self._ways = Ways(self._calls)
        self._loaded: dict[Pair, int] | None = None  # what a whole load knew of them that has just been made
        self._learned: dict[Pair, float] = {}  # (MAC, address) -> until, monotonic: to put back if lost
        self._state: KernelState | None = None  # what the kernel holds, or shall
        self._fingerprint = ""
        self._loaded_at = 0.0  # when, monotonic, a whole load was over
        self._unanswered = 0
        self._unmended = ""  # what stands between our rules and the kernel
        self._generation = 0  # nftables' own number of the commit after which all was well
        self._sources: list[Any] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._look = asyncio.Event()
        self._whole = asyncio.Lock()  # one whole load, or look at it, at a time
        self._strained = False  # the connection table fills
        self._suspect = ""  # who made the last change that was not ours
        self._touched = False  # and whether it was in our table: elements do not show in the fingerprint
        self._exempted: set[int] = set()  # slots, as the kernel has them or shall
        self._meanwhile: list[RefuseAddress | Exempt] = []  # came while a whole load was under way
        self._route: dict[type, Callable[[Any], None]] = {
            GiveVerdict: self._give_verdict,
            ResetServer: self._reset_server,
            Acknowledge: lambda command: self._raw.send(acknowledged(command.packet, command.next)),
            AskForLife: lambda command: self._raw.send(emptied(command.packet)),
            MarkFlow: self._mark_flow,
            ForgetFlows: self._forget_flows,
            RefuseAddress: self._refuse_address,
            OpenWay: self._open_way,
            AdmitPair: self._admit_pair,
            ExpelPair: self._expel_pair,
            Exempt: self._exempt,
            Reconcile: self._reconcile,
        }

    # -- begin and end -----------------------------------------------------------------------------------------------

    def lock(self) -> None:
        """It may wait: call it in a thread."""
        self._sides.need()
        self._closed.ensure()
        self._sysctls.close(self._sides.wan)
        if table_stands():
            now = time.monotonic()
            self._learned = {pair: now + seconds for pair, seconds in self._rules.learned().items()}
            self._pairs.use(self._rules.pairs())
            self._ways.find()
        else:
            self._load(KernelState(0, locked=True, refused4=(), refused6=(), keep_learned=True))

    def start(self, deliver: Callable[[Sequence[Input]], None]) -> None:
        self._deliver = deliver
        try:
            self._queue = nfnl.Queue(QUEUE)
        except PermissionError:
            raise BackendError(f"another program reads queue {QUEUE}: is a gateway running?") from None
        log = nfnl.Log(GROUP)
        ends = self._ends = Ends()
        changes = nfnl.Changes()
        routes = listen(RULES_CHANGED | LINKS_CHANGED | (ROUTES_CHANGED if self._sides.follows else 0))
        neighbours = listen(NEIGHBOURS_CHANGED)
        loop = asyncio.get_running_loop()
        readers: tuple[tuple[Any, Callable[[Any], None]], ...] = (
            (self._queue, self._read_queue),
            (log, self._read_log),
            (ends, self._read_ended),
            (changes, self._read_changes),
            (routes, self._read_routes),
            (neighbours, self._read_neighbours),
            (self._probe, self._probe.read),
        )
        for source, read in readers:
            loop.add_reader(source.fileno(), read, source)
            self._sources.append(source)
        self._spawn(self._keep_looking())
        self._spawn(keep_counting(deliver, self._strain, ends))
        self._spawn(keep_hearing(deliver, lambda: self._sides.wan))
        self._pairs.pin_all()
        self._deliver([PairsFound(tuple((*pair, slot) for pair, slot in self._pairs.slots().items()))])

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for source in self._sources:
            loop.remove_reader(source.fileno())
            source.close()
        for task in self._tasks:
            task.cancel()
        self._calls.close()
        self._raw.close()
        self._neighbours.close()

    def remove(self) -> None:
        """Forwarding first: nothing may pass between our rules going and the machine being as it was."""
        self._sysctls.restore()
        self._rules.remove()
        unpin_all(self._sides.lan)
        self._closed.remove()

    # -- what the kernel tells ---------------------------------------------------------------------------------------

    def _read_queue(self, queue: nfnl.Queue) -> None:
        left = A_TURN  # while packets keep coming the event loop costs the most
        while left > 0 and (found := queue.packets(left)):
            left -= len(found)
            ended = self._ends.ended()  # first: ports are used again, and a packet is not of what has ended before it
            self._deliver([*ended, *map(self._shown, found)])

    def _shown(self, packet: nfnl.Queued) -> Input:
        mark = packet.mark
        if mark == marks.PROBE:
            return self._probe.seen(packet.id)
        self._kept[packet.id] = mark & marks.KEPT
        if not mark & marks.SLOT:
            self._newcomers[packet.id] = packet.mac, sender(packet.packet)
        near, watched, first, always = self._sides.is_lan(packet.out), *marks.asked(mark)
        return PacketSeen(packet.id, packet.mac, packet.packet, watched, first, near, always)

    def _read_log(self, log: nfnl.Log) -> None:
        if found := log.packets(A_TURN):
            self._deliver([(SpoofSeen if p.prefix == SPOOFED else RefusedSeen)(p.mac, p.packet) for p in found])

    def _read_ended(self, source: Ends) -> None:
        if found := source.ended():
            self._deliver(found)

    def _read_changes(self, source: nfnl.Changes) -> None:
        """Every change of nftables ends with a message that tells who made it."""
        ours = {os.getpid(), *CHILDREN}
        for _ in range(A_TURN):
            try:
                commits = source.commits()
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._suspect = "somebody who made many changes"
                # what was lost may have been about our elements; not if it was told by our own load, of very many
                self._touched |= not self._whole.locked() and time.monotonic() - self._loaded_at > 2 * LOOK_SECONDS
                self._look.set()
                return
            if commits is None:
                return
            for commit in commits:
                if ours.isdisjoint((commit.pid, commit.port)):
                    self._suspect = f"{commit.process} (pid {commit.pid})"
                    self._touched |= TABLE in commit.tables
                    self._look.set()

    def _read_routes(self, source: socket.socket) -> None:
        for datagram in waiting(source):
            if datagram is None or self._sides.told(datagram):
                self._suspect = self._suspect or "whoever changed interfaces or policy rules"
                self._look.set()

    def _read_neighbours(self, source: socket.socket) -> None:
        for datagram in waiting(source):
            if datagram is None or any(addr in self._pairs for addr in gone(datagram, self._sides.lan)):
                self._look.set()

    async def _keep_looking(self) -> None:
        """Compare what stands with what should at every sign of a change, and now and then, and put it right."""
        looked = time.monotonic()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), LOOK_SECONDS)
            calm = not self._look.is_set() and nfnl.generation(self._calls) == self._generation
            self._look.clear()
            if calm and self._rules.told_of and time.monotonic() - looked < WHOLE_LOOK_SECONDS:
                continue
            looked = time.monotonic()
            async with self._whole:
                if self._state is None:
                    continue
                news = self._sides.look()
                self._neighbours.index = self._sides.lan
                touched, self._touched = self._touched or bool(news), False
                by, self._suspect = self._suspect, ""
                try:
                    self._rules.wan = self._sides.wan
                    if news and self._sides.complete:
                        self._sysctls.close(self._sides.wan)
                    lost = await asyncio.to_thread(self._mend, touched)
                except BackendError as error:
                    self._generation, self._unmended = -1, str(error)
                    self._touched |= touched
                    self._deliver([CommandFailed(Reconcile(self._state), str(error))])
                    continue
                self._generation, self._unmended = nfnl.generation(self._calls), ""
            self._catch_up()
            if self._pairs.pin_all():
                lost.append("the phones' neighbour entries")
            if lost or news:
                by = by or self._suspect or "somebody"
                self._deliver([Tampered(f"{' and '.join(news or lost)}, by {by}")])

    def _mend(self, touched: bool) -> list[str]:  # noqa: FBT001  the one thing it is told
        """What had been lost or changed, in words. In a thread."""
        assert self._state is not None
        lost = ["a policy rule"] if self._closed.ensure() else []
        if touched or not self._fingerprint or self._rules.fingerprint() != self._fingerprint:
            self._load(self._state)
            with suppress(OSError):  # the table changes under the dump: who asks on has to ask from another port
                conntrack.forget_questions(self._pairs.__contains__)
            if self._rules.expel_strangers():
                self._fingerprint = self._rules.fingerprint()
            lost.append("the ruleset")
        return lost

    # -- what the gateway wants --------------------------------------------------------------------------------------

    def carry_out(self, commands: Sequence[Command]) -> None:
        for command in commands:
            self._route[type(command)](command)
        if self._queue is not None:
            self._queue.flush()

    def _give_verdict(self, command: GiveVerdict) -> None:
        assert self._queue is not None
        kept, verdict = self._kept.pop(command.id, 0), command.verdict
        if self._newcomers:
            newcomer = self._newcomers.pop(command.id, None)
            if newcomer is not None and verdict is Verdict.CONSENT:  # a way is for a slot, and by now it has one
                kept |= self._pairs.slot(newcomer) << marks.SLOT_SHIFT
        if verdict is Verdict.HELD:
            self._queue.answer(command.id, nfnl.DROP, 0)
        else:
            answer = _ANSWER | marks.connection(verdict, command.watch)
            self._queue.answer(command.id, nfnl.ACCEPT, kept | answer)

    def _reset_server(self, command: ResetServer) -> None:
        if self._queue is not None:
            self._queue.flush()  # its verdict first: the connection mark is to be there before conntrack sees the end
        self._raw.send(rst(command.packet))

    def _mark_flow(self, command: MarkFlow) -> None:
        self._try(command, lambda: conntrack.change(self._calls, command, offloads=self._rules.offloads))

    def _forget_flows(self, command: ForgetFlows) -> None:
        self._call(command, conntrack.forget_marked(marks.PASSING, marks.PASSING))

    def _refuse_address(self, command: RefuseAddress) -> None:
        if self._whole.locked():
            self._meanwhile.append(command)
        mac, addr, seconds = command.mac, command.addr, command.seconds
        name = "learned4" if len(addr) == 4 else "learned6"
        found = nfnl.element(nfnl.padded_mac(mac) + addr, seconds)
        if seconds:
            self._learned[mac, addr] = time.monotonic() + seconds
            self._call(command, nfnl.batch(nfnl.elements(nfnl.NEW_ELEMENT, TABLE, name, [found])))
        else:
            self._learned.pop((mac, addr), None)
            self._call(command, nfnl.batch(nfnl.elements(nfnl.DELETE_ELEMENT, TABLE, name, [found])))

    def _open_way(self, command: OpenWay) -> None:
        try:
            self._ways.open(Way(command.slot, command.addr, command.port), command.seconds)
        except OSError as error:
            self._deliver([CommandFailed(command, os.strerror(error.errno or 0))])

    def _admit_pair(self, command: AdmitPair) -> None:
        self._pair(command, lambda: self._pairs.admit(command.mac, command.addr, command.slot))

    def _expel_pair(self, command: ExpelPair) -> None:
        self._pair(command, lambda: self._pairs.expel(command.mac, command.addr))

    def _pair(self, command: Command, change: Callable[[], bool]) -> None:
        try:
            if not change() and not self._whole.locked():  # somebody has changed our maps
                self._touched = True
                self._look.set()
        except (BackendError, OSError) as error:
            self._deliver([CommandFailed(command, str(error))])

    def _call(self, command: Command, request: bytes) -> None:
        self._try(command, lambda: self._calls.call(request))

    def _try(self, command: Command, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError as error:
            if error.errno != errno.ENOENT:  # the flow has ended, or the table is just being put back
                self._deliver([CommandFailed(command, os.strerror(error.errno or 0))])

    def _catch_up(self) -> None:
        """A load that was under way may have undone, or brought back, what was asked for meanwhile."""
        meanwhile, self._meanwhile = self._meanwhile, []
        for command in meanwhile:
            self._route[type(command)](command)
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            self._pairs.catch_up(loaded)
        with suppress(OSError):  # the table is gone: a look will tell
            self._ways.catch_up()

    def _exempt(self, command: Exempt) -> None:
        if self._whole.locked():
            self._meanwhile.append(command)
        (self._exempted.add if command.exempt else self._exempted.discard)(command.slot)
        kind = nfnl.NEW_ELEMENT if command.exempt else nfnl.DELETE_ELEMENT
        slot = nfnl.element((command.slot << marks.SLOT_SHIFT).to_bytes(4, sys.byteorder))
        self._call(command, nfnl.batch(nfnl.elements(kind, TABLE, "exempt", [slot])))

    def _reconcile(self, command: Reconcile) -> None:
        self._exempted = set(command.desired.exempt)
        keep = command.desired.keep_learned
        # Now, and what waits for a load that is under way too; what the same turn teaches after this is to stay.
        self._meanwhile = [one for one in self._meanwhile if keep and isinstance(one, RefuseAddress)]
        if not keep:
            self._learned.clear()
        self._spawn(self._apply(command))

    async def _apply(self, command: Reconcile) -> None:
        """In a thread: nft takes 10 ms, and seconds for large sets."""
        async with self._whole:
            if self._state is not None and self._state.generation > command.desired.generation:
                return
            self._state = command.desired
            try:
                await asyncio.to_thread(self._load, command.desired)
                if not command.desired.locked:
                    self._sysctls.open()
            except BackendError as error:
                self._deliver([CommandFailed(command, str(error))])
                return
        self._catch_up()
        self._deliver([Applied(command.desired.generation)])

    def _strain(self, strained: bool) -> None:  # noqa: FBT001  the one thing it is told
        self._strained = strained
        if self._state is not None:
            self._spawn(self._apply(Reconcile(self._state)))

    def _load(self, state: KernelState) -> None:
        now = time.monotonic()
        learned = {pair: int(until - now) for pair, until in list(self._learned.items()) if until > now + 1}
        pairs = self._loaded = self._pairs.slots()
        held = Held(learned, pairs, self._sides.had, self._ways.left(), self._strained)
        state = replace(state, exempt=tuple(sorted(self._exempted)))
        self._rules.load(state, held, masquerade6=not has_global6(self._lan))
        self._fingerprint = self._rules.fingerprint()
        self._loaded_at = time.monotonic()

    # -- what it knows -----------------------------------------------------------------------------------------------

    def gauges(self) -> Gauges:
        with suppress(OSError):
            self._unanswered = nfnl.counter_packets(self._calls, TABLE, "unanswered")
        return Gauges(*queue_length(QUEUE), self._unanswered, self._rules.says)

    def probe(self) -> str | None:
        became = self._probe.send()
        return became if became is None else became or self._unmended

    def flows(self) -> dict[FlowKey, Verdict]:
        return passing()

    def mac_of(self, address: bytes) -> bytes | None:
        return self._neighbours.mac_of(address)

    def on_phones_side(self, address: bytes) -> bool:
        return self._neighbours.leads_to(address)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
