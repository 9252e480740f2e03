"""Reading what a request brings."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, NamedTuple

from firewall.control import Refused

HTTPS = 443


class Place(NamedTuple):
    """Where an owner asks about: a name or an address, and perhaps a port."""

    name: str  # "" for an address
    addr: bytes | None
    port: int


def text(args: dict[str, Any], key: str, default: str | None = None) -> str:
    value = args.get(key, default)
    if not isinstance(value, str):
        raise Refused(f"{key}: a text is wanted", 2)
    return value


def number(args: dict[str, Any], key: str, default: int, most: int) -> int:
    """Raises Refused."""
    value = args.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise Refused(f"{key}: a number from 1 to {most} is wanted", 2)
    return value


def flag(args: dict[str, Any], key: str, *, otherwise: bool = False) -> bool:
    """Raises Refused."""
    value = args.get(key, otherwise)
    if not isinstance(value, bool):
        raise Refused(f"{key}: true or false is wanted", 2)
    return value


def parse_place(what: str) -> Place:
    """NAME[:PORT], ADDR, ADDR:PORT or [ADDR]:PORT. Raises Refused."""
    host, port = what.strip(), HTTPS
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        number = rest.removeprefix(":")
    elif host.count(":") == 1:
        host, _, number = host.partition(":")
    else:
        number = ""
    if number:
        if not number.isascii() or not number.isdigit() or not 0 < int(number) < 1 << 16:
            raise Refused(f"{number!r} is no port")
        port = int(number)
    try:
        return Place("", ip_address(host).packed, port)
    except ValueError:
        pass
    name = host.rstrip(".").lower()
    if not name or ":" in name or name.split() != [name]:
        raise Refused(f"{what!r} is neither a name nor an address")
    return Place(name, None, port)
