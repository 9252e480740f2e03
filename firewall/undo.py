"""[pure] What undo takes back and what redo does again, told from the revisions alone: also after a restart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from firewall.state import Revision

READ: Final = "read "  # what begins the act of a revision that somebody wrote by hand


@dataclass(frozen=True, slots=True)
class Step:
    """An act that can be taken back or done again."""

    number: int  # of the revision that the new one undoes
    words: str  # of the act
    to: int  # the revision whose text is to be there afterwards


@dataclass(slots=True)
class Steps:
    """Fed with every revision in their order."""

    undo: list[Step] = field(default_factory=list)
    redo: list[Step] = field(default_factory=list)
    newest: Revision | None = None

    @classmethod
    def of(cls, revisions: Iterable[Revision]) -> Steps:
        steps = cls()
        for revision in sorted(revisions, key=lambda one: one.number):
            steps.add(revision)
        return steps

    def add(self, revision: Revision) -> None:
        before, self.newest = self.newest, revision
        if before is None or before.text is None or revision.act.startswith(READ):
            self.undo.clear()  # what somebody wrote by hand is not taken back with what was done before it
            self.redo.clear()
        elif self.undo and revision.undoes == self.undo[-1].number:
            done = self.undo.pop()
            self.redo.append(Step(revision.number, done.words, before.number))
        elif self.redo and revision.undoes == self.redo[-1].number:
            self.undo.append(Step(revision.number, self.redo.pop().words, before.number))
        else:
            self.redo.clear()
            self.undo.append(Step(revision.number, revision.act, before.number))

    @property
    def by_hand(self) -> Revision | None:
        """The newest revision, if somebody wrote it by hand."""
        return self.newest if self.newest is not None and self.newest.act.startswith(READ) else None
