"""`consentry doctor`: is this box fit to be the gate, and if not, what helps? One function for each thing looked at.

A check yields Findings about a World; it is in the menu because it is in CHECKS, in the order in which it is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from firewall.doctor import box, gate, kernel, network, radio, rivals
from firewall.doctor.finding import FAIL, PASS, UNKNOWN, WARN, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from firewall.doctor.world import World

CHECKS: Final[tuple[Callable[[World], Iterator[Finding]], ...]] = (
    gate.gateway, gate.plan, gate.closed, gate.children, kernel.nftables, gate.queue, kernel.bridge,
    network.uplink, network.forwarding, network.reverse_path, rivals.rivals,
    network.names, network.leases, network.advertisements,
    radio.radios, box.clock, gate.ages, box.disk, box.rights, box.groups, box.python,
)

__all__ = ["CHECKS", "FAIL", "PASS", "UNKNOWN", "WARN", "Finding", "examine"]


def examine(world: World) -> Iterator[Finding]:
    """Everything, in the order of CHECKS. A check that breaks is a finding, and the others go on."""
    for check in CHECKS:
        try:
            yield from check(world)
        except Exception as error:  # noqa: BLE001  a doctor that falls over tells nothing
            says = f"could not be looked at: {type(error).__name__}: {error}"
            yield Finding(check.__name__, FAIL, says, "this is a fault of ours: please report it with this line")
