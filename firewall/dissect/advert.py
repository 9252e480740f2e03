"""[pure] Router advertisements (RFC 4861, 4.2): which NAT64 prefixes a network says it has (PREF64, RFC 8781)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from rules.networks import MOST_TRANSLATORS, PREFIX_BYTES, embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

ADVERTISEMENT: Final = 134
PREF64: Final = 38  # its length codes are those of PREFIX_BYTES, in that order (RFC 8781, 4)
UNIT: Final = 8  # bytes, of an option's length, and seconds, of a prefix's lifetime
_HEAD: Final = 16  # bytes in front of the first option
_SCALED: Final = Struct("!H")


def translators(message: bytes) -> tuple[tuple[bytes, int], ...]:
    """Prefix and seconds that it holds, 0: no longer; of a message from its ICMPv6 type on.

    None of a message that is no advertisement or has an option of no length, which hosts drop whole (RFC 4861, 6.1.2).
    """
    options = list(_options(message)) if len(message) >= _HEAD and message[0] == ADVERTISEMENT else []
    if None in options:
        return ()
    found = {}
    for option in filter(None, options):
        if option[0] != PREF64 or len(option) != 2 * UNIT:
            continue
        (scaled,) = _SCALED.unpack_from(option, 2)
        seconds, code = scaled & ~7, scaled & 7  # 13 bits, in units of 8 s: the code's place is that of the lost bits
        if code < len(PREFIX_BYTES):
            prefix = option[4 : 4 + PREFIX_BYTES[code]]
            if _possible(prefix):
                found[prefix] = seconds
    return tuple(found.items())[:MOST_TRANSLATORS]


def _options(message: bytes) -> Iterator[bytes | None]:
    """Each whole; None for one that cannot be."""
    at = _HEAD
    while at < len(message):
        size = UNIT * message[at + 1] if at + 1 < len(message) else 0
        if not size or at + size > len(message):
            yield None
            return
        yield message[at : at + size]
        at += size


def _possible(prefix: bytes) -> bool:
    """Of global, local (RFC 8215) or private addresses, and none whose IPv4 addresses are known without being told."""
    known = embedded(prefix.ljust(16, b"\0")) is not None
    return not known and (prefix[0] >> 5 == 1 or prefix[0] >> 1 == 0x7E or prefix.startswith(b"\0\x64\xff\x9b\0\1"))
