from __future__ import annotations

from itertools import combinations

import pytest

from firewall.backends.linux import marks
from firewall.commands import Watch
from rules.verdict import Verdict


def test_every_bit_has_one_meaning_and_fourteen_are_left_to_others() -> None:
    fields = (marks.VERDICT, marks.WATCH, marks.ASK, marks.PASS, marks.PERMIT, marks.SLOT)
    assert all(a & b == 0 for a, b in combinations(fields, 2))
    assert sum(fields) == marks.PACKET
    assert marks.PACKET.bit_count() == 18
    assert marks.EVERY & ~marks.PACKET == 0x3FFF


@pytest.mark.parametrize(("verdict", "watch", "bits"), [
    (Verdict.ALLOW, Watch.NONE, marks.ALLOWED), (Verdict.ALLOW, Watch.NAMES, marks.ALLOWED | 1 << 27),
    (Verdict.ASK, Watch.NONE, marks.BLOCKED), (Verdict.BLOCK, Watch.NONE, marks.BLOCKED), (Verdict.HELD, Watch.NONE, 0),
    (Verdict.CONSENT, Watch.NONE, marks.CONSENTED), (Verdict.CONSENT, Watch.NAMES, marks.CONSENTED | 1 << 27), (Verdict.WATCH, Watch.NONE, marks.ALLOWED),
])
def test_verdicts(verdict, watch, bits) -> None:
    assert marks.connection(verdict, watch) == bits
    assert bits & ~marks.CONNECTION == 0
    assert bool(bits & marks.PASSING) is (verdict not in {Verdict.ASK, Verdict.BLOCK, Verdict.HELD})
    if bits & marks.PASSING:
        assert marks.passing(bits | 7) is (Verdict.CONSENT if verdict is Verdict.CONSENT else Verdict.ALLOW)


def test_of_a_question() -> None:
    """What the kernel asks for: undecided, at its beginning, watched until its server answers, watched for good."""
    asked = {watch: marks.asked(marks.PERMIT | marks.ASK | watch) for watch in (0, marks.FIRST, Watch.BEGUN << 27, Watch.NAMES << 27)}
    assert list(asked.values()) == [(False, False, False), (False, True, False), (True, False, False), (True, False, True)]
