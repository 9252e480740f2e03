"""[pure] Inputs in, commands and events out. It routes and knows no protocol: what a flow says is read in speech, what
DNS said is kept in names, what it means is decided in rules. The time is told.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from firewall import events, inputs
from firewall.commands import (
    Command,
    ExpelPair,
    ForwardQuery,
    GiveVerdict,
    MarkFlow,
    Reconcile,
    RefuseQuery,
    ResetServer,
    SendAnswer,
    Watch,
)
from firewall.dissect import NOT_MINE, ip
from firewall.enforced import Enforced
from firewall.events import Event, State
from firewall.flow import TCP, Flow, FlowTable, Hearing
from firewall.inputs import FlowKey, Now
from firewall.names import GRACE, NameTable
from firewall.speech import NO_NAME, UNFINISHED, Heard
from rules.decide import decide
from rules.observation import NOWHERE, Observation
from rules.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from firewall.phones import Phone, Phones
    from rules.observation import Place
    from rules.policy import Policy
    from rules.verdict import Decision

REJUDGED_A_TURN = 256  # live flows judged again per turn after an edit, so that packets of others wait a few ms at most
LEARNT_A_TURN = 64  # refusals put into the kernel again, each one netlink commit


class Turn(NamedTuple):
    """What became of one batch. A Tick is wanted at `wake_at` (boot time) at the latest; None: no need."""

    commands: list[Command]
    events: list[Event]
    wake_at: float | None


class Gateway:
    """One owner for everything that changes. `place` tells where an address stands."""

    def __init__(self, phones: Phones, place: Callable[[bytes], Place] = lambda _: NOWHERE) -> None:
        self.phones = phones
        self._place = place
        self.names = NameTable()
        self.flows = FlowTable()
        phones.busy = lambda addr: bool(self.flows.passing_from(addr))
        self.policy: Policy | None = None
        self.state = State.STARTING
        self.reason = "the rules have not been loaded yet"
        self.enforced = Enforced(phones, self.names, place)
        self._locked_by = self._kept = ""  # why it is locked; why the newest rules are not the ones in use
        self._unknown: frozenset[FlowKey] = frozenset()  # flows that pass, and nobody knows why any more
        self._to_learn: Iterator[Command] = iter(())
        self._to_rejudge: Iterator[Flow] = iter(())
        self._rejudging = False
        self._commands: list[Command] = []
        self._events: list[Event] = []
        self._route: dict[type, Callable[..., None]] = {
            inputs.PacketSeen: self._packet,
            inputs.RefusedSeen: self._refused_by_kernel,
            inputs.SpoofSeen: self._spoofed,
            inputs.QuerySeen: self._query,
            inputs.AnswerSeen: self._answer,
            inputs.FlowCounted: self._counted,
            inputs.PolicyReplaced: self._policy_replaced,
            inputs.PolicyRefused: self._policy_refused,
            inputs.Applied: self._applied,
            inputs.CommandFailed: self._command_failed,
            inputs.Tampered: self._tampered,
            inputs.Strained: self._strained,
            inputs.LockAsked: self._lock_asked,
            inputs.PlacesReplaced: lambda _, now: self._judge_all_again(now),
            inputs.ModeAsked: self._mode_asked,
            inputs.PhoneChanged: self._phone_changed,
            inputs.PairsFound: lambda seen, now: self._commands.extend(self.phones.adopt(seen.pairs, now.boot)),
            inputs.Remembered: self._remembered,
            inputs.Tick: self._tick,
        }

    def handle(self, batch: Sequence[inputs.Input], now: Now) -> Turn:
        """One turn. What a phone or a server sent never makes it raise."""
        commands: list[Command] = []
        told: list[Event] = []
        self._commands, self._events = commands, told
        for seen in batch:
            self._route[type(seen)](seen, now)
        if self._rejudging:
            self._rejudge(now)
        return Turn(commands, told, self._wake_at(now))

    def live(self, now: Now) -> Iterator[tuple[Observation, Decision]]:
        """Every flow that has its decision, as the rules would see it now: for trying other rules on it."""
        for flow in list(self.flows):
            if flow.decision is not None:
                yield self._as_judged(flow, now), flow.decision

    def _as_judged(self, flow: Flow, now: Now) -> Observation:
        """With the names it was judged by, also if DNS's answer is long past, and those that came since."""
        seen = self._observe(flow, NO_NAME._replace(said=flow.said, unfinished=flow.unfinished), now)
        return seen._replace(answered=tuple(dict.fromkeys((*flow.answered, *seen.answered))))

    @property
    def locked(self) -> bool:
        """Nothing undecided may pass: there are no rules, or the owner said so."""
        return self.policy is None or bool(self._locked_by)

    # -- flows -------------------------------------------------------------------------------------------------------

    def _packet(self, seen: inputs.PacketSeen, now: Now) -> None:
        packet = ip.parse(seen.packet)
        if packet is NOT_MINE or self.locked:
            self._commands.append(GiveVerdict(seen.id, Verdict.HELD))
            return
        phone = self._admit(seen.mac, packet.src, now)
        if phone is None:
            self._commands.append(GiveVerdict(seen.id, Verdict.HELD))
            return
        key = FlowKey(packet.proto, packet.src, packet.sport, packet.dst, packet.dport)
        flow = self.flows.get(key)
        if flow is not None and flow.mac != seen.mac:
            flow = None  # the address has gone over to another sender, and this is one of its own
        decision = flow.decision if flow else None
        if flow is not None and decision is not None:
            if not seen.watched and not self.flows.continues(flow, packet, seen.packet, now.boot):
                flow = None
            elif flow.watch is Watch.NONE:
                self._commands.append(GiveVerdict(seen.id, decision.verdict))
                return
        if flow is None or (flow.resumed and seen.watched):
            flow = self.flows.open(key, seen.mac, phone)
            if seen.watched:  # by a process that is gone: where in it the next request begins, nobody knows
                self._judge(flow, UNFINISHED, [seen.id], seen.packet, now)
                return
        heard = self.flows.hear(flow, seen.id, packet, seen.packet, now.boot)
        if isinstance(heard, Heard):
            first = flow.first_held or seen.packet
            self._judge(flow, heard, [*self.flows.release(flow), seen.id], first, now)
        elif heard is Hearing.AGAIN:
            self._commands.append(GiveVerdict(seen.id, Verdict.HELD))
        elif heard is Hearing.SAME:
            self._commands.append(GiveVerdict(seen.id, decision.verdict if decision else Verdict.HELD, flow.watch))
        elif heard is Hearing.WAIT:
            early = self._decide_early(flow, now)
            if early is not None:
                judged = self._observe(flow, NO_NAME, now, names_open=True)
                self._give(flow, early, NO_NAME, judged, self.flows.release(flow), seen.packet, now)

    def _observe(self, flow: Flow, heard: Heard, now: Now, *, names_open: bool = False) -> Observation:
        key = flow.key
        return Observation(
            phone=flow.phone.name,
            proto=key.word,
            addr=key.dst,
            port=key.dport or None,
            answered=self.names.chains(flow.phone, key.dst, now.boot),
            said=heard.said,
            names_open=names_open,
            unfinished=heard.unfinished,
            group=flow.phone.group,
            place=self._place(key.dst),
        )

    def _decide(self, phone: Phone, seen: Observation) -> Decision:
        """By the rules; or what they would have said, if the owner of this phone only watches."""
        assert self.policy is not None
        decision = decide(self.policy, seen)
        if decision.verdict.refuses and self.phones.watches(phone):
            reason = f"would be refused, and is only watched: {decision.reason}"
            return replace(decision, verdict=Verdict.WATCH, reason=reason)
        return decision

    def _decide_early(self, flow: Flow, now: Now) -> Decision | None:
        """A decision that no name still to come can change, or None."""
        decision = self._decide(flow.phone, self._observe(flow, NO_NAME, now, names_open=True))
        return None if decision.verdict is Verdict.HELD else decision

    def _judge(self, flow: Flow, heard: Heard, ids: list[int], packet: bytes, now: Now) -> None:
        seen = self._observe(flow, heard, now)
        self._give(flow, self._decide(flow.phone, seen), heard, seen, ids, packet, now)

    def _give(
        self, flow: Flow, decision: Decision, heard: Heard, seen: Observation, ids: list[int], packet: bytes, now: Now
    ) -> None:
        """Answer what waited, remember, tell. `packet` is the first that has not passed."""
        again = flow.decision is not None and flow.said == heard.said and flow.decision == decision
        flow.decision, flow.said, flow.unfinished = decision, heard.said, heard.unfinished
        flow.answered = seen.answered
        flow.may_say_more = heard.may_say_more
        flow.watch = self._watch(flow, seen)
        self._commands += [GiveVerdict(packet_id, decision.verdict, flow.watch) for packet_id in ids]
        if decision.verdict.refuses and flow.key.proto == TCP:
            self._commands.append(ResetServer(packet))
        flow.settled(now.boot)
        if not again:
            self._tell(flow, seen, decision, now)

    def _watch(self, flow: Flow, seen: Observation) -> Watch:
        """Cleartext HTTP that was allowed stays watched while another host's name could change that."""
        assert flow.decision is not None
        if not flow.may_say_more or flow.decision.verdict.refuses:
            return Watch.NONE
        later = self._decide(flow.phone, seen._replace(said=(), names_open=True, unfinished=False))
        return Watch.NONE if later.verdict is flow.decision.verdict else Watch.HTTP

    def _tell(self, flow: Flow, seen: Observation, decision: Decision, now: Now) -> None:
        self._events.append(events.FlowDecided(now.wall, flow.key.src, flow.key, seen, decision))

    def _refused_by_kernel(self, seen: inputs.RefusedSeen, now: Now) -> None:
        packet = ip.parse(seen.packet)
        if packet is NOT_MINE or self.policy is None:
            return
        key = FlowKey(packet.proto, packet.src, packet.sport, packet.dst, packet.dport)
        flow = Flow(key, seen.mac, self.phones.of(seen.mac, now.wall))
        decision = self._decide_early(flow, now)
        if decision is not None and decision.verdict.refuses:  # else the rules changed between the packet and us
            self._tell(flow, self._observe(flow, NO_NAME, now, names_open=True), decision, now)

    def _counted(self, seen: inputs.FlowCounted, now: Now) -> None:
        flow = self.flows.forget(seen.flow) if seen.ended else self.flows.get(seen.flow)
        if flow is None:
            return
        if seen.up > flow.up:
            self.phones.used(seen.flow.src, now.boot)
        self._commands.extend(GiveVerdict(packet_id, Verdict.HELD) for packet_id in flow.held)
        if flow.decision is None or flow.decision.verdict.refuses:
            return  # what conntrack counted of it was headers of its handshake and packets that we refused
        up, down = seen.up - flow.up, seen.down - flow.down
        if up > 0 or down > 0 or seen.ended:
            flow.up, flow.down = max(seen.up, flow.up), max(seen.down, flow.down)
            self._events.append(events.FlowBytes(now.wall, seen.flow, max(up, 0), max(down, 0), seen.ended))

    # -- names -------------------------------------------------------------------------------------------------------

    def _query(self, seen: inputs.QuerySeen, now: Now) -> None:
        if self.locked:
            return  # the question expires unanswered
        phone = self._admit(seen.mac, seen.src, now)
        if phone is not None and not self._refused_by_name(seen.token, phone, seen.src, (seen.qname,), now):
            self._commands.append(ForwardQuery(seen.token))

    def _answer(self, seen: inputs.AnswerSeen, now: Now) -> None:
        """Learn, refuse in the kernel what can only be refused, and only then let the phone know the address."""
        policy = self.policy
        if policy is None or self.locked:
            return
        phone = self.phones.of(seen.mac, now.wall)
        if len(seen.chain) > 1 and self._refused_by_name(seen.token, phone, seen.src, seen.chain, now):
            return
        self.names.learn(phone, seen.chain, seen.addresses, seen.ttl, now.boot)
        for addr in seen.addresses:
            seconds = seen.ttl + int(GRACE)
            self._commands.extend(self.enforced.learn(policy, phone, seen.mac, addr, seconds, now.boot))
        self._commands.append(SendAnswer(seen.token))

    def _refused_by_name(self, token: object, phone: Phone, src: bytes, chain: tuple[str, ...], now: Now) -> bool:
        seen = Observation(
            phone.name, None, None, None, answered=(chain,), names_open=True, group=phone.group, place=None
        )
        assert self.policy is not None
        if decide(self.policy, seen).verdict is not Verdict.BLOCK:
            return False  # `ask` gets the true answer and is stopped at the flow: a name alone is no evidence
        decision = self._decide(phone, seen)
        self._events.append(events.FlowDecided(now.wall, src, None, seen, decision))
        if decision.verdict.refuses:
            self._commands.append(RefuseQuery(token, decision))
        return decision.verdict.refuses

    # -- who it is ---------------------------------------------------------------------------------------------------

    def _admit(self, mac: bytes, addr: bytes, now: Now) -> Phone | None:
        """The phone that sent this; None if it used another's address."""
        phone, commands = self.phones.admit(mac, addr, now.boot, now.wall)
        self._hand_on(commands)
        return phone

    def _hand_on(self, commands: Sequence[Command]) -> None:
        """Addresses come and go; with one that goes, what its owner was allowed goes too."""
        for command in commands:
            if isinstance(command, ExpelPair):
                for key in self.flows.passing_from(command.addr):
                    self._commands.append(MarkFlow(key, Verdict.HELD))
                    self.flows.forget(key)
            self._commands.append(command)

    def _spoofed(self, seen: inputs.SpoofSeen, now: Now) -> None:
        packet = ip.parse(seen.packet)
        if packet is NOT_MINE:
            return
        text, commands = self.phones.spoofed(seen.mac, packet.src, now.boot)
        self._hand_on(commands)
        if text:
            self._events.append(events.Trouble(now.wall, text))

    def _phone_changed(self, seen: inputs.PhoneChanged, now: Now) -> None:
        gone, commands = self.phones.forget(seen.forgotten)  # first: its MACs may go to the other
        self._commands.extend(commands)
        phone = self.phones.change(seen.phone) if seen.phone else self.phones.stranger
        if seen.forgotten:
            self.names.forget(gone)
            self.flows.hand_over(gone, phone)
        self._events.append(events.OwnerActed(now.wall, "phone", seen.text, seen.who))
        self._judge_all_again(now)

    def _mode_asked(self, seen: inputs.ModeAsked, now: Now) -> None:
        self.phones.mode = seen.mode
        self._events.append(events.OwnerActed(now.wall, "mode", f"{seen.mode}: all without an own mode", seen.who))
        self._judge_all_again(now)

    # -- what the owner wants ----------------------------------------------------------------------------------------

    def _policy_replaced(self, seen: inputs.PolicyReplaced, now: Now) -> None:
        policy = self.policy = seen.policy
        self._kept = ""
        self._events.append(events.PolicyChanged(now.wall, policy.revision, len(policy.rules), seen.who))
        self._judge_all_again(now)

    def _judge_all_again(self, now: Now) -> None:
        """Rules, modes or phones are not what they were: kernel, learnt refusals and live flows follow."""
        policy = self.policy
        if policy is None:
            return
        if self.enforced.digest_of(policy) != self.enforced.digest:
            # what passes for reasons that nobody remembers begins anew, or ends
            self._commands.extend(MarkFlow(key, Verdict.HELD) for key in self._unknown)
            self._unknown = frozenset()
        self._reconcile()
        self._to_learn = self.enforced.learn_again(policy, now.boot)
        self._to_rejudge, self._rejudging = iter(list(self.flows)), True

    def _remembered(self, seen: inputs.Remembered, now: Now) -> None:
        """What a gateway before this one knew. Judged again when there are rules."""
        self.enforced.digest = seen.digest
        for name in seen.names:
            phone = self.phones.slot(name.slot)
            self.names.learn(phone, name.chain, (name.addr,), name.until - now.boot - GRACE, now.boot)
        for was in seen.flows:
            if was.flow in seen.alive:
                flow = self.flows.resume(was, self.phones.of(was.mac, now.wall))
                again = self._as_judged(flow, now)
                self._events.append(events.FlowResumed(now.wall, was.flow.src, was.flow, again, was.decision))
        self._unknown = seen.alive - {flow.key for flow in self.flows}

    def _policy_refused(self, seen: inputs.PolicyRefused, now: Now) -> None:
        kept = self.policy.revision if self.policy else 0
        self._events.append(events.PolicyKept(now.wall, kept, seen.problems, seen.who))
        if self.policy is None:
            self._become(State.LOCKED, f"the rules cannot be read: {seen.problems[0]}", now)
            self._reconcile()
        else:
            self._kept = f"new rules were refused, revision {kept} stays: {seen.problems[0]}"
            self._become(State.DEGRADED, self._kept, now)

    def _lock_asked(self, seen: inputs.LockAsked, now: Now) -> None:
        self._locked_by = seen.reason or f"stopped by {seen.who.name}" if seen.locked else ""
        self._events.append(events.OwnerActed(now.wall, "lock", "locked" if seen.locked else "resumed", seen.who))
        if seen.locked:
            self._become(State.LOCKED, self._locked_by, now)
        self._reconcile()

    def _rejudge(self, now: Now) -> None:
        """Some more of the live flows, by the policy of today; the rest in the turns that follow."""
        learnt = list(islice(self._to_learn, LEARNT_A_TURN))
        self._commands += learnt
        for _ in range(REJUDGED_A_TURN):
            flow = next(self._to_rejudge, None)
            if flow is None or self.policy is None:
                self._rejudging = bool(learnt)
                return
            if flow.decision is None or self.flows.get(flow.key) is not flow:
                continue
            seen = self._as_judged(flow, now)
            before, watch, decision = flow.decision, flow.watch, self._decide(flow.phone, seen)
            flow.decision = decision
            flow.watch = self._watch(flow, seen)
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
        self._commands.append(self.enforced.whole(self.policy, locked=self.locked))

    def _applied(self, seen: inputs.Applied, now: Now) -> None:
        if not self.enforced.applied(seen.generation):
            return
        wanted = State.DEGRADED if self._kept else State.ENFORCING
        if not self.locked and (self.state, self.reason) != (wanted, self._kept):
            self._become(wanted, self._kept, now)

    def _command_failed(self, seen: inputs.CommandFailed, now: Now) -> None:
        self._events.append(events.Trouble(now.wall, f"{type(seen.command).__name__}: {seen.error}"))
        if isinstance(seen.command, Reconcile):
            self.enforced.failed(now.boot)
            if not self.locked:
                self._become(State.DEGRADED, f"the kernel refused the rules: {seen.error}", now)

    def _tampered(self, seen: inputs.Tampered, now: Now) -> None:
        self._events.append(events.Trouble(now.wall, f"changed from outside and put right: {seen.what}"))

    def _strained(self, seen: inputs.Strained, now: Now) -> None:
        self._events.append(events.Trouble(now.wall, seen.what))

    def _become(self, state: State, reason: str, now: Now) -> None:
        self.state, self.reason = state, reason
        self._events.append(events.StateChanged(now.wall, state, reason))

    # -- time --------------------------------------------------------------------------------------------------------

    def _tick(self, _: inputs.Tick, now: Now) -> None:
        for flow in self.flows.overdue(now.boot):
            first = flow.first_held
            self._judge(flow, UNFINISHED, self.flows.release(flow), first, now)
        self.names.expire(now.boot)
        self._hand_on(self.phones.sweep(now.boot))
        self.enforced.expire(now.boot)
        if self.enforced.due(now.boot):
            self._reconcile()
            if self.policy is not None:
                self._to_learn, self._rejudging = self.enforced.learn_again(self.policy, now.boot), True

    def _wake_at(self, now: Now) -> float | None:
        if self._rejudging:
            return now.boot
        times = [time for time in (self.flows.next_due(), self.enforced.retry_at) if time is not None]
        return min(times) if times else None
