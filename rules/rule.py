"""A rule: a lasting sentence of the owner's or of a pack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rules.verdict import Verdict

if TYPE_CHECKING:
    from rules.expression import Expression
    from rules.service import Service

ACTIONS: Final = (Verdict.ALLOW, Verdict.ASK, Verdict.BLOCK)
MINE: Final = "mine"


@dataclass(frozen=True, slots=True)
class Rule:
    """`source` is "mine", or the pack and its date."""

    id: str
    action: Verdict
    expression: Expression
    note: str = ""
    source: str = MINE
    enabled: bool = True

    def __str__(self) -> str:
        return f"{self.action} {self.expression}".rstrip()


@dataclass(frozen=True, slots=True)
class Pack:
    """What ships with Consentry, or what somebody else has gathered."""

    name: str
    title: str
    date: str
    services: tuple[Service, ...]
    rules: tuple[Rule, ...]
