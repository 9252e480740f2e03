"""[pure] A host name as a client says it in SNI or Host: the one form in which the rules compare it."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address

MOST = 512  # bytes looked at; a name has at most 253 (RFC 1035, 3.1), the rest is room for dots and a port
# Letters, digits, hyphen and, because real hosts have it, underscore. The optional port may be empty (RFC 3986, 3.2.3).
_ADDRESS = re.compile(rb"(?:([0-9.]{7,15})|\[([0-9A-Fa-f:.]{2,45})\])(?::[0-9]*)?|([0-9A-Fa-f:.]{2,45})")
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")  # RFC 3986, 2.1
_RUN = re.compile(rb"[a-z0-9_.-]+")
NAME = re.compile(rb"((?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63})\.*(?::[0-9]*)?")


def host_name(said: bytes) -> str | None:
    """Lower case, without trailing dots and port; None for what is no name.

    No name: nothing, an address literal (a last label of digits only is one, WHATWG URL 3.5), or bytes that none has.
    """
    return _read(said) if len(said) <= MOST else None


def claimed(said: bytes) -> tuple[str, ...]:
    """Every name that a server may find in it: the one that it is, or those that stand between bytes no name has.

    Servers cut off what they do not understand, each at another place: behind a NUL or a slash, in front of an at sign,
    labels beyond 253 bytes. So a refused name counts wherever it stands. An address literal is none.
    """
    name = host_name(said)
    if name is not None:
        return (name,)
    return () if not said or address(said) else _between(said[:MOST] + said[MOST:][-MOST:])


@lru_cache(maxsize=4_096)
def _between(said: bytes) -> tuple[str, ...]:
    said = _ESCAPED.sub(lambda escaped: bytes.fromhex(escaped[1].decode()), said)
    if not said.isascii():
        with suppress(UnicodeError):
            said = said.decode().encode("idna")  # RFC 3490, also dots of other scripts
    found: dict[str, None] = {}
    for run in _RUN.findall(said.lower()):
        labels = [label for label in run.split(b".") if label]
        name = b""
        while labels and len(labels[-1]) <= 63 and len(labels[-1]) + len(name) < 253:
            name = labels.pop() + (b"." + name if name else b"")
        if b"." in name and not name[name.rfind(b".") + 1 :].isdigit():
            found[name.decode("ascii")] = None
    return tuple(found)


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
