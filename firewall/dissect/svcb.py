"""[pure] HTTPS and SVCB records (RFC 9460): addresses that come beside a name, and keys that would hide it (ECH).

A phone that got a hint connects without asking for the address, and one that got `ech` says a name that is not the
true one. Both are taken out of an answer without moving a byte of the rest: what is removed leaves a parameter of a
private number behind, which clients do not know and read over (RFC 9460, 8), so no pointer and no length changes.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from firewall.dissect import dns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANDATORY, ALPN, IPV4HINT, ECH, IPV6HINT = 0, 1, 4, 5, 6  # service parameters (RFC 9460, 14.3; RFC 9848)
PRIVATE = 0xFF00  # the first number that nobody assigns, and the one left behind
MOST_PARAMETERS = 32  # of one record; seven are registered
_HINT_SIZE: Final = {IPV4HINT: 4, IPV6HINT: 16}

_NOTHING: Final = b"\0\1\0"  # priority 1, and the name that was asked for
_RECORD = Struct("!HHIH")  # type, class, TTL, data length
_PARAMETER = Struct("!HH")  # number, length
_SHORT = Struct("!H")


class Service(NamedTuple):
    """One record. An alias (priority 0) leads to another name, as a CNAME does; so does any other target."""

    priority: int
    target: str  # as dns.text gives it; ".": the name that was asked for
    hints: tuple[bytes, ...]  # packed addresses
    ech: bool


def services(data: bytes) -> tuple[Service, ...]:
    """The HTTPS and SVCB records of an answer that dns.answer has accepted."""
    found = []
    for start, end in _records(data):
        begin = _behind_target(data, start, end)
        if not begin:
            found.append(Service(1, ".", (), ech=False))  # as it is when it has been cleaned
            continue
        parameters = _parameters(data, begin, end) or []
        hints = [hint for number, value in parameters for hint in _hints(number, value)]
        has_ech = any(number == ECH for number, _ in parameters)
        target = dns.text(data[start + 2 : begin])
        found.append(Service(_SHORT.unpack_from(data, start)[0], target, tuple(dict.fromkeys(hints)), has_ech))
    return tuple(found)


def told(data: bytes) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
    """Where the records of an answer lead: to which other names, and by hints to which addresses; each once."""
    found = services(data)
    targets = dict.fromkeys(service.target for service in found if service.target != ".")
    return tuple(targets), tuple(dict.fromkeys(hint for service in found for hint in service.hints))


def without(data: bytes, allowed: Callable[[bytes], bool], *, ech: bool = False) -> bytes:
    """The same answer with no other hints than `allowed` ones, and with no keys for ECH unless `ech`.

    For answers that dns.answer has accepted. It has the same length, and its TTLs stand where they stood. A record
    whose parameters cannot be read loses all of them, and one whose target cannot be read that too. A name that leads
    into what is taken out can no longer be read: no server writes one.
    """
    answer = bytearray(data)
    for start, end in _records(data):
        begin = _behind_target(data, start, end)
        if not begin:
            answer[start:end] = _NOTHING + _filler(end - start - len(_NOTHING))
            continue
        parameters = _parameters(data, begin, end)
        if parameters is None:
            answer[begin:end] = _filler(end - begin)
            continue
        kept = _kept(parameters, allowed, ech=ech)
        if kept != parameters:
            packed = b"".join(_PARAMETER.pack(number, len(value)) + value for number, value in kept)
            answer[begin:end] = packed + _filler(end - begin - len(packed))
    return bytes(answer)


def _records(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the data of each such record in the answer section begins and ends."""
    if len(data) < dns.HEADER:
        return
    questions, answers = _SHORT.unpack_from(data, 4)[0], _SHORT.unpack_from(data, 6)[0]
    at = dns.HEADER
    for _ in range(min(questions, 1)):
        at = _behind_name(data, at) + 4
    for _ in range(min(answers, dns.MOST_RECORDS)):
        at = _behind_name(data, at)
        start = at + _RECORD.size
        if start > len(data):
            return
        kind, _, _, length = _RECORD.unpack_from(data, at)
        at = start + length
        if at > len(data):
            return
        if kind in (dns.HTTPS, dns.SVCB) and length >= 3:
            yield start, at


def _behind_name(data: bytes, at: int) -> int:
    while at < len(data):
        size = data[at]
        if size >= 0xC0:
            return at + 2
        at += 1 + size
        if not size:
            break
    return at


def _behind_target(data: bytes, start: int, end: int) -> int:
    """Where the parameters begin: behind priority and target, which is never compressed (RFC 9460, 2.2). 0: it is."""
    at = start + 2
    last = min(end, at + dns.LONGEST_NAME)
    while at < last:
        size = data[at]
        if not size:
            return at + 1
        if size > 63:
            break
        at += 1 + size
    return 0


def _parameters(data: bytes, at: int, end: int) -> list[tuple[int, bytes]] | None:
    """Number and value of each; None if they cannot be read, or do not ascend as they must."""
    found: list[tuple[int, bytes]] = []
    last = -1
    while at < end:
        if at + 4 > end or len(found) >= MOST_PARAMETERS:
            return None
        number, length = _PARAMETER.unpack_from(data, at)
        at += 4 + length
        if at > end or number <= last:
            return None
        found.append((number, data[at - length : at]))
        last = number
    return found


def _hints(number: int, value: bytes) -> list[bytes]:
    size = _HINT_SIZE.get(number)
    return [value[at : at + size] for at in range(0, len(value) - size + 1, size)] if size else []


def _kept(
    parameters: list[tuple[int, bytes]], allowed: Callable[[bytes], bool], *, ech: bool
) -> list[tuple[int, bytes]]:
    kept: list[tuple[int, bytes]] = []
    for number, value in parameters:
        if number in _HINT_SIZE:
            hints = b"".join(hint for hint in _hints(number, value) if allowed(hint))
            if hints:
                kept.append((number, hints))
        elif number < PRIVATE and (ech or number != ECH):
            kept.append((number, value))
    if kept and kept[0][0] == MANDATORY:  # what is gone cannot be mandatory, or nobody could use the record
        there = {number for number, _ in kept}
        gone = {number for number, _ in parameters} - there
        value = kept[0][1]
        numbers = [value[at : at + 2] for at in range(0, len(value), 2)]
        left = b"".join(number for number in numbers if int.from_bytes(number) not in gone)
        kept[:1] = [(MANDATORY, left)] if left else []
    return kept


def _filler(size: int) -> bytes:
    """A parameter of that many bytes which means nothing."""
    return _PARAMETER.pack(PRIVATE, size - 4) + bytes(size - 4) if size >= 4 else bytes(size)
