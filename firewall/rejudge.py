"""[pure] Live flows follow when rules, phones, places or consents are not what they were.

Most of them in slices, a few hundred a turn, so that packets of others wait a few ms at most; those that pass by a
consent that is over at once.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Final

from firewall import events
from firewall.commands import Command, MarkFlow, OpenWay, Watch
from firewall.dissect import NOT_MINE, ip
from firewall.inputs import Now
from rules.verdict import Decision, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from firewall.consents import Consents
    from firewall.events import Event
    from firewall.flow import Flow, FlowTable
    from firewall.inputs import FlowKey
    from firewall.judge import Judge
    from firewall.phones import Phone
    from rules.observation import Observation

A_TURN: Final = 256  # live flows
AT_ONCE: Final = 1_024  # live flows whose consent is over, in the turn in which it ends
LEARNT_A_TURN: Final = 64  # refusals put into the kernel again, each one netlink commit


class Out:
    """What a turn brings forth."""

    def __init__(self) -> None:
        self.begin(Now(0.0, 0.0, trusted=False))

    def begin(self, now: Now) -> None:
        self.now = now
        self.commands: list[Command] = []
        self.events: list[Event] = []

    def decided(self, flow: Flow, seen: Observation, decision: Decision, now: Now, raw: bytes = b"") -> None:
        """`raw`: the packet that it was decided with."""
        tried = 0
        if raw and decision.verdict.refuses:
            packet = ip.parse(raw)
            tried = 0 if packet is NOT_MINE else ip.payload_of(raw, packet)
        self.events.append(events.FlowDecided(now.wall, flow.key.src, flow.key, seen, decision, tried))


class Rejudge:
    """`going_on`: there is more to do in the next turn."""

    def __init__(self, judge: Judge, flows: FlowTable, consents: Consents, out: Out) -> None:
        self.going_on = False
        self._judge = judge
        self._flows = flows
        self._consents = consents
        self._out = out
        self._to_learn: Iterator[Command] = iter(())
        self._waiting: Iterator[Flow] = iter(())
        self._some: Iterator[Flow] = iter(())  # of which those of these phones wait
        self._whose: set[Phone] = set()
        self._ending: OrderedDict[FlowKey, str] = OrderedDict()  # flows whose consent may be over, and why

    def all(self, learnt: Iterator[Command]) -> None:
        """Every flow; and what the kernel has to learn again. Whatever else was to be done is in it."""
        self._to_learn, self._waiting, self.going_on = learnt, iter(list(self._flows)), True
        self._some = iter(())
        self._whose.clear()

    def learn(self, learnt: Iterator[Command]) -> None:
        self._to_learn, self.going_on = learnt, True

    def of(self, phones: Iterable[Phone]) -> None:
        """Those of these phones too. One pass is for all that were named before it ended, however many they are."""
        self._whose.update(phones)
        if self._whose:
            self._some, self.going_on = iter(list(self._flows)), True

    def go_on(self, now: Now) -> None:
        """Some more of what waits."""
        learnt = list(islice(self._to_learn, LEARNT_A_TURN))
        self._out.commands += learnt
        self._end(A_TURN, now)
        flows = list(islice(self._waiting, A_TURN))
        if self._whose:
            flows += islice((flow for flow in self._some if flow.phone in self._whose), A_TURN - len(flows))
        if len(flows) < A_TURN:
            self._whose.clear()
        if self._judge.policy is not None:
            for flow in flows:
                self._out.commands += self._again(flow, now)
        self.going_on = bool(learnt) or bool(self._ending) or len(flows) == A_TURN

    def at_once(self, whys: Mapping[FlowKey, str], now: Now) -> None:
        """These, before all others: the kernel's ways are shut first. And why they pass no longer.

        Of more than AT_ONCE the rest follows in slices: whoever ends consents shuts the ways before it calls this.
        """
        if whys:
            self._ending.update(whys)
            self._end(AT_ONCE, now)
            self.going_on = self.going_on or bool(self._ending)

    def shut(self, flow: FlowKey, slot: int) -> bool:
        """Whether its way has to stay shut for a moment: others there, whose consent is over, are still to be cut."""
        return bool(self._ending) and self._consents.shut((slot, flow.dst, flow.dport))

    def _end(self, most: int, now: Now) -> None:
        commands = self._out.commands
        start = len(commands)
        while most and self._ending:  # a flow that begins anew may end a "once", and be here again
            most -= 1
            key, why = self._ending.popitem(last=False)
            flow = self._flows.get(key)
            if flow is not None:
                commands += self._again(flow, now, why)
        commands[start:] = sorted(commands[start:], key=lambda command: not isinstance(command, OpenWay))

    def refuse(self, flow: Flow, why: str, now: Now) -> None:
        """Whatever the rules say; unless its owner only watches."""
        assert flow.decision is not None
        said = f"{why}; {flow.decision.reason}"
        decision = flow.decision._replace(verdict=Verdict.ASK, consent=0, also=(), reason=said)
        seen = self._judge.again(flow, now)
        flow.decision = decision = self._judge.only_watched(flow.phone, seen, decision)
        self._out.commands += self._consents.settle(flow.key, flow.phone.slot, (), now.boot)
        self._out.commands.append(MarkFlow(flow.key, decision.verdict))
        self._out.decided(flow, seen, decision, now)

    def _again(self, flow: Flow, now: Now, why: str = "") -> list[Command]:
        before, watch = flow.decision, flow.watch
        if before is None or self._flows.get(flow.key) is not flow:
            return []
        seen = self._judge.again(flow, now)
        decision = self._decide(flow, seen, before)
        anew = before.verdict.refuses and not decision.verdict.refuses
        if anew or (decision.consent and self.shut(flow.key, flow.phone.slot)):
            # its next packet is judged as a first one (a TCP connection has been reset and will not come back)
            self._flows.forget(flow.key)
            return [self._flows.anew(flow.key)]
        if why and decision.verdict.refuses:
            decision = decision._replace(reason=f"{why}; {decision.reason}")
        flow.decision = decision
        if self._judge.policy is not None:
            # whether its server has answered meanwhile the kernel knows
            flow.watch = wanted if (wanted := self._judge.watch(flow, seen)) is not Watch.BEGUN else watch
        ways = self._consents.settle(flow.key, flow.phone.slot, decision.consents, now.boot)
        if (decision.verdict, decision.consent) != (before.verdict, before.consent):
            self._out.decided(flow, seen, decision, now)
        elif flow.watch is watch:
            return [*ways]
        mark = MarkFlow(flow.key, decision.verdict, flow.watch if flow.watch is not Watch.BEGUN else Watch.NONE)
        shut_first = decision.verdict.refuses or decision.verdict is Verdict.CONSENT
        return [*ways, mark] if shut_first else [mark, *ways]

    def _decide(self, flow: Flow, seen: Observation, before: Decision) -> Decision:
        if self._judge.policy is None:  # at the start: what was let pass by a consent that is there no more
            return self._judge.only_watched(flow.phone, seen, before._replace(verdict=Verdict.ASK, consent=0))
        return self._judge.afford(flow, seen, self._judge.decide(flow.phone, seen))
