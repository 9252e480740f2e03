"""The words a decision is made of. Order of members means nothing: verdicts are never compared with `<`."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """What becomes of a flow or a question. The value is the word that the language, the history and the screen use."""

    ALLOW = "allow"
    ASK = "ask"  # refused now; the owner is asked
    BLOCK = "block"
    CONSENT = "consent"  # would be asked about, and passes because its owner consented: until that ends
    WATCH = "watch"  # would be refused, and passes because its owner only watches (architecture 5)
    HELD = "held"  # undecided: the facts known so far lead to different outcomes (decisions.md 1)

    def __init__(self, word: str) -> None:
        self.refuses = word in {"ask", "block"}  # kept: each packet asks for it several times


class Answer(Enum):
    """What a term of a rule says about an observation (decisions.md 1)."""

    NO = "does not match"
    YES = "matches"
    NOT_YET = "could match"  # a fact is still missing
    BROKEN = "cannot be told"  # its database never was valid: matches for block and ask, not for allow


class Decision(NamedTuple):
    """One answer, with everything that is needed to say why."""

    verdict: Verdict
    rule: str  # id of the rule that decided, or that a consent answered ("xiaomi/1", "k3f7"); "default"; "" while HELD
    reason: str  # one sentence for a person, naming the rule and its source
    service: str  # id of the service the flow belongs to, "" if none
    revision: int  # of the policy that judged
    consent: int = 0  # id of the consent that lets it pass
    also: tuple[int, ...] = ()  # others without which it would not: they answer other asks

    @property
    def consents(self) -> tuple[int, ...]:
        """All that it needs: it ends with the first of them."""
        return (self.consent, *self.also) if self.consent else ()
