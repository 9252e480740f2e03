"""What can be refused before a name is known: by the kernel, from the first packet on, with no daemon alive.

The same `decide` is asked, with everything else left open: what it then refuses is refused by every outcome that the
rules can still reach.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.decide import decide, decide_once
from rules.networks import TEREDO, Range, merged
from rules.observation import Observation

if TYPE_CHECKING:
    from rules.policy import Policy
    from rules.verdict import Decision


def refusal(policy: Policy, seen: Observation) -> Decision | None:
    """The refusal that every outcome comes to, or None."""
    decision = decide(policy, seen)
    return decision if decision.verdict.refuses else None


def refused_networks(policy: Policy) -> tuple[tuple[Range, ...], tuple[Range, ...]]:
    """Networks, IPv4's and IPv6's, in which every flow of every phone is refused whatever it will say of itself.

    Sorted, disjoint, and as few as possible: one address is asked about in every range that the rules tell apart.
    """
    if policy.refused is None:
        policy.refused = _refused_networks(policy)
    return policy.refused


def _refused_networks(policy: Policy) -> tuple[tuple[Range, ...], tuple[Range, ...]]:
    four: list[Range] = []
    six: list[Range] = []
    for first, last in policy.cells():
        if len(first) == 16 and first.startswith(TEREDO):
            continue  # the embedded addresses in it are no ranges: `Policy.teredo_is_nat64`, else Python, one by one
        seen = Observation(None, None, first, None, names_open=True, group=None, place=None)
        if decide_once(policy, seen).verdict.refuses:
            (four if len(first) == 4 else six).append((first, last))
    return merged(four), merged(six)
