"""What the gateway wants done: the only way out to the world. Backends and the resolver carry these out.

The counterpart, what can happen, is inputs.py. Within a turn the order is kept: an address is refused in the kernel
before the answer that names it is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from firewall.inputs import FlowKey
    from rules.verdict import Decision, Verdict


class Watch(IntEnum):
    """What may still change an allowed flow's verdict: the kernel shows us these packets again (decisions.md 5)."""

    NONE = 0
    NAMES = 1  # whatever may name another host: all a phone sends over TCP, QUIC's long headers over UDP
    BEGUN = 2  # those that come before the server has answered: something else may be said in place of what was judged


@dataclass(slots=True)
class GiveVerdict:
    """Answer a queued packet, and with it its flow: the kernel remembers (verdict, watch) in the connection mark.

    HELD drops this one packet and leaves its flow undecided: the phone will repeat it.
    """

    id: int
    verdict: Verdict
    watch: Watch = Watch.NONE


@dataclass(slots=True)
class ResetServer:
    """Tell the far end that a TCP flow is over: a RST with the sequence number of this queued packet."""

    packet: bytes = field(repr=False)


@dataclass(slots=True)
class AskForLife:
    """Send this queued packet, which will not pass, without its payload: an idle connection's server answers that.

    RFC 9293, 3.8.4: some clients (Windows) put a byte into it that nobody shall read.
    """

    packet: bytes = field(repr=False)


@dataclass(slots=True)
class Acknowledge:
    """Tell the phone in its server's place that what it repeats has been heard: it may send no more before that.

    So it is with who writes a request line by line (RFC 9293, 3.7.4), and with everybody after a loss (RFC 5681, 3.1).
    """

    packet: bytes = field(repr=False)  # that was sent again; what it repeats waits in the queue
    next: int  # sequence number of the first byte that has not been heard


@dataclass(slots=True)
class MarkFlow:
    """Change the verdict of a flow that the kernel has already been told about."""

    flow: FlowKey
    verdict: Verdict
    watch: Watch = Watch.NONE


@dataclass(slots=True)
class ForgetFlows:
    """Flows that an earlier process allowed by other rules, and that nobody can judge again, begin anew or end."""


@dataclass(slots=True)
class RefuseAddress:
    """Refuse this phone's packets to this address in the kernel, for `seconds` (0: no longer).

    Only where every outcome that the rules can still reach is a refusal. Outlives this process.
    """

    mac: bytes
    addr: bytes
    seconds: int


@dataclass(slots=True)
class Exempt:
    """From now on all flows of the phone with this slot reach Python, past the kernel's own lists; or no longer."""

    slot: int
    exempt: bool


@dataclass(slots=True)
class OpenWay:
    """Let flows of this phone that carry the verdict CONSENT pass to `addr`, `port`, for `seconds` from now.

    Not at all any more with 0, until told with None; a later word about the same way replaces an earlier one. The
    kernel keeps the time: when it is up such flows are refused, whether a process of ours lives or not.
    """

    slot: int
    addr: bytes
    port: int
    seconds: float | None


@dataclass(slots=True)
class AdmitPair:
    """From now on packets of this sender with this source address are those of the phone with this slot.

    No other sender can use the address then, nor answer for it (ARP, neighbour discovery). Outlives this process.
    """

    mac: bytes
    addr: bytes
    slot: int  # 1 to 1023


@dataclass(slots=True)
class ExpelPair:
    """Forget it: whoever uses the address next is a newcomer."""

    mac: bytes
    addr: bytes


@dataclass(frozen=True, slots=True)
class KernelState:
    """What the kernel shall enforce, whole. Loaded in one transaction."""

    generation: int
    locked: bool  # nothing undecided passes, and no phone gets DNS
    refused4: tuple[tuple[bytes, bytes], ...]  # first and last address, sorted, disjoint, not adjacent
    refused6: tuple[tuple[bytes, bytes], ...]
    keep_learned: bool  # False: forget what RefuseAddress put there
    exempt: tuple[int, ...] = ()  # slots of phones whose flows all reach Python: those watched, or with a consent
    teredo: bool = False  # refuse a Teredo address wherever the NAT64 form of its client's is refused


@dataclass(slots=True)
class Reconcile:
    """Bring the kernel to this state; Applied or CommandFailed comes back."""

    desired: KernelState


@dataclass(slots=True)
class RefuseQuery:
    """Answer a DNS question with NXDOMAIN and the decision's reason (EDE, RFC 8914)."""

    token: Hashable
    decision: Decision


@dataclass(slots=True)
class ForwardQuery:
    """Find the true answer; AnswerSeen comes back when it is there."""

    token: Hashable


@dataclass(slots=True)
class SendAnswer:
    """Send the true answer to the phone. One with hints goes without those left out, and without keys if not `ech`."""

    token: Hashable
    left_out: frozenset[bytes] = frozenset()
    ech: bool = False


Command = (
    GiveVerdict | ResetServer | AskForLife | Acknowledge | MarkFlow | ForgetFlows |
    RefuseAddress | Exempt | OpenWay | AdmitPair | ExpelPair | Reconcile | RefuseQuery | ForwardQuery | SendAnswer
)
