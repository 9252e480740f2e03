"""[pure] A host name as a client says it in SNI or Host: the one form in which the rules compare it."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address

MOST = 512  # bytes looked at; a name has at most 253 (RFC 1035, 3.1), the rest is room for dots and a port
# Letters, digits, hyphen and, because real hosts have it, underscore. The optional port may be empty (RFC 3986, 3.2.3).
_ADDRESS = re.compile(rb"(?:([0-9.]{7,15})|\[([0-9A-Fa-f:.]{2,45})\])(?::[0-9]*)?|([0-9A-Fa-f:.]{2,45})")
NAME = re.compile(rb"((?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63})\.*(?::[0-9]*)?")


def host_name(said: bytes) -> str | None:
    """Lower case, without trailing dots and port; None for what is no name.

    No name: nothing, an address literal (a last label of digits only is one, WHATWG URL 3.5), or bytes that no name
    has. Who says such a thing is treated as who says nothing: a server would find no host by it either.
    """
    return _read(said) if len(said) <= MOST else None


@lru_cache(maxsize=4_096)  # phones say the same few names again and again
def _read(said: bytes) -> str | None:
    match = NAME.fullmatch(said.lower())
    if match is None:
        return None
    name = match[1]
    if len(name) > 253 or name[name.rfind(b".") + 1 :].isdigit():
        return None
    return name.decode("ascii")


def address(said: bytes) -> str | None:
    """The address that stands where a name should, perhaps with a port; None if it is none.

    It is for people: the flow's own destination is what the rules look at.
    """
    match = _ADDRESS.fullmatch(said)
    if match is None:
        return None
    try:
        return str(ip_address((match[1] or match[2] or match[3]).decode("ascii")))
    except ValueError:
        return None
