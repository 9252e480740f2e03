"""The one function that decides. First rule that matches; what is not known yet is thought through (decisions.md 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.consent import Consented, Kind, services_of
from rules.policy import DEFAULT, MEMO
from rules.verdict import Answer, Decision, Verdict

if TYPE_CHECKING:
    from rules.consent import Grant
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
        known = policy.memo[seen] = decide_once(policy, seen)
    return known


def decide_once(policy: Policy, seen: Observation) -> Decision:
    """The same, and not remembered: of what nobody asks again."""
    case = policy.look_up(seen)
    return _decide(policy, case) if seen.consents == () else _decide_consented(policy, case)


def decide_later(policy: Policy, seen: Observation) -> Verdict:
    """What would become of it if another name came in the place of those that it has said: HELD if that depends."""
    known = policy.later.get(seen)
    if known is None:
        if len(policy.later) >= MEMO:
            policy.later.clear()
        open_ = seen._replace(said=(), signs=(), names_open=True, unfinished=False)
        known = policy.later[seen] = decide(policy, open_).verdict
    return known


def _decide(policy: Policy, case: Case) -> Decision:
    sure = next((rule for rule in policy.likely(case) if rule.answer(case) is Answer.YES), None)
    verdict = sure.rule.action if sure else Verdict.ALLOW
    if case.seen.missing and any(rule.answer(case) is Answer.NOT_YET for rule in policy.opposed(verdict, sure)):
        return _held(policy, case)
    return _by_rule(policy, sure, case)


def _decide_consented(policy: Policy, case: Case) -> Decision:
    """As `_decide`, for a phone that has consents: an `ask` that one of them answers does not end the scan.

    From there on only the `ask` rules below count: one that no consent answers still asks (decisions.md 4).
    """
    consented = Consented(policy, case)
    outcomes: dict[Verdict, CompiledRule | None] = {}  # and who says so, in the end the sure one; ask is a block here
    unanswered = True  # every rule counts still: no ask has been met and answered for sure
    answered: CompiledRule | None = None  # the ask that was, or may have been
    by: tuple[Grant, ...] = ()
    below: list[Grant] = []  # what answers the asks below it
    for rule in policy.compiled if case.seen.missing else policy.likely(case):  # only what is missing is NOT_YET
        action = rule.rule.action
        if action is not Verdict.ASK and not unanswered:
            continue
        answer = rule.answer(case)
        if answer is Answer.NO:
            continue
        sure = answer is Answer.YES
        if action is not Verdict.ASK:
            outcomes[Verdict.BLOCK if action.refuses else action] = rule
        else:
            reply, grants = consented.answers(rule)
            if reply is not Answer.YES:
                outcomes[Verdict.BLOCK] = rule
            if unanswered and reply is not Answer.NO and (sure or not answered):
                answered, by = rule, grants
            elif sure and reply is Answer.NO:
                answered = None
            else:
                below += grants
        unanswered = unanswered and not sure
        if not unanswered and not answered:
            break
    if unanswered:
        outcomes[Verdict.ALLOW] = None
    if answered:
        outcomes[Verdict.CONSENT] = answered
    if len(outcomes) > 1:
        return _held(policy, case)
    if answered and by:
        return _by_consent(policy, answered, (*by, *below), case)
    (deciding,) = outcomes.values()
    return _by_rule(policy, deciding, case)


def _held(policy: Policy, case: Case) -> Decision:
    reason = f"it depends on what is not known yet: {', '.join(case.seen.missing)}"
    return Decision(Verdict.HELD, "", reason, "", policy.revision)


def _by_rule(policy: Policy, sure: CompiledRule | None, case: Case) -> Decision:
    """What the rule says; the default, if there is none."""
    if sure is None:
        service = policy.service_of(case)
        return Decision(Verdict.ALLOW, DEFAULT, "no rule speaks of it; the default allows it", service, policy.revision)
    service = policy.service_of(case, services_of(sure))
    return Decision(sure.rule.action, sure.rule.id, _reason(policy, sure, case, service), service, policy.revision)


def _by_consent(policy: Policy, rule: CompiledRule, grants: tuple[Grant, ...], case: Case) -> Decision:
    grant, *others = dict.fromkeys(grants)
    kind, what = grant.subject
    subject = f"service {policy.services[what].title}" if kind is Kind.SERVICE else what
    name = _name(policy, rule, case)
    reason = f"consent {grant.id} for {subject} answers rule {rule.rule.id} ({rule.rule.source})"
    return Decision(
        Verdict.CONSENT, rule.rule.id, f"{reason}: {name}" if name else reason, policy.service_of(case),
        policy.revision, grant.id, tuple(other.id for other in others),
    )


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
