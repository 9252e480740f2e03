"""[pure] Inputs in, commands and events out. It routes and knows no protocol: what a flow says is read in speech, what
DNS said is kept in names, what it means is decided in rules. The time is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from firewall import events, inputs
from firewall.commands import Command, ExpelPair, GiveVerdict, OpenWay, Reconcile, ResetServer, Watch
from firewall.consenting import Consenting
from firewall.consents import Consents
from firewall.dissect import NOT_MINE, ip
from firewall.enforced import Enforced
from firewall.events import Event, State
from firewall.flow import TCP, Flow, FlowTable, Hearing
from firewall.inputs import FlowKey, Now
from firewall.judge import Judge
from firewall.names import NameTable
from firewall.naming import Naming
from firewall.notices import Notices
from firewall.presence import Presence
from firewall.rejudge import Out, Rejudge
from firewall.speech import NEIGHBOUR, NO_NAME, UNFINISHED, Heard
from firewall.translated import Translated
from rules.observation import NOWHERE
from rules.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from firewall.phones import Phone, Phones
    from rules.observation import Observation, Place
    from rules.policy import Policy
    from rules.verdict import Decision

SOON = 1.0  # seconds
QUIET_SECONDS = 60.0  # between two words about commands of one kind that the world refused


class Turn(NamedTuple):
    """What became of one batch. A Tick is wanted at `wake_at` (boot time) at the latest; None: no need."""

    commands: list[Command]
    events: list[Event]
    wake_at: float | None


class Gateway:
    """One owner for everything that changes. `place` tells where an address stands."""

    def __init__(self, phones: Phones, place: Callable[[bytes], Place] = lambda _: NOWHERE) -> None:
        self.phones = phones
        self.names = NameTable()
        self.flows = FlowTable()
        self.consents = Consents()
        self._translated = Translated(place)
        self.judge = Judge(phones, self.names, self.consents, self._translated.place)
        self.names.weighs = lambda phone, chain, addr: self.judge.weighs(phone, chain, addr, self._out.now.boot)
        self.names.inner = self._translated.inner
        self.enforced = Enforced(phones, self.names, self.consents, self._translated.place)
        self.state = State.STARTING
        self.reason = "the rules have not been loaded yet"
        self._out = Out()
        self._notices = Notices()
        self._naming = Naming(self.judge, self.names, self.enforced, self._out)
        self._rejudge = Rejudge(self.judge, self.flows, self.consents, self._out)
        self._consenting = consenting = Consenting(self.consents, phones, self.flows, self._rejudge, self._out)
        self.presence = Presence(phones, self._out)
        self._locked_by = self._kept = ""  # why it is locked; why the newest rules are not the ones in use
        self._quiet: dict[type, float] = {}  # kind of command -> boot time until which its failures have been said
        self._unknown: frozenset[FlowKey] = frozenset()  # flows that pass, and nobody knows why any more
        phones.busy = lambda addr: bool(self.flows.passing_from(addr))
        phones.kept = self.consents.is_given
        phones.gone = self._phone_gone
        self.flows.gone = self._flow_gone
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
            inputs.PlacesReplaced: self._places_replaced,
            inputs.TranslatorsFound: self._translators_found,
            inputs.RoutersTold: self._translators_found,
            inputs.ModeAsked: self._mode_asked,
            inputs.PhoneChanged: self._phone_changed,
            inputs.ConsentGiven: consenting.given,
            inputs.ConsentEnded: consenting.taken_back,
            inputs.ConsentsRemembered: lambda seen, now: consenting.remembered(seen.consents, now),
            inputs.PairsFound: lambda seen, now: self._out.commands.extend(self.phones.adopt(seen.pairs, now.boot)),
            inputs.Remembered: self._remembered,
            inputs.ProbeSeen: lambda seen, _: self._out.commands.append(self.judge.probed(seen.id)),
            **self.presence.route,
            inputs.Tick: self._tick,
        }

    def handle(self, batch: Sequence[inputs.Input], now: Now) -> Turn:
        """One turn. What a phone or a server sent never makes it raise."""
        out = self._out
        out.begin(now)
        for seen in batch:
            self._route[type(seen)](seen, now)
        if self._rejudge.going_on:
            self._rejudge.go_on(now)
        if self.consents.changed:
            self._keep_exempt()
        if out.events:
            out.events += list(self._notices.of(out.events))
        return Turn(out.commands, out.events, self._wake_at(now))

    def live(self, now: Now) -> Iterator[tuple[Observation, Decision]]:
        """Every flow that has its decision, as the rules would see it now: for trying other rules on it."""
        for flow in list(self.flows):
            if flow.decision is not None:
                yield self.judge.again(flow, now), flow.decision

    @property
    def policy(self) -> Policy | None:
        return self.judge.policy

    @property
    def locked(self) -> bool:
        """Nothing undecided may pass: there are no rules, or the owner said so."""
        return self.policy is None or bool(self._locked_by)

    # -- flows -------------------------------------------------------------------------------------------------------

    def _packet(self, seen: inputs.PacketSeen, now: Now) -> None:
        packet = ip.parse(seen.packet)
        if packet is NOT_MINE or self.judge.policy is None or self._locked_by:
            self._out.commands.append(GiveVerdict(seen.id, Verdict.HELD))
            return
        phone = self._admit(seen.mac, packet.src, now)
        if phone is None:
            self._out.commands.append(GiveVerdict(seen.id, Verdict.HELD))
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
                self._out.commands.append(GiveVerdict(seen.id, decision.verdict))
                return
        if flow is None or (flow.resumed and seen.watched):
            flow = self.flows.open(key, seen.mac, phone)
            if seen.watched and key.proto == TCP:  # by a process that is gone: where its next request is, nobody knows
                self._judge(flow, UNFINISHED, [seen.id], seen.packet, now)
                return
        if seen.near:
            self._judge(flow, NEIGHBOUR, [seen.id], seen.packet, now)
            return
        flow.asked |= seen.always and flow.watch is Watch.BEGUN
        heard = self.flows.hear(flow, seen.id, packet, seen.packet, now.boot, first=seen.first)
        if isinstance(heard, Heard):
            first, ids = (flow.first_held, self.flows.release(flow)) if flow.held else (seen.packet, [])
            self._judge(flow, heard, [*ids, seen.id], first, now)
        elif heard is Hearing.SAME:
            self._out.commands.append(GiveVerdict(seen.id, decision.verdict if decision else Verdict.HELD, flow.shown))
        else:
            waits = heard is Hearing.WAIT
            early = self.judge.early(flow, now) if waits or (heard is Hearing.LIFE and not flow.decision) else None
            if early is not None:
                ids = self.flows.release(flow) if waits else [seen.id]
                self._give(flow, *early, NO_NAME, ids, seen.packet, now)
            elif not waits:
                self._out.commands += self.judge.dropped(flow, heard, seen)

    def _judge(self, flow: Flow, heard: Heard, ids: list[int], packet: bytes, now: Now) -> None:
        seen = self.judge.observe(flow, heard, now)
        self._give(flow, seen, self.judge.decide(flow.phone, seen), heard, ids, packet, now)

    def _give(
        self, flow: Flow, seen: Observation, decision: Decision, heard: Heard, ids: list[int], packet: bytes, now: Now
    ) -> None:
        """Answer what waited, remember, tell. `packet` is the first that has not passed."""
        if decision.consent:
            decision = self.judge.afford(flow, seen, decision)
        if decision.consent and self._rejudge.shut(flow.key, flow.phone.slot):  # the phone tries again
            self._out.commands += [GiveVerdict(packet_id, Verdict.HELD) for packet_id in ids]
            self.flows.forget(flow.key)
            return
        again = decision == flow.decision and (heard.said, heard.signs) == (flow.said, flow.signs)
        flow.decision, flow.said, flow.signs, flow.unfinished = decision, heard.said, heard.signs, heard.unfinished
        flow.answered = seen.answered
        flow.may_say_more = heard.may_say_more
        self.flows.judged(flow)
        flow.watch = self.judge.watch(flow, seen)
        if self.consents:
            self._out.commands += self.consents.settle(flow.key, flow.phone.slot, decision.consents, now.boot)
        for packet_id in ids:
            # What is still to be read does not pass unread: it comes once more.
            ahead = packet_id in flow.unread and flow.watch is not Watch.NONE
            self._out.commands.append(GiveVerdict(packet_id, Verdict.HELD if ahead else decision.verdict, flow.shown))
        if decision.verdict.refuses and flow.key.proto == TCP and not seen.near:
            self._out.commands.append(ResetServer(packet))
        flow.settled(now.boot)
        if not again:
            self._out.decided(flow, seen, decision, now, packet)

    def _refused_by_kernel(self, seen: inputs.RefusedSeen, now: Now) -> None:
        packet = ip.parse(seen.packet)
        if packet is NOT_MINE or self.policy is None:
            return
        key = FlowKey(packet.proto, packet.src, packet.sport, packet.dst, packet.dport)
        phone = self._admit(seen.mac, packet.src, now)  # under a new address the lists are for everybody
        if phone is None:
            return
        flow = Flow(key, seen.mac, phone)
        early = self.judge.early(flow, now)
        if early is not None and early[1].verdict.refuses:  # else the rules changed between the packet and us
            self._out.decided(flow, *early, now, seen.packet)

    def _counted(self, seen: inputs.FlowCounted, now: Now) -> None:
        flow = self.flows.forget(seen.flow) if seen.ended else self.flows.get(seen.flow)
        if flow is None:
            return
        if seen.up > flow.up:
            self.phones.used(seen.flow.src, now.boot)
        if flow.decision is None or flow.decision.verdict.refuses:
            return  # what conntrack counted of it was headers of its handshake and packets that we refused
        if seen.late and now.boot < flow.burst_until + SOON:
            # The kernel hardly forgets a connection so soon after it was let pass: this is the one before, and the new
            # one may pass on unknown to us. The kernel asks about it again.
            self._out.commands.append(self.flows.anew(seen.flow))
        up, down = seen.up - flow.up, seen.down - flow.down
        if up > 0 or down > 0 or seen.ended:
            flow.up, flow.down = max(seen.up, flow.up), max(seen.down, flow.down)
            self._out.events.append(events.FlowBytes(now.wall, seen.flow, max(up, 0), max(down, 0), seen.ended))

    def _flow_gone(self, flow: Flow, held: list[int], passing: bool) -> None:  # noqa: FBT001  as the table tells it
        """The table has let go of it: it ended, or there was no room, and if it passes then the kernel asks again."""
        if held:
            self._out.commands += [GiveVerdict(packet_id, Verdict.HELD) for packet_id in held]
        if self.consents:
            self._consenting.flow_gone(flow)
        if passing:
            self._out.commands.append(self.flows.anew(flow.key))

    # -- names -------------------------------------------------------------------------------------------------------

    def _query(self, seen: inputs.QuerySeen, now: Now) -> None:
        phone = None if self.locked else self._admit(seen.mac, seen.src, now)
        if phone is not None:  # else the question expires unanswered
            self._naming.asked(seen, phone, now)

    def _answer(self, seen: inputs.AnswerSeen, now: Now) -> None:
        if not self.locked:
            self._naming.answered(seen, self.phones.of(seen.mac, now.wall), now)

    # -- who it is ---------------------------------------------------------------------------------------------------

    def _admit(self, mac: bytes, addr: bytes, now: Now) -> Phone | None:
        """The phone that sent this; None if it used another's address."""
        phone, commands = self.phones.admit(mac, addr, now.boot, now.wall)
        if commands:
            self._hand_on(commands)
            self.consents.changed |= bool(self.consents)  # it may be new in a group that has one
        return phone

    def _hand_on(self, commands: Sequence[Command]) -> None:
        """Addresses come and go; with one that goes, what its owner was allowed goes too."""
        for command in commands:
            if isinstance(command, ExpelPair):
                self._begin_anew(self.flows.passing_from(command.addr))
            self._out.commands.append(command)

    def _begin_anew(self, keys: Iterable[FlowKey]) -> None:
        for key in keys:
            self.flows.forget(key)
            self._out.commands.append(self.flows.anew(key))

    def _spoofed(self, seen: inputs.SpoofSeen, now: Now) -> None:
        packet = ip.parse(seen.packet)
        if packet is NOT_MINE:
            return
        text, commands = self.phones.spoofed(seen.mac, packet.src, now.boot)
        self._hand_on(commands)
        if text:
            self._out.events.append(events.Trouble(now.wall, text))

    def _phone_changed(self, seen: inputs.PhoneChanged, now: Now) -> None:
        if seen.forgotten and seen.phone and seen.consents:
            self._begin_anew(self.consents.users([seen.forgotten]))
            self.consents.move(seen.forgotten, self.phones.slot(seen.phone.slot))
        gone = None
        if seen.forgotten:
            gone, commands = self.phones.forget(seen.forgotten)  # first: its MACs may go to the other
            self._out.commands.extend(commands)
        phone = self.phones.change(seen.phone) if seen.phone else self.phones.stranger
        if gone is not None:
            self.flows.hand_over(gone, phone)
        self._out.events.append(events.OwnerActed(now.wall, "phone", seen.text, seen.who))
        self._rejudge.at_once(dict.fromkeys(self.consents.users([phone.slot]), "its phone was changed"), now)
        self._judge_all_again()

    def _phone_gone(self, phone: Phone) -> None:
        """It is forgotten, or another has taken its place: who comes under its number has nothing of it."""
        self.names.forget(phone)
        self._consenting.phone_gone(phone)

    def _mode_asked(self, seen: inputs.ModeAsked, now: Now) -> None:
        self.phones.mode = seen.mode
        self._out.events.append(events.OwnerActed(now.wall, "mode", f"{seen.mode}: all without an own mode", seen.who))
        self._judge_all_again()

    # -- what the owner wants ----------------------------------------------------------------------------------------

    def _policy_replaced(self, seen: inputs.PolicyReplaced, now: Now) -> None:
        policy = self.judge.policy = seen.policy
        self._translated.teach(policy)
        self._kept = ""
        self._out.events.append(events.PolicyChanged(now.wall, policy.revision, len(policy.rules), seen.who))
        self._judge_all_again()

    def _judge_all_again(self) -> None:
        """Rules, modes or phones are not what they were: kernel, learnt refusals and live flows follow."""
        policy = self.policy
        if policy is None:
            return
        if self.enforced.digest_of(policy) != self.enforced.digest:
            # what passes for reasons that nobody remembers begins anew, or ends
            self._out.commands.extend(map(self.flows.anew, self._unknown))
            self._unknown = frozenset()
        self._reconcile()
        self._rejudge.all(self.enforced.learn_again(policy, self._out.now.boot))

    def _places_replaced(self, _: inputs.PlacesReplaced, __: Now) -> None:
        self.enforced.digest = ""  # what the kernel learnt was by the old ones
        self._judge_all_again()

    def _translators_found(self, seen: inputs.TranslatorsFound | inputs.RoutersTold, now: Now) -> None:
        self._translated.learn(seen, self.policy)
        self._places_replaced(inputs.PlacesReplaced(), now)

    def _remembered(self, seen: inputs.Remembered, now: Now) -> None:
        """What a gateway before this one knew. Judged again when there are rules."""
        self.enforced.digest = seen.digest
        for name in seen.names:
            phone = self.phones.with_mac(name.mac)
            if phone is not self.phones.stranger and name.until > now.boot:
                self.names.remember(phone, name.chain, name.addr, name.until)
        for was in seen.flows:
            if was.flow in seen.alive and (was.decision.consent or was.flow not in seen.consented):  # else: older
                flow = self.flows.resume(was, self.phones.of(was.mac, now.wall))
                again = self.judge.again(flow, now)
                self._out.events.append(events.FlowResumed(now.wall, was.flow.src, was.flow, again, was.decision))
                self._consenting.resumed(flow, now)
        self._unknown = seen.alive - {flow.key for flow in self.flows}
        self._consenting.lost(self._unknown & seen.consented)
        self._unknown -= seen.consented

    def _policy_refused(self, seen: inputs.PolicyRefused, now: Now) -> None:
        kept = self.policy.revision if self.policy else 0
        self._out.events.append(events.PolicyKept(now.wall, kept, seen.problems, seen.who))
        if self.policy is None:
            self._become(State.LOCKED, f"the rules cannot be read: {seen.problems[0]}", now)
            self._reconcile()
        else:
            self._kept = f"new rules were refused, revision {kept} stays: {seen.problems[0]}"
            self._become(State.DEGRADED, self._kept, now)

    def _lock_asked(self, seen: inputs.LockAsked, now: Now) -> None:
        self._locked_by = seen.reason or f"stopped by {seen.who.name}" if seen.locked else ""
        self._out.events.append(events.OwnerActed(now.wall, "lock", "locked" if seen.locked else "resumed", seen.who))
        if seen.locked:
            self._become(State.LOCKED, self._locked_by, now)
        self._reconcile()

    # -- the kernel --------------------------------------------------------------------------------------------------

    def _reconcile(self) -> None:
        self._out.commands.append(self.enforced.whole(self.policy, locked=self.locked))

    def _keep_exempt(self) -> None:
        """The kernel's own lists are not for phones with a consent."""
        self.consents.changed = False
        if self.policy is not None:
            self._out.commands += self.enforced.changed_exempt()

    def _applied(self, seen: inputs.Applied, now: Now) -> None:
        if not self.enforced.applied(seen.generation):
            return
        wanted = State.DEGRADED if self._kept else State.ENFORCING
        if not self.locked and (self.state, self.reason) != (wanted, self._kept):
            self._become(wanted, self._kept, now)

    def _command_failed(self, seen: inputs.CommandFailed, now: Now) -> None:
        kind = type(seen.command)
        if self._quiet.get(kind, now.boot) <= now.boot:  # a phone can bring about thousands of them
            self._quiet[kind] = now.boot + QUIET_SECONDS
            self._out.events.append(events.Trouble(now.wall, f"{kind.__name__}: {seen.error}"))
        if isinstance(seen.command, OpenWay):
            self._consenting.not_opened(seen.command, now)
        if isinstance(seen.command, Reconcile):
            self.enforced.failed(now.boot)
            if not self.locked:
                self._become(State.DEGRADED, f"the kernel refused the rules: {seen.error}", now)

    def _tampered(self, seen: inputs.Tampered, now: Now) -> None:
        self._out.events.append(events.Trouble(now.wall, f"changed from outside and put right: {seen.what}"))

    def _strained(self, seen: inputs.Strained, now: Now) -> None:
        self._out.events.append(events.Trouble(now.wall, seen.what))

    def _become(self, state: State, reason: str, now: Now) -> None:
        self.state, self.reason = state, reason
        self._out.events.append(events.StateChanged(now.wall, state, reason))

    # -- time --------------------------------------------------------------------------------------------------------

    def _tick(self, _: inputs.Tick, now: Now) -> None:
        for flow in self.flows.overdue(now.boot):
            first = flow.first_held
            self._judge(flow, flow.late(), self.flows.release(flow), first, now)
        self.names.expire(now.boot)
        self._hand_on(self.phones.sweep(now.boot))
        self.enforced.expire(now.boot)
        self._consenting.expire(now)
        if self.enforced.due(now.boot):
            self._reconcile()
            if self.policy is not None:
                self._rejudge.learn(self.enforced.learn_again(self.policy, now.boot))

    def _wake_at(self, now: Now) -> float | None:
        if self._rejudge.going_on:
            return now.boot
        due = self.flows.next_due()
        for time in (self.enforced.retry_at, self.consents.next_end):
            if time is not None and (due is None or time < due):
                due = time
        return due
