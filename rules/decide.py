"""The one function that decides. First rule that matches; what is not known yet is thought through (decisions.md 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.policy import DEFAULT, MEMO
from rules.verdict import Answer, Decision, Verdict

if TYPE_CHECKING:
    from rules.index import Case
    from rules.observation import Observation
    from rules.policy import CompiledRule, Policy

VERBS = {Verdict.ALLOW: "allows", Verdict.ASK: "asks for", Verdict.BLOCK: "blocks"}


def decide(policy: Policy, seen: Observation) -> Decision:
    """What becomes of it. HELD if the facts that are still missing could lead to different outcomes.

    Every rule that could still match is an outcome, up to the first that does match (the default, if none does). Ask
    and block are one outcome here: which refusal is said first changes nothing for the packets, so the sure one speaks.
    """
    known = policy.memo.get(seen)
    if known is None:
        if len(policy.memo) >= MEMO:
            policy.memo.clear()
        known = policy.memo[seen] = _decide(policy, policy.look_up(seen))
    return known


def _decide(policy: Policy, case: Case) -> Decision:
    sure = next((rule for rule in policy.likely(case) if rule.answer(case) is Answer.YES), None)
    verdict = sure.rule.action if sure else Verdict.ALLOW
    missing = case.seen.missing
    if missing and any(rule.answer(case) is Answer.NOT_YET for rule in policy.opposed(verdict, sure)):
        reason = f"it depends on what is not known yet: {', '.join(missing)}"
        return Decision(Verdict.HELD, "", reason, "", policy.revision)
    service = policy.service_of(case)
    if sure is None:
        return Decision(verdict, DEFAULT, "no rule speaks of it; the default allows it", service, policy.revision)
    return Decision(verdict, sure.rule.id, _reason(policy, sure, case, service), service, policy.revision)


def _reason(policy: Policy, sure: CompiledRule, case: Case, service: str) -> str:
    rule = sure.rule
    by_service = service and any(term.key == "service" and not term.negated for term in rule.expression.terms)
    what = f"service {policy.services[service].title}" if by_service else str(rule.expression) or "everything"
    name = _name(policy, sure, case)
    return f"rule {rule.id} ({rule.source}) {VERBS[rule.action]} {what}" + (f": {name}" if name else "")


def _name(policy: Policy, sure: CompiledRule, case: Case) -> str:
    """The name that the rule is about, or else the best one known, with what is to be said of it."""
    seen = case.seen
    for said in seen.said:
        if policy.lists(said.name, sure.bits):
            return said.name
    for chain in seen.answered:
        for name in chain:
            if policy.lists(name, sure.bits):
                one_of = ", one of several names" if case.ambiguous else ""
                return (name if name == chain[0] else f"{chain[0]}, an alias of {name}") + one_of
    if seen.said:
        unproven = sure.rule.action.refuses and case.unproven
        return f"claims {seen.said[0].name}, unproven" if unproven else seen.said[0].name
    return seen.answered[0][0] if seen.answered else ""
