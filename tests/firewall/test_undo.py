from __future__ import annotations

from firewall.state import Revision
from firewall.undo import Steps


def revisions(*acts: str | tuple[str, int]) -> list[Revision]:
    """"add" is an act of that name; ("add", 3) undoes revision 3."""
    made = []
    for number, act in enumerate(acts, 1):
        words, undoes = act if isinstance(act, tuple) else (act, None)
        made.append(Revision(number, float(number), "anna", 1000, words, "", f"text {number}", undoes))
    return made


def told(steps: Steps) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    return [(one.words, one.to) for one in steps.undo], [(one.words, one.to) for one in steps.redo]


def test_edits_are_taken_back_in_turn_and_done_again() -> None:
    start = ["read rules.toml by start", "a", "b"]
    assert told(Steps.of(revisions(*start))) == ([("a", 1), ("b", 2)], [])
    assert told(Steps.of(revisions(*start, ("took back: b", 3)))) == ([("a", 1)], [("b", 3)])
    assert told(Steps.of(revisions(*start, ("took back: b", 3), ("took back: a", 2)))) == ([], [("b", 3), ("a", 4)])
    again = [*start, ("took back: b", 3), ("took back: a", 2), ("did again: a", 5)]
    assert told(Steps.of(revisions(*again))) == ([("a", 5)], [("b", 3)])
    assert told(Steps.of(revisions(*again, ("did again: b", 4)))) == ([("a", 5), ("b", 6)], [])
    assert told(Steps.of(revisions(*again, "c"))) == ([("a", 5), ("c", 6)], [])


def test_what_was_written_by_hand_ends_both() -> None:
    steps = Steps.of(revisions("read rules.toml by start", "a", "b", ("took back: b", 3), "read rules.toml by the file"))
    assert told(steps) == ([], [])
    assert steps.by_hand is not None and steps.by_hand.number == 5
    steps.add(revisions(*"12345", "c")[-1])
    assert told(steps) == ([("c", 5)], [])
    assert steps.by_hand is None


def test_a_text_that_is_no_longer_kept_ends_it_too() -> None:
    old, *rest = revisions("read rules.toml by start", "a", "b", "c")
    first = Revision(2, 2.0, "anna", 1000, "a", "", None, None)
    assert told(Steps.of([old, first, *rest[1:]])) == ([("c", 3)], [])
    assert told(Steps.of(reversed(revisions("read x", "a")))) == ([("a", 1)], [])
