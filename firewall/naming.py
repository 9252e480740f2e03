"""[pure] What phones ask our DNS, and what they are told: learnt, and refused in the kernel, before they know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firewall import events
from firewall.commands import ForwardQuery, RefuseQuery, SendAnswer
from firewall.names import GRACE

if TYPE_CHECKING:
    from firewall.enforced import Enforced
    from firewall.inputs import AnswerSeen, Now, QuerySeen
    from firewall.judge import Judge
    from firewall.names import NameTable
    from firewall.phones import Phone
    from firewall.rejudge import Out


class Naming:
    """Its questions come when there are rules."""

    def __init__(self, judge: Judge, names: NameTable, enforced: Enforced, out: Out) -> None:
        self._judge = judge
        self._names = names
        self._enforced = enforced
        self._out = out

    def asked(self, seen: QuerySeen, phone: Phone, now: Now) -> None:
        if not self._refused(seen.token, phone, seen.src, (seen.qname,), now):
            self._out.commands.append(ForwardQuery(seen.token))

    def answered(self, seen: AnswerSeen, phone: Phone, now: Now) -> None:
        """Learn, refuse in the kernel what can only be refused, and only then let the phone know the address."""
        policy, chain, told = self._judge.policy, seen.chain, seen.addresses
        assert policy is not None
        if len(chain) > 1 and self._refused(seen.token, phone, seen.src, chain, now):
            return
        if seen.hints:
            told = tuple(addr for addr in told if self._judge.may_lead(phone, chain, addr, now))
        told = self._names.leads(told)
        if not self._names.learn(phone, chain, told, seen.ttl, now.boot):
            return  # unanswered: it would be an address whose name nobody knows, or cost one that is refused
        for addr in told:
            seconds = seen.ttl + int(GRACE)
            self._out.commands.extend(self._enforced.learn(policy, phone, seen.mac, addr, seconds, now.boot))
        ech = seen.hints and self._judge.may_hide(phone, chain)
        self._out.commands.append(SendAnswer(seen.token, frozenset(seen.addresses).difference(told), ech))

    def _refused(self, token: object, phone: Phone, src: bytes, chain: tuple[str, ...], now: Now) -> bool:
        blocked = self._judge.blocked(phone, chain)
        if blocked is None:
            return False
        seen, decision = blocked
        self._out.events.append(events.FlowDecided(now.wall, src, None, seen, decision))
        if decision.verdict.refuses:
            self._out.commands.append(RefuseQuery(token, decision))
        return decision.verdict.refuses
