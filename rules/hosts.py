"""Host names as rules write them: lower case, A-labels, without the trailing dot (RFC 1035, RFC 5890)."""

from __future__ import annotations

import re

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
LONGEST = 253  # characters of a name in text form (RFC 1035, 2.3.4)


def normal(name: str) -> str:
    """The form in which names are compared. Raises ValueError, in words for an owner, if no host can be called so."""
    text = name.removesuffix(".").lower()
    if not text.isascii():
        try:
            text = text.encode("idna").decode("ascii")
        except UnicodeError:
            raise ValueError(f"{name!r} cannot be written as an internationalised name") from None
    if not text or len(text) > LONGEST or not all(map(_LABEL.fullmatch, text.split("."))):
        raise ValueError(f"{name!r} is no host name")
    return text


def suffixes(name: str) -> list[str]:
    """`a.b.c` -> `a.b.c`, `b.c`, `c`."""
    found = [name]
    while (dot := name.find(".")) >= 0:
        name = name[dot + 1 :]
        found.append(name)
    return found
