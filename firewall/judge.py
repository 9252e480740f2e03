"""[pure] What is known of a flow or a question is gathered here, and the rules are asked about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firewall.commands import Acknowledge, AskForLife, GiveVerdict, Watch
from firewall.dissect.ip import TCP
from firewall.flow import Hearing
from firewall.inputs import NEXT_FLOW, WORDS
from firewall.speech import NO_NAME
from rules.decide import decide, decide_later
from rules.observation import Observation, Sign
from rules.verdict import Decision, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from firewall.commands import Command
    from firewall.consents import Consents
    from firewall.flow import Flow
    from firewall.inputs import Now, PacketSeen
    from firewall.names import NameTable
    from firewall.phones import Phone, Phones
    from firewall.speech import Heard
    from rules.observation import Place
    from rules.policy import Policy

_NONE, _NAMES, _BEGUN = Watch  # an Enum's own look-up is slow
PROBE = Observation("", "udp", bytes([127, 0, 0, 1]), 0)


class Judge:
    """It changes nothing. `place` tells where an address stands."""

    def __init__(
        self, phones: Phones, names: NameTable, consents: Consents, place: Callable[[bytes], Place]
    ) -> None:
        self.policy: Policy | None = None
        self._phones = phones
        self._names = names
        self._consents = consents
        self._place = place

    def observe(self, flow: Flow, heard: Heard, now: Now, *, names_open: bool = False) -> Observation:
        key, phone = flow.key, flow.phone
        return Observation(  # by position: for every flow
            phone.name, WORDS.get(key.proto) or key.word, key.dst, key.dport or None,
            self._names.chains(phone, key.dst, now.boot), heard.said, names_open, heard.unfinished,
            phone.group, self._place(key.dst), self._consents.of(phone, key, now.boot), heard.signs,
        )

    def again(self, flow: Flow, now: Now) -> Observation:
        """A live flow with the names it was judged by, also if DNS's answer is long past, and those that came since."""
        seen = self.observe(flow, NO_NAME._replace(said=flow.said, signs=flow.signs, unfinished=flow.unfinished), now)
        return seen._replace(answered=tuple(dict.fromkeys((*flow.answered, *seen.answered))))

    def decide(self, phone: Phone, seen: Observation) -> Decision:
        """By the rules; or what they would have said, if the owner of this phone only watches."""
        assert self.policy is not None
        decision = decide(self.policy, seen)
        return self.only_watched(phone, seen, decision) if decision.verdict.refuses else decision

    def probed(self, packet_id: int) -> GiveVerdict:
        """The gate's own packet is judged as a phone's is, and goes on whatever the rules say: it comes back to us."""
        if self.policy is not None:
            decide(self.policy, PROBE)
        return GiveVerdict(packet_id, Verdict.ALLOW)

    def only_watched(self, phone: Phone, seen: Observation, decision: Decision) -> Decision:
        """A refusal, whoever thought of it, is none for a phone that is only watched: but for what protects another."""
        if decision.verdict.refuses and self._phones.watches(phone) and not seen.near:
            reason = f"would be refused, and is only watched: {decision.reason}"
            return decision._replace(verdict=Verdict.WATCH, reason=reason)
        return decision

    def afford(self, flow: Flow, seen: Observation, decision: Decision) -> Decision:
        """The decision, if there is room for one more flow by consent."""
        return self.only_watched(flow.phone, seen, self._consents.afford(flow.key, flow.phone.slot, decision))

    @staticmethod
    def dropped(flow: Flow, heard: Hearing, seen: PacketSeen) -> Iterator[Command]:
        """What is done with a packet that brings nothing to judge and does not pass."""
        yield GiveVerdict(seen.id, Verdict.HELD)
        if heard is Hearing.LIFE:
            yield AskForLife(seen.packet)
        elif heard is Hearing.REPEATED and flow.stream.next is not None:
            yield Acknowledge(seen.packet, flow.stream.next)

    def early(self, flow: Flow, now: Now) -> tuple[Observation, Decision] | None:
        """A decision that no name still to come can change, or None."""
        seen = self.observe(flow, NO_NAME, now, names_open=True)
        decision = self.decide(flow.phone, seen)
        return None if decision.verdict is Verdict.HELD else (seen, decision)

    def blocked(self, phone: Phone, chain: tuple[str, ...]) -> tuple[Observation, Decision] | None:
        """What becomes of a question; None if it is simply answered.

        `ask` gets the true answer and is stopped at the flow, for a name alone is no evidence: so no consent is needed.
        """
        assert self.policy is not None
        seen = Observation(
            phone.name, None, None, None, answered=(chain,), names_open=True, group=phone.group, place=None
        )
        if decide(self.policy, seen).verdict is not Verdict.BLOCK:
            return None
        return seen, self.decide(phone, seen)

    def may_lead(self, phone: Phone, chain: tuple[str, ...], addr: bytes, now: Now) -> bool:
        """Whether an address that stands beside what was asked for is one that the phone may go to, for all we know."""
        chains = dict.fromkeys((*self._names.chains(phone, addr, now.boot), chain))
        seen = Observation(
            phone.name, None, addr, None, answered=tuple(chains), names_open=True, group=phone.group,
            place=self._place(addr), consents=self._consents.of(phone, NEXT_FLOW, now.boot),
        )
        return not self.decide(phone, seen).verdict.refuses

    def may_hide(self, phone: Phone, chain: tuple[str, ...]) -> bool:
        """Whether a rule lets a flow to this name encrypt its true name: one that says so, for no other does."""
        assert self.policy is not None
        open_ = Observation(phone.name, "tcp", None, 443, answered=(chain,), group=phone.group, place=None)
        hidden = decide(self.policy, open_._replace(signs=(Sign.HIDDEN,)))
        return hidden.verdict is Verdict.ALLOW and hidden.rule != decide(self.policy, open_).rule

    def weighs(self, phone: Phone, chain: tuple[str, ...], addr: bytes, boot: float) -> int:
        """How much hangs on remembering that this phone got `addr` by these names.

        0: nothing is refused for it; 1: something may be, over another port, or when a consent ends; 2: all is refused.
        """
        if self.policy is None:
            return 0
        plain = Observation(
            phone.name, "tcp", addr, 443, answered=(chain,), group=phone.group, place=self._place(addr)
        )
        consents = self._consents.of(phone, NEXT_FLOW, boot)
        seen = (plain, plain._replace(consents=consents)) if consents else (plain, plain)
        refused = sum(decide(self.policy, one).verdict.refuses for one in seen)
        return refused or any(map(self.policy.closes, chain))

    def watch(self, flow: Flow, seen: Observation) -> Watch:
        """What was let pass is watched while another name could change that.

        What may say one later (cleartext HTTP, all UDP) as long as it lives; else until the server has answered.
        """
        assert flow.decision is not None
        assert self.policy is not None
        now = flow.decision.verdict
        if now.refuses or (not flow.may_say_more and (flow.key.proto != TCP or flow.unfinished)) or seen.near:
            return _NONE
        later = decide_later(self.policy, seen)
        if later is now or (later.refuses and now is Verdict.WATCH and self._phones.watches(flow.phone)):
            return _NONE
        return _NAMES if flow.may_say_more else _BEGUN
