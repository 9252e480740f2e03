"""Which sender an address belongs to, and which phone that is: elements of the kernel's maps, and pinned neighbours.

Kept in memory, so that whole loads put them back; changed by batches of our own netlink, one transaction each.
"""

from __future__ import annotations

import errno
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from firewall.backends import BackendError
from firewall.backends.linux import marks, nfnl
from firewall.backends.linux.links import is_own
from firewall.backends.linux.nftables import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from firewall.backends.linux.neighbours import Neighbours

Pair = tuple[bytes, bytes]  # (MAC, address)
NOBODY: Final = (bytes(6), b"\xff" * 6)
UNLIKE: Final = frozenset({errno.ENOENT, errno.EBUSY, errno.EEXIST})  # the kernel does not hold what we think it does


def sender(packet: bytes) -> bytes:
    """Its address."""
    return packet[12:16] if packet[0] >> 4 == 4 else packet[8:24]


class Pairs:
    """An address has one sender at most: admitting another takes it from the first."""

    def __init__(self, calls: nfnl.Netlink, neighbours: Neighbours) -> None:
        self._calls = calls
        self._neighbours = neighbours
        self._slots: dict[Pair, int] = {}
        self._macs: dict[bytes, bytes] = {}  # address -> its sender

    def __contains__(self, addr: object) -> bool:
        return addr in self._macs

    def slot(self, pair: Pair) -> int:
        """0: it is not admitted."""
        return self._slots.get(pair, 0)

    def slots(self) -> dict[Pair, int]:
        """A copy of what the maps shall hold."""
        return dict(self._slots)

    def use(self, found: Mapping[Pair, int]) -> None:
        """What an earlier process left in the kernel."""
        self._slots = dict(found)
        self._macs = {addr: mac for mac, addr in found}

    def admit(self, mac: bytes, addr: bytes, slot: int) -> bool:
        """False if the kernel holds something else than we think: a whole load is due. Raises BackendError, OSError."""
        wrong = nonsense(mac, addr, slot)
        if not wrong and is_own(addr, self._neighbours.index):
            wrong = "that address is this box's own"
        if wrong:
            raise BackendError(wrong)
        before = self._macs.get(addr)
        parts = []
        if before is not None and (before != mac or self._slots[mac, addr] != slot):
            parts.append(_of_slot(nfnl.DELETE_ELEMENT, before, addr))
        as_thought = self._commit(*parts, *_both(mac, addr, slot))  # a whole load puts back what is entered below:
        if before is not None:  # not what the kernel has no room for
            del self._slots[before, addr]
        self._slots[mac, addr] = slot
        self._macs[addr] = mac
        with suppress(OSError):  # the interface is down or gone: see pin_all
            self._neighbours.pin(addr, mac)
        return as_thought

    def expel(self, mac: bytes, addr: bytes) -> bool:
        """As `admit`; nothing to do is fine."""
        if self._slots.pop((mac, addr), None) is None:
            return True
        del self._macs[addr]
        with suppress(OSError):
            self._neighbours.unpin(addr)
        return self._commit(_of_slot(nfnl.DELETE_ELEMENT, mac, addr), _of_address(nfnl.DELETE_ELEMENT, addr))

    def catch_up(self, loaded: Mapping[Pair, int]) -> None:
        """After a whole load of what was known when it began: what has been asked for meanwhile, once more."""
        if loaded != self._slots:
            for batch in self._meanwhile(loaded):
                with suppress(OSError):  # it is done already, or the table is gone: a look will tell
                    self._commit(*batch)

    def pin_all(self) -> bool:
        """Every phone's neighbour entry stands, and no other of ours; whether one had been missing.

        They go when the interface goes down.
        """
        missing = False
        with suppress(OSError):  # it is down or gone: it will tell when it comes back
            there = self._neighbours.pinned()
            for addr in there.keys() - self._macs.keys():
                self._neighbours.unpin(addr)
            for addr, mac in self._macs.items():
                if there.get(addr) != mac:
                    self._neighbours.pin(addr, mac)
                    missing = True
        return missing

    def _meanwhile(self, loaded: Mapping[Pair, int]) -> Iterator[tuple[bytes, ...]]:
        for pair, slot in loaded.items():
            if self._slots.get(pair) != slot:
                yield (_of_slot(nfnl.DELETE_ELEMENT, *pair),)
        for addr in {addr for _, addr in loaded} - self._macs.keys():
            yield (_of_address(nfnl.DELETE_ELEMENT, addr),)
        for pair, slot in self._slots.items():
            if loaded.get(pair) != slot:
                yield _both(*pair, slot)

    def _commit(self, *messages: bytes) -> bool:
        try:
            self._calls.commit(nfnl.batch(*messages))
        except OSError as error:
            if error.errno not in UNLIKE:
                raise
            return False
        return True


def nonsense(mac: bytes, addr: bytes, slot: int) -> str:
    """What is wrong with a pair that no phone can be; "" if nothing."""
    if not 1 <= slot <= marks.MOST_SLOTS:
        return f"a slot is 1 to {marks.MOST_SLOTS}, not {slot}"
    if len(mac) != 6 or mac[0] & 1 or mac in NOBODY:
        return "no phone sends from that MAC"
    multicast = 0xE0 if len(addr) == 4 else 0xFF
    if len(addr) not in {4, 16} or not any(addr) or addr[0] >= multicast:
        return "no phone has such an address"
    return ""


def _both(mac: bytes, addr: bytes, slot: int) -> tuple[bytes, bytes]:
    return _of_slot(nfnl.NEW_ELEMENT, mac, addr, slot), _of_address(nfnl.NEW_ELEMENT, addr)


def _of_slot(kind: int, mac: bytes, addr: bytes, slot: int = 0) -> bytes:
    value = struct.pack("=I", slot << marks.SLOT_SHIFT) if slot else b""  # marks are in host order
    element = nfnl.element(nfnl.padded_mac(mac) + addr, data=value)
    return nfnl.elements(kind, TABLE, f"slots{_family(addr)}", [element])


def _of_address(kind: int, addr: bytes) -> bytes:
    return nfnl.elements(kind, TABLE, f"owned{_family(addr)}", [nfnl.element(addr)])


def _family(addr: bytes) -> int:
    return 4 if len(addr) == 4 else 6
