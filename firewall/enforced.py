"""[pure] What the kernel shall refuse by itself: listed networks for everybody, and addresses as phones learn them.

Only where every outcome that the rules can still reach is a refusal (decisions.md 1). It goes on refusing when no
process of ours lives, so it has to be exact: what the rules no longer refuse is taken out with the same turn.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from firewall.commands import Exempt, KernelState, Reconcile, RefuseAddress
from firewall.phones import WATCH
from rules.observation import Observation
from rules.refusals import refusal, refused_networks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from firewall.commands import Command
    from firewall.consents import Consents
    from firewall.names import NameTable
    from firewall.phones import Phone, Phones
    from rules.observation import Place
    from rules.policy import Policy

MOST: Final = 60_000  # learnt refusals; the kernel's sets hold a few more
RETRY_SECONDS: Final = 1.0  # until a load that the kernel refused is tried again


class Enforced:
    """One for a gateway. `digest` names what the kernel was last told; learnt refusals of another are taken out."""

    def __init__(
        self, phones: Phones, names: NameTable, consents: Consents, place: Callable[[bytes], Place]
    ) -> None:
        self.digest = ""
        self.retry_at: float | None = None  # boot time
        self._phones = phones
        self._names = names
        self._consents = consents
        self.exempted: tuple[int, ...] = ()  # as the kernel was last told
        self._place = place
        self._generation = self._held = 0
        self._refused: dict[tuple[bytes, bytes], float] = {}  # (mac, address) -> until (boot time)

    def whole(self, policy: Policy | None, *, locked: bool) -> Reconcile:
        """Everything, to be loaded in one transaction."""
        # who is only watched reaches its decision in Python, and so does everybody while all are
        refusing = policy if self._phones.mode != WATCH else None
        refused4, refused6 = refused_networks(refusing) if refusing else ((), ())
        self.exempted = self.exempt()
        self._generation += 1
        digest = self.digest_of(policy)
        keep, self.digest = digest == self.digest, digest
        teredo = refusing is not None and refusing.teredo_is_nat64
        return Reconcile(KernelState(self._generation, locked, refused4, refused6, keep, self.exempted, teredo))

    def exempt(self) -> tuple[int, ...]:
        """Slots of phones that are watched or have a consent: what the lists would refuse may pass."""
        watched = {phone.slot for phone in self._phones if phone.mode == WATCH}
        return tuple(sorted(watched | self._consents.exempt(self._phones)))

    def changed_exempt(self) -> Iterator[Command]:
        """What the kernel has to know of it since it was last told, without a whole load.

        What it learnt of such a phone goes too: under an address that is new the phone has no slot yet.
        """
        before, self.exempted = set(self.exempted), self.exempt()
        for slot in sorted(before.symmetric_difference(self.exempted)):
            yield Exempt(slot, slot not in before)
        macs = {mac for slot in self.exempted if slot not in before for mac in self._phones.slot(slot).macs}
        for mac, addr in [pair for pair in self._refused if pair[0] in macs] if macs else ():
            del self._refused[mac, addr]
            yield RefuseAddress(mac, addr, 0)

    def digest_of(self, policy: Policy | None) -> str:
        """Equal while the same is refused: of rules, modes and groups."""
        if policy is None:
            return ""
        decided = [phone for phone in self._phones if phone.named or phone.mode]
        phones = sorted((phone.slot, phone.name, phone.group, phone.mode) for phone in decided)
        told = repr((policy.digest, self._phones.mode, phones))
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def learn(
        self, policy: Policy, phone: Phone, mac: bytes, addr: bytes, seconds: int, boot: float
    ) -> Iterator[Command]:
        """Refuse this phone's way to `addr`, from its first packet on, if no name could still open it."""
        chains = self._names.chains(phone, addr, boot)
        seen = Observation(
            phone.name, None, addr, None, answered=chains, names_open=True, group=phone.group, place=self._place(addr)
        )
        room = len(self._refused) < MOST or (mac, addr) in self._refused  # else Python
        asked = self._phones.watches(phone) or phone.slot in self.exempted  # each of its flows is, in Python
        if room and not asked and refusal(policy, seen) is not None:
            self._refused[mac, addr] = boot + seconds
            yield RefuseAddress(mac, addr, seconds)
        elif self._refused.pop((mac, addr), None) is not None:  # another name for this address has come up since
            yield RefuseAddress(mac, addr, 0)

    def learn_again(self, policy: Policy, boot: float) -> Iterator[Command]:
        """By other rules: after `whole`, which has emptied the kernel's sets."""
        self._refused.clear()
        for phone, addr, left in list(self._names.entries(boot)):
            for mac in phone.macs:
                yield from self.learn(policy, phone, mac, addr, int(left), boot)

    def applied(self, generation: int) -> bool:
        """The kernel holds this generation; whether it is the newest."""
        self._held = generation
        if self.settled:
            self.retry_at = None
        return self.settled

    @property
    def settled(self) -> bool:
        """Whether it holds the newest. While one is loaded, what was told meanwhile may be undone for a moment."""
        return self._held == self._generation

    def failed(self, boot: float) -> None:
        self.digest = ""  # nobody knows what it holds
        self.retry_at = boot + RETRY_SECONDS

    def expire(self, boot: float) -> None:
        for pair in [pair for pair, until in self._refused.items() if until <= boot]:
            del self._refused[pair]

    def due(self, boot: float) -> bool:
        """Whether it is time to try again."""
        return self.retry_at is not None and self.retry_at <= boot
