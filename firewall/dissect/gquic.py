"""[pure] Google's own QUIC of 2013 to 2020, which says its version as text and has a hello of its own in place of TLS.

Apps of that time speak it, and go on with TCP when it is refused. The name in its hello (CHLO) is told to people, and
no rule lets anything pass by it: a hello may be cut over packets, and which of them a server takes is not looked into.
Layout: Google's "QUIC Crypto" and "QUIC wire specification", of which Q046 took IETF's long header, Q050 its keys.
"""

from __future__ import annotations

import re
from struct import Struct
from typing import Final

from firewall.dissect.host import host_name

Q050: Final = 0x51303530  # its hello is encrypted as IETF's is (dissect/quic.py has the keys)
MOST_TAGS: Final = 128  # of one message, as in Google's reader

# A long header; or the public one of before, with a version and a connection id, whatever the size of its number.
_BEGINS: Final = re.compile(rb"[\x80-\xff](Q0[0-9]{2})|[\x09\x0d\x19\x1d\x29\x2d\x39\x3d].{8}(Q0[0-9]{2})", re.DOTALL)
_HELLO: Final = b"CHLO"
_NAME: Final = b"SNI\0"
_COUNT, _TAG = Struct("<H"), Struct("<4sI")  # the tag, and where its value ends


def version(datagram: bytes) -> int | None:
    """Which one it is, as a number; None if it is another protocol, or the version is not in it."""
    match = _BEGINS.match(datagram)
    return int.from_bytes(match[1] or match[2]) if match else None


def names(said: bytes) -> tuple[str, ...]:
    """The server's name in the hello that stands anywhere in `said`; empty if there is none, or it is cut off."""
    start = said.find(_HELLO)
    table = start + 8  # behind the message's tag, the number of tags, and two bytes of nothing
    if start < 0 or table > len(said):
        return ()
    (count,) = _COUNT.unpack_from(said, start + 4)
    values = table + _TAG.size * count
    begin = 0
    for at in range(table, table + _TAG.size * min(count, MOST_TAGS), _TAG.size):
        if at + _TAG.size > len(said):
            break
        tag, end = _TAG.unpack_from(said, at)
        if tag == _NAME:
            value = said[values + begin : values + end]
            name = host_name(value) if len(value) == end - begin else None
            return (name,) if name else ()
        begin = end
    return ()
