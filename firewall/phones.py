"""[pure] Who is who: phones by their MACs, their slots in the packet mark, and which sender may use which address.

Identity is the slot of (MAC, address) (decisions.md 7). A sender that nobody has named is a phone of group `strict`. An
address belongs to the sender that was first seen with it, until that one has been idle for a while: whoever else uses
it is a stranger and gets nothing through.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from firewall.commands import AdmitPair, ExpelPair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from firewall.commands import Command

MOST: Final = 1_022  # phones: the slots 1 to 1022; one that invents MACs all day takes the places of the unnamed
STRANGERS_SLOT: Final = 1_023  # of all senders for whom there is no place
NOBODY: Final = bytes(6)  # the MAC of an address that no neighbour answers to
STRICT, HOME = "strict", "home"  # groups: of who is unknown, and of who was given a name before the start
ENFORCE, WATCH = "enforce", "watch"
IDLE_SECONDS: Final = 60.0  # an address whose owner is silent for so long may be somebody else's
FREE_SECONDS: Final = 3_600.0
MOST_ADDRESSES: Final = 64  # of one phone at a time; the one used longest ago goes first
MOST_PAIRS: Final = 16_000  # of all phones; the kernel's maps hold a few more
LOOK_SECONDS: Final = 1.0  # between two looks at all phones for one that can go
SEEN_SECONDS: Final = 60.0  # how exact "last seen" is
_NAME: Final = re.compile(r"[^\s,:\"'‹›][^,:\"‹›]{0,31}")


class PhoneError(ValueError):
    """What cannot be done with a phone, and why, for its owner."""


@dataclass(slots=True, eq=False)
class Phone:
    """Times are epoch seconds."""

    slot: int
    name: str
    group: str = STRICT
    mode: str = ""  # "watch" or "enforce" for this phone; "" as all the others
    named: bool = False  # by a person
    first: float = 0.0
    last: float = 0.0
    macs: tuple[bytes, ...] = ()
    addresses: dict[bytes, float] = field(default_factory=dict)  # admitted ones -> boot time of their last use

    @property
    def silent(self) -> bool:
        """No person knows it, and it has no address."""
        return not (self.named or self.mode or self.addresses)


class Phones:
    """`given` are names that somebody chose before the start (the lab's): MAC -> name."""

    def __init__(
        self, known: Iterable[Phone] = (), given: Mapping[bytes, str] | None = None, mode: str = ENFORCE
    ) -> None:
        self.mode = mode  # of all phones that have none of their own
        self.stranger = Phone(STRANGERS_SLOT, "stranger")
        self.busy: Callable[[bytes], bool] = lambda _: False  # whether flows of an address go on
        self.kept: Callable[[Phone], bool] = lambda _: False  # whether something was given to it that would end with it
        self.gone: Callable[[Phone], None] = lambda _: None  # told of each phone that is no more
        self.unsaved: set[Phone] = set()  # changed since they were last taken to be stored
        self._by_slot: dict[int, Phone] = {}
        self._by_mac: dict[bytes, Phone] = {}
        self._by_name: dict[str, Phone] = {}
        self._free = list(range(1, MOST + 1))  # a heap of slots, some of which may have been taken since
        self._silent: deque[tuple[Phone, float]] = deque()  # unnamed, longest silent first: with when they were seen
        self._looked = float("-inf")  # when those were looked for
        self._owner: dict[bytes, bytes] = {}  # address -> MAC
        self._told: defaultdict[tuple[bytes, bytes], float] = defaultdict(lambda: float("-inf"))
        for phone in known:
            self._take_in(phone)
        for mac, name in (given or {}).items():
            if mac not in self._by_mac and self.named(name) is None:
                self._take_in(Phone(self._free_slot(), name, HOME, named=True, macs=(mac,)))

    def __len__(self) -> int:
        return len(self._by_slot)

    def __iter__(self) -> Iterator[Phone]:
        return iter(self._by_slot.values())

    def named(self, name: str) -> Phone | None:
        return self._by_name.get(name)

    def slot(self, slot: int) -> Phone:
        return self._by_slot.get(slot, self.stranger)

    def at(self, addr: bytes) -> Phone:
        """Whose address it is."""
        return self.with_mac(self._owner.get(addr, NOBODY))

    def with_mac(self, mac: bytes) -> Phone:
        """As `of`, without making one."""
        return self._by_mac.get(mac, self.stranger)

    def watches(self, phone: Phone) -> bool:
        """What would be refused is let through, and recorded as such."""
        return (phone.mode or self.mode) == WATCH

    # -- from the wire -----------------------------------------------------------------------------------------------

    def of(self, mac: bytes, wall: float) -> Phone:
        """The phone that sends with this MAC; a new one if there never was such a sender."""
        phone = self._by_mac.get(mac) or self._christen(mac, wall)
        if wall - phone.last > SEEN_SECONDS:
            phone.first = phone.first or wall
            phone.last = wall
            self._changed(phone)
        return phone

    def admit(self, mac: bytes, addr: bytes, boot: float, wall: float) -> tuple[Phone | None, list[Command]]:
        """The phone whose packet this is, and what the kernel has to learn. None: the address is another sender's."""
        phone = self._by_mac.get(mac)
        if phone is None or wall - phone.last > SEEN_SECONDS:
            phone = self.of(mac, wall)
        owner = self._owner.get(addr)
        if owner == mac:
            phone.addresses[addr] = boot
            return phone, []
        commands: list[Command] = []
        if owner is not None:
            if not self._idle(owner, addr, boot):
                return None, []
            commands.append(self._expel(addr))
        if phone is self.stranger or not any(addr) or len(self._owner) >= MOST_PAIRS:
            return self.stranger, commands
        if len(phone.addresses) >= MOST_ADDRESSES:
            commands.append(self._expel(min(phone.addresses, key=phone.addresses.__getitem__)))
        self._owner[addr] = mac
        phone.addresses[addr] = boot
        commands.append(AdmitPair(mac, addr, phone.slot))
        return phone, commands

    def used(self, addr: bytes, boot: float) -> None:
        """Packets with this source go on passing."""
        owner = self._owner.get(addr)
        if owner is not None:
            self._by_mac[owner].addresses[addr] = boot

    def spoofed(self, mac: bytes, addr: bytes, boot: float) -> tuple[str, list[Command]]:
        """Somebody uses another's address: what to tell ("" at most once a minute), and the commands if it is free."""
        owner = self._owner.get(addr)
        if owner is None or owner == mac:
            return "", []
        phone = self._by_mac[owner]
        if self._idle(owner, addr, boot):
            return "", [self._expel(addr)]
        if boot - self._told[mac, addr] < IDLE_SECONDS:
            return "", []
        if len(self._told) > MOST:
            self._told.clear()
        self._told[mac, addr] = boot
        known = self._by_mac.get(mac)
        who = f"{known.name} ({mac.hex(':')})" if known else mac.hex(":")
        return f"{who} uses an address of {phone.name}; its packets are dropped", []

    def sweep(self, boot: float) -> list[Command]:
        """Addresses that nobody has used for an hour, or, where places are short, for a minute, are free again."""
        longest = IDLE_SECONDS if len(self._by_slot) > MOST // 2 else FREE_SECONDS
        late = [
            addr
            for phone in self._by_slot.values()
            for addr, used in phone.addresses.items()
            if boot - used > longest
        ]
        return [self._expel(addr) for addr in late if self._idle(self._owner[addr], addr, boot)]

    def adopt(self, pairs: Iterable[tuple[bytes, bytes, int]], boot: float) -> list[Command]:
        """Pairs that the kernel knows from before this process: those that still hold stay, the others go."""
        commands: list[Command] = []
        for mac, addr, slot in pairs:
            phone = self._by_mac.get(mac)
            if phone is None or phone.slot != slot or addr in self._owner:
                commands.append(ExpelPair(mac, addr))
            else:
                self._owner[addr] = mac
                phone.addresses[addr] = boot
        return commands

    # -- from the owner ----------------------------------------------------------------------------------------------

    def edited(
        self, name: str, *, new_name: str | None = None, group: str | None = None, mode: str | None = None
    ) -> Phone:
        """How the phone would be; nothing is changed until `replace`. Raises PhoneError."""
        phone = self.need(name)
        if new_name is not None and new_name != phone.name:
            _check("a name", new_name)
            if self.named(new_name) is not None or new_name == self.stranger.name:
                raise PhoneError(f"there is a phone {new_name!r} already; to make them one: phones join")
        if group is not None:
            _check("a group", group)
        if mode is not None and mode not in {"", ENFORCE, WATCH}:
            raise PhoneError(f"{mode!r} is no mode: watch, enforce, or nothing to be as all the others")
        return replace(
            phone,
            name=phone.name if new_name is None else new_name,
            group=phone.group if group is None else group,
            mode=phone.mode if mode is None else mode,
            named=phone.named or new_name is not None or group is not None,
        )

    def joined(self, name: str, into: str) -> Phone:
        """How `into` would be with the MACs of `name`. Raises PhoneError."""
        phone, other = self.need(name), self.need(into)
        if phone is other:
            raise PhoneError("a phone cannot be joined to itself")
        first, last = min(other.first, phone.first), max(other.last, phone.last)
        return replace(other, macs=other.macs + phone.macs, first=first, last=last)

    def change(self, wanted: Phone) -> Phone:
        """The phone of that slot becomes as `edited` or `joined` said; flows that point at it see so at once."""
        phone = self._by_slot[wanted.slot]
        self._by_name.pop(phone.name, None)
        for word in ("name", "group", "mode", "named", "first", "last", "macs"):
            setattr(phone, word, getattr(wanted, word))
        self._take_in(phone)
        return phone

    def forget(self, slot: int) -> tuple[Phone, list[Command]]:
        """Whoever sends with its MACs next is a newcomer, or the phone that they have been joined to."""
        phone = self.slot(slot)
        commands: list[Command] = [self._expel(addr) for addr in list(phone.addresses)]
        self._leave(phone)
        return phone, commands

    # ------------------------------------------------------------------------------------------------------------------

    def need(self, name: str) -> Phone:
        """Raises PhoneError."""
        phone = self.named(name)
        if phone is None:
            known = ", ".join(sorted(phone.name for phone in self._by_slot.values())) or "none has been seen yet"
            raise PhoneError(f"there is no phone {name!r}; there are: {known}")
        return phone

    def _christen(self, mac: bytes, wall: float) -> Phone:
        slot = self._free_slot(wall) if len(mac) == len(NOBODY) and mac != NOBODY else 0
        if not slot:
            return self.stranger
        digits = mac.hex()
        names = [f"phone-{digits[-length:]}" for length in (4, 6, 8, 12)]
        name = next((name for name in names if name not in self._by_name), names[-1])
        phone = Phone(slot, name, first=wall, macs=(mac,))
        self._take_in(phone)
        return phone

    def _free_slot(self, wall: float = 0.0) -> int:
        """A slot that nobody has; if all are taken, that of the unnamed phone that has been silent longest; else 0.

        Whoever invents MACs asks a thousand times a second: all phones are looked at once a second at most.
        """
        while self._free:
            slot = heappop(self._free)
            if slot not in self._by_slot:
                return slot
        if not self._silent and abs(wall - self._looked) >= LOOK_SECONDS:
            self._looked = wall
            silent = [(phone, phone.last) for phone in self._by_slot.values() if self._may_go(phone)]
            self._silent.extend(sorted(silent, key=itemgetter(1)))
        while self._silent:
            gone, last = self._silent.popleft()
            if self._may_go(gone) and gone.last == last and self._by_slot.get(gone.slot) is gone:
                self._leave(gone)
                return heappop(self._free)
        return 0

    def _may_go(self, phone: Phone) -> bool:
        """Whether its place may be another's."""
        return phone.silent and not self.kept(phone)

    def _take_in(self, phone: Phone) -> None:
        self._by_slot[phone.slot] = phone
        self._by_name[phone.name] = phone
        self._by_mac.update(dict.fromkeys(phone.macs, phone))
        self._changed(phone)

    def _leave(self, phone: Phone) -> None:
        if self._by_slot.pop(phone.slot, None) is not None:
            heappush(self._free, phone.slot)
        if self._by_name.get(phone.name) is phone:
            del self._by_name[phone.name]
        for mac in phone.macs:
            self._by_mac.pop(mac, None)
        self.unsaved.discard(phone)
        self.gone(phone)

    def _changed(self, phone: Phone) -> None:
        if phone is not self.stranger:
            self.unsaved.add(phone)

    def _idle(self, owner: bytes, addr: bytes, boot: float) -> bool:
        """Whether its owner has been silent; one whose connections go on is not, whether they are counted or not."""
        used = self._by_mac[owner].addresses
        if boot - used[addr] >= IDLE_SECONDS and self.busy(addr):
            used[addr] = boot  # asked again in a minute
        return boot - used[addr] >= IDLE_SECONDS

    def _expel(self, addr: bytes) -> ExpelPair:
        mac = self._owner.pop(addr)
        self._by_mac[mac].addresses.pop(addr, None)
        return ExpelPair(mac, addr)


def _check(what: str, word: str) -> None:
    if not _NAME.fullmatch(word) or not word.isprintable() or word != word.strip():
        raise PhoneError(f"{word!r} cannot be {what}: 1 to 32 characters without quotes, commas and colons")
