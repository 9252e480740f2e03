"""The one function that decides. First rule that matches; what is not known yet is thought through (decisions.md 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.policy import DEFAULT, MEMO
from rules.verdict import Answer, Decision, Verdict

if TYPE_CHECKING:
    from rules.index import Case
    from rules.observation import Observation
    from rules.policy import Policy
    from rules.rule import Rule

VERBS = {Verdict.ALLOW: "allows", Verdict.ASK: "asks for", Verdict.BLOCK: "blocks"}


def decide(policy: Policy, seen: Observation) -> Decision:
    """What becomes of it. HELD if the facts that are still missing could lead to different outcomes."""
    known = policy.memo.get(seen)
    if known is None:
        if len(policy.memo) >= MEMO:
            policy.memo.clear()
        known = policy.memo[seen] = _decide(policy, policy.look_up(seen))
    return known


def _decide(policy: Policy, case: Case) -> Decision:
    reachable: set[Verdict] = set()  # outcomes of rules that could still match
    sure: Rule | None = None  # the first that does match; the default if none
    for candidate in policy.candidates(case):
        answer = candidate.answer(case)
        if answer is Answer.YES:
            sure = candidate.rule
            break
        if answer is Answer.NOT_YET:
            reachable.add(candidate.rule.action)
    verdict = sure.action if sure else Verdict.ALLOW
    reachable.add(verdict)
    # ask and block are both refusals: which of them is said first does not change what becomes of the packets
    if len(reachable) > 1 and not all(outcome.refuses for outcome in reachable):
        return Decision(Verdict.HELD, "", "it depends on a name that is still to come", "", policy.revision)
    service = policy.service_of(case)
    if sure is None:
        return Decision(verdict, DEFAULT, "no rule speaks of it; the default allows it", service, policy.revision)
    return Decision(verdict, sure.id, _reason(policy, sure, case, service), service, policy.revision)


def _reason(policy: Policy, rule: Rule, case: Case, service: str) -> str:
    what = f"service {policy.services[service].title}" if service and "service:" in str(rule) else str(rule.expression)
    name = case.seen.said[0].name if case.seen.said else case.seen.answered[0][0] if case.seen.answered else ""
    return f"rule {rule.id} ({rule.source}) {VERBS[rule.action]} {what or 'everything'}" + (f": {name}" if name else "")
