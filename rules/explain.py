"""Why: the rule that decides, the others that match or could, and what is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rules.decide import decide
from rules.verdict import Answer

if TYPE_CHECKING:
    from rules.observation import Name, Observation
    from rules.policy import Policy
    from rules.rule import Rule
    from rules.verdict import Decision


@dataclass(frozen=True, slots=True)
class Explanation:
    decision: Decision
    service_title: str
    names: tuple[Name, ...]
    claims: tuple[str, ...]  # names the flow says of itself over a listed address, and nothing supports
    missing: tuple[str, ...]  # what is not known yet, in words
    matches: tuple[tuple[Rule, Answer], ...]  # every rule that matches or could, in the order of the rules

    def to_json(self) -> dict[str, Any]:
        decision = self.decision
        deciding = next((rule for rule, _ in self.matches if rule.id == decision.rule), None)
        return {
            "verdict": str(decision.verdict),
            "rule": decision.rule,
            "reason": decision.reason,
            "source": deciding.source if deciding else "",
            "note": deciding.note if deciding else "",
            "service": decision.service,
            "service_title": self.service_title,
            "revision": decision.revision,
            "consent": decision.consent,
            "names": [{"name": name.name, "source": str(name.source)} for name in self.names],
            "claims": list(self.claims),
            "missing": list(self.missing),
            "matches": [
                {"id": rule.id, "rule": str(rule), "answer": answer.value, "source": rule.source, "note": rule.note}
                for rule, answer in self.matches
            ],
        }


def explain(policy: Policy, seen: Observation) -> Explanation:
    """The same decision as `decide`, with everything that led to it and everything that would have."""
    decision = decide(policy, seen)
    case = policy.look_up(seen)
    answers = [(compiled.rule, compiled.answer(case)) for compiled in policy.compiled]
    service = policy.services.get(decision.service)
    return Explanation(
        decision,
        service.title if service else "",
        seen.names,
        tuple(name.name for name in seen.said) if case.unproven else (),
        seen.missing,
        tuple((rule, answer) for rule, answer in answers if answer is not Answer.NO),
    )
