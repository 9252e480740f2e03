"""[pure] Inputs in, commands and events out. It routes and knows no protocol: what a flow says is read in speech, what
DNS said is kept in names, what it means is decided in rules. The time is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from firewall.commands import (
    Command,
    ForgetFlows,
    ForwardQuery,
    GiveVerdict,
    KernelState,
    MarkFlow,
    Reconcile,
    RefuseAddress,
    RefuseQuery,
    ResetServer,
    SendAnswer,
    Watch,
)
from firewall.dissect import NOT_MINE, ip
from firewall.events import Event, FlowBytes, FlowDecided, PolicyChanged, PolicyKept, State, StateChanged, Trouble
from firewall.flow import Flow, FlowTable, Hearing
from firewall.inputs import (
    AnswerSeen,
    Applied,
    CommandFailed,
    FlowCounted,
    FlowKey,
    Input,
    LockAsked,
    Now,
    PacketSeen,
    PolicyRefused,
    PolicyReplaced,
    QuerySeen,
    RefusedSeen,
    Tampered,
    Tick,
)
from firewall.names import GRACE, NameTable
from firewall.speech import NO_NAME, UNFINISHED
from rules.decide import decide
from rules.observation import Observation
from rules.refusals import refusal, refused_networks
from rules.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from firewall.phones import Phones
    from firewall.speech import Heard
    from rules.policy import Policy
    from rules.verdict import Decision

REJUDGED_A_TURN = 256  # live flows judged again per turn after an edit, so that packets of others wait a few ms at most
RETRY_SECONDS = 1.0  # until a load that the kernel refused is tried again
TCP = 6
WORDS = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmp"}


class Turn(NamedTuple):
    """What became of one batch. A Tick is wanted at `wake_at` (boot time) at the latest; None: no need."""

    commands: list[Command]
    events: list[Event]
    wake_at: float | None


class Gateway:
    """One owner for everything that changes.

    `kernel_digest` names the policy whose learnt refusals the kernel may still hold from before a restart.
    """

    def __init__(self, phones: Phones, kernel_digest: str = "") -> None:
        self.phones = phones
        self.names = NameTable()
        self.flows = FlowTable()
        self.policy: Policy | None = None
        self.state = State.STARTING
        self.reason = "the rules have not been loaded yet"
        self._kernel_digest = kernel_digest
        self._generation = 0
        self._locked_by = ""
        self._retry_at: float | None = None
        self._refused: dict[tuple[bytes, bytes], float] = {}  # (mac, address) refused in the kernel, until (boot time)
        self._to_rejudge: Iterator[Flow] = iter(())
        self._rejudging = False
        self._commands: list[Command] = []
        self._events: list[Event] = []
        self._route: dict[type, Callable[..., None]] = {
            PacketSeen: self._packet,
            RefusedSeen: self._refused_by_kernel,
            QuerySeen: self._query,
            AnswerSeen: self._answer,
            FlowCounted: self._counted,
            PolicyReplaced: self._policy_replaced,
            PolicyRefused: self._policy_refused,
            Applied: self._applied,
            CommandFailed: self._command_failed,
            Tampered: self._tampered,
            LockAsked: self._lock_asked,
            Tick: self._tick,
        }

    def handle(self, batch: Sequence[Input], now: Now) -> Turn:
        """One turn. What a phone or a server sent never makes it raise."""
        commands: list[Command] = []
        events: list[Event] = []
        self._commands, self._events = commands, events
        for seen in batch:
            self._route[type(seen)](seen, now)
        if self._rejudging:
            self._rejudge(now)
        return Turn(commands, events, self._wake_at(now))

    @property
    def locked(self) -> bool:
        """Nothing undecided may pass: there are no rules, or the owner said so."""
        return self.policy is None or bool(self._locked_by)

    # -- flows -------------------------------------------------------------------------------------------------------

    def _packet(self, seen: PacketSeen, now: Now) -> None:
        packet = ip.parse(seen.packet)
        if packet is NOT_MINE or self.locked:
            self._commands.append(GiveVerdict(seen.id, Verdict.HELD))
            return
        key = FlowKey(packet.proto, packet.src, packet.sport, packet.dst, packet.dport)
        flow = self.flows.get(key)
        decision = flow.decision if flow else None
        if flow is not None and decision is not None:
            if not seen.watched and not self.flows.continues(flow, packet, seen.packet, now.boot):
                flow = None
            elif flow.watch is Watch.NONE:
                self._commands.append(GiveVerdict(seen.id, decision.verdict))
                return
        if flow is None:
            flow = self.flows.open(key, seen.mac, self.phones.name(seen.mac))
            if seen.watched:  # by a process that is gone: where in it the next request begins, nobody knows
                self._judge(flow, UNFINISHED, [seen.id], seen.packet, now)
                return
        heard = self.flows.hear(flow, seen.id, packet, seen.packet, now.boot)
        if heard is Hearing.AGAIN:
            self._commands.append(GiveVerdict(seen.id, Verdict.HELD))
        elif heard is Hearing.SAME:
            self._commands.append(GiveVerdict(seen.id, decision.verdict if decision else Verdict.HELD, flow.watch))
        elif heard is Hearing.WAIT:
            early = self._decide_early(flow, now)
            if early is not None:
                judged = self._observe(flow, NO_NAME, now, names_open=True)
                self._give(flow, early, NO_NAME, judged, self.flows.release(flow), seen.packet, now)
        else:
            first = flow.first_held or seen.packet
            self._judge(flow, heard, [*self.flows.release(flow), seen.id], first, now)

    def _observe(self, flow: Flow, heard: Heard, now: Now, *, names_open: bool = False) -> Observation:
        key = flow.key
        return Observation(
            phone=flow.phone,
            proto=WORDS.get(key.proto) or str(key.proto),
            addr=key.dst,
            port=key.dport or None,
            answered=self.names.chains(flow.phone, key.dst, now.boot),
            said=heard.said,
            names_open=names_open,
            unfinished=heard.unfinished,
        )

    def _decide_early(self, flow: Flow, now: Now) -> Decision | None:
        """A decision that no name still to come can change, or None."""
        assert self.policy is not None
        decision = decide(self.policy, self._observe(flow, NO_NAME, now, names_open=True))
        return None if decision.verdict is Verdict.HELD else decision

    def _judge(self, flow: Flow, heard: Heard, ids: list[int], packet: bytes, now: Now) -> None:
        assert self.policy is not None
        seen = self._observe(flow, heard, now)
        self._give(flow, decide(self.policy, seen), heard, seen, ids, packet, now)

    def _give(
        self, flow: Flow, decision: Decision, heard: Heard, seen: Observation, ids: list[int], packet: bytes, now: Now
    ) -> None:
        """Answer what waited, remember, tell. `packet` is the first that has not passed."""
        again = flow.decision is not None and flow.said == heard.said and flow.decision == decision
        flow.decision, flow.said, flow.unfinished = decision, heard.said, heard.unfinished
        flow.may_say_more = heard.may_say_more
        flow.watch = self._watch(flow, now)
        self._commands.extend(GiveVerdict(packet_id, decision.verdict, flow.watch) for packet_id in ids)
        if decision.verdict.refuses and flow.key.proto == TCP:
            self._commands.append(ResetServer(packet))
        flow.settled(now.boot)
        if not again:
            self._tell(flow, seen, decision, now)

    def _watch(self, flow: Flow, now: Now) -> Watch:
        """Cleartext HTTP that was allowed stays watched while another host's name could change that."""
        assert flow.decision is not None
        if not flow.may_say_more or flow.decision.verdict.refuses:
            return Watch.NONE
        later = self._decide_early(flow, now)
        return Watch.NONE if later is not None and later.verdict is flow.decision.verdict else Watch.HTTP

    def _tell(self, flow: Flow, seen: Observation, decision: Decision, now: Now) -> None:
        self._events.append(FlowDecided(now.wall, flow.key.src, flow.key, seen, decision))

    def _refused_by_kernel(self, seen: RefusedSeen, now: Now) -> None:
        packet = ip.parse(seen.packet)
        if packet is NOT_MINE or self.policy is None:
            return
        key = FlowKey(packet.proto, packet.src, packet.sport, packet.dst, packet.dport)
        flow = Flow(key, seen.mac, self.phones.name(seen.mac))
        decision = self._decide_early(flow, now)
        if decision is not None and decision.verdict.refuses:  # else the rules changed between the packet and us
            self._tell(flow, self._observe(flow, NO_NAME, now, names_open=True), decision, now)

    def _counted(self, seen: FlowCounted, now: Now) -> None:
        flow = self.flows.forget(seen.flow) if seen.ended else self.flows.get(seen.flow)
        if flow is None:
            return
        self._commands.extend(GiveVerdict(packet_id, Verdict.HELD) for packet_id in flow.held)
        if flow.decision is None or flow.decision.verdict.refuses:
            return  # what conntrack counted of it was headers of its handshake and packets that we refused
        up, down = seen.up - flow.up, seen.down - flow.down
        if up > 0 or down > 0 or seen.ended:
            flow.up, flow.down = max(seen.up, flow.up), max(seen.down, flow.down)
            self._events.append(FlowBytes(now.wall, seen.flow, max(up, 0), max(down, 0), seen.ended))

    # -- names -------------------------------------------------------------------------------------------------------

    def _query(self, seen: QuerySeen, now: Now) -> None:
        if self.locked:
            return  # the question expires unanswered
        if not self._refused_by_name(seen.token, seen.mac, seen.src, (seen.qname,), now):
            self._commands.append(ForwardQuery(seen.token))

    def _answer(self, seen: AnswerSeen, now: Now) -> None:
        """Learn, refuse in the kernel what can only be refused, and only then let the phone know the address."""
        policy = self.policy
        if policy is None or self.locked:
            return
        if len(seen.chain) > 1 and self._refused_by_name(seen.token, seen.mac, seen.src, seen.chain, now):
            return
        phone = self.phones.name(seen.mac)
        self.names.learn(phone, seen.chain, seen.addresses, seen.ttl, now.boot)
        for addr in seen.addresses:
            self._learn_refusal(policy, phone, seen.mac, addr, seen.ttl + int(GRACE), now)
        self._commands.append(SendAnswer(seen.token))

    def _refused_by_name(self, token: object, mac: bytes, src: bytes, chain: tuple[str, ...], now: Now) -> bool:
        assert self.policy is not None
        seen = Observation(self.phones.name(mac), None, None, None, answered=(chain,), names_open=True)
        decision = decide(self.policy, seen)
        if decision.verdict is not Verdict.BLOCK:
            return False  # `ask` gets the true answer and is stopped at the flow: a name alone is no evidence
        self._commands.append(RefuseQuery(token, decision))
        self._events.append(FlowDecided(now.wall, src, None, seen, decision))
        return True

    def _learn_refusal(self, policy: Policy, phone: str, mac: bytes, addr: bytes, seconds: int, now: Now) -> None:
        """Refuse this phone's way to `addr` in the kernel, from its first packet on, if no name could still open it."""
        chains = self.names.chains(phone, addr, now.boot)
        refused = refusal(policy, Observation(phone, None, addr, None, answered=chains, names_open=True))
        if refused is not None:
            self._refused[mac, addr] = now.boot + seconds
            self._commands.append(RefuseAddress(mac, addr, seconds))
        elif self._refused.pop((mac, addr), None) is not None:  # another name for this address has come up since
            self._commands.append(RefuseAddress(mac, addr, 0))

    # -- what the owner wants ----------------------------------------------------------------------------------------

    def _policy_replaced(self, seen: PolicyReplaced, now: Now) -> None:
        policy = seen.policy
        if self.policy is None and self._kernel_digest not in ("", policy.digest):
            self._commands.append(ForgetFlows())  # the rules were changed while no gateway lived
        self.policy = policy
        self._events.append(PolicyChanged(now.wall, policy.revision, len(policy.rules), seen.who))
        self._reconcile()
        self._refused.clear()
        for phone, addr, left in self.names.entries(now.boot):
            for mac in self.phones.macs(phone):
                self._learn_refusal(policy, phone, mac, addr, int(left), now)
        self._to_rejudge, self._rejudging = iter(list(self.flows)), True

    def _policy_refused(self, seen: PolicyRefused, now: Now) -> None:
        kept = self.policy.revision if self.policy else 0
        self._events.append(PolicyKept(now.wall, kept, seen.problems, seen.who))
        if self.policy is None:
            self._become(State.LOCKED, f"the rules cannot be read: {seen.problems[0]}", now)
            self._reconcile()
        else:
            self._become(State.DEGRADED, f"new rules were refused, revision {kept} stays: {seen.problems[0]}", now)

    def _lock_asked(self, seen: LockAsked, now: Now) -> None:
        self._locked_by = seen.who.name if seen.locked else ""
        if seen.locked:
            self._become(State.LOCKED, f"stopped by {seen.who.name}", now)
        self._reconcile()

    def _rejudge(self, now: Now) -> None:
        """Some more of the live flows, by the policy of today; the rest in the turns that follow."""
        policy = self.policy
        for _ in range(REJUDGED_A_TURN):
            flow = next(self._to_rejudge, None)
            if flow is None or policy is None:
                self._rejudging = False
                return
            if flow.decision is None or self.flows.get(flow.key) is not flow:
                continue
            heard = NO_NAME._replace(said=flow.said, unfinished=flow.unfinished)
            seen = self._observe(flow, heard, now)
            before, watch, decision = flow.decision, flow.watch, decide(policy, seen)
            flow.decision = decision
            flow.watch = self._watch(flow, now)
            if decision.verdict is before.verdict and flow.watch is watch:
                continue
            if before.verdict.refuses and not decision.verdict.refuses:
                # its next packet is judged as a first one (a TCP connection has been reset and will not come back)
                self._commands.append(MarkFlow(flow.key, Verdict.HELD))
                self.flows.forget(flow.key)
                continue
            self._commands.append(MarkFlow(flow.key, decision.verdict, flow.watch))
            if decision.verdict is not before.verdict:
                self._tell(flow, seen, decision, now)

    # -- the kernel --------------------------------------------------------------------------------------------------

    def _reconcile(self) -> None:
        policy = self.policy
        refused4, refused6 = refused_networks(policy) if policy else ((), ())
        digest = policy.digest if policy else ""
        self._generation += 1
        keep = digest == self._kernel_digest
        self._kernel_digest = digest
        self._commands.append(Reconcile(KernelState(self._generation, self.locked, refused4, refused6, keep)))

    def _applied(self, seen: Applied, now: Now) -> None:
        if seen.generation != self._generation:
            return
        self._retry_at = None
        if not self.locked and self.state is not State.ENFORCING:
            self._become(State.ENFORCING, "", now)

    def _command_failed(self, seen: CommandFailed, now: Now) -> None:
        self._events.append(Trouble(now.wall, f"{type(seen.command).__name__}: {seen.error}"))
        if isinstance(seen.command, Reconcile):
            self._kernel_digest = ""  # nobody knows what it holds
            self._retry_at = now.boot + RETRY_SECONDS
            if not self.locked:
                self._become(State.DEGRADED, f"the kernel refused the rules: {seen.error}", now)

    def _tampered(self, seen: Tampered, now: Now) -> None:
        self._events.append(Trouble(now.wall, f"changed from outside and put right: {seen.what}"))

    def _become(self, state: State, reason: str, now: Now) -> None:
        self.state, self.reason = state, reason
        self._events.append(StateChanged(now.wall, state, reason))

    # -- time --------------------------------------------------------------------------------------------------------

    def _tick(self, _: Tick, now: Now) -> None:
        for flow in self.flows.overdue(now.boot):
            first = flow.first_held
            self._judge(flow, UNFINISHED, self.flows.release(flow), first, now)
        self.names.expire(now.boot)
        for pair in [pair for pair, until in self._refused.items() if until <= now.boot]:
            del self._refused[pair]
        if self._retry_at is not None and self._retry_at <= now.boot:
            self._retry_at = None
            self._reconcile()

    def _wake_at(self, now: Now) -> float | None:
        if self._rejudging:
            return now.boot
        times = [time for time in (self.flows.next_due(), self._retry_at) if time is not None]
        return min(times) if times else None
