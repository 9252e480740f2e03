"""[pure] Names asked for over cleartext HTTP, past every DNS: HTTPDNS, and DNS over HTTP with its S left out.

Alibaba: `/<account>/d?host=` (also sign_d and resolve). Tencent: `/d?dn=`. Baidu: `/v4/resolve?dn=`. Xiaomi's own:
`/gslb/?list=`. DNS over HTTP: `/dns-query?dns=` (RFC 8484) and the JSON form of Google and Cloudflare, `?name=`.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode
from typing import NamedTuple

from firewall.dissect import dns
from firewall.dissect.host import host_name

MOST_NAMES = 16  # of one request; Alibaba allows five
MOST_FIELDS = 32  # of one query string
LONGEST = 4_096  # characters of a target that are looked at

_ASKS = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*)?"
    r"(?:/\d{1,12}/(?:sign_)?(?:d|resolve)|/(?:v\d+/)?(?:sign_)?(?:d|resolve|httpdns)/?|/gslb/?|/dns-query)\?(.+)"
)
_POSTED = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*)?/dns-query/?")  # the question is the body (RFC 8484, 4.1)
_NAMING = frozenset(("host", "dn", "domain", "name", "list", "dns"))


class Asked(NamedTuple):
    """A question to such a service."""

    names: tuple[str, ...]  # that were asked for; empty: encrypted, in the body, or none that could be one


def asked(target: str) -> Asked | None:
    """What a request with this target asks for; None if it looks like no such question."""
    if "?" not in target:
        return Asked(()) if _POSTED.fullmatch(target[:LONGEST]) else None
    match = _ASKS.match(target[:LONGEST])
    if match is None:
        return None
    names: list[str] = []
    asks = False
    for field in match[1].split("&", MOST_FIELDS)[:MOST_FIELDS]:
        key, _, value = field.partition("=")
        if key not in _NAMING or not value:
            continue
        asks = True
        if key == "dns":
            names += _in_base64(value)
            continue
        for part in re.split(r",|%2[Cc]|;|%3[Bb]", value, maxsplit=MOST_NAMES)[:MOST_NAMES]:
            name = host_name(part.encode("latin-1", "replace"))
            if name and "." in name:
                names.append(name)
    return Asked(tuple(dict.fromkeys(names[:MOST_NAMES]))) if asks else None


def _in_base64(value: str) -> list[str]:
    try:
        question = dns.question(urlsafe_b64decode(value.encode("ascii", "replace") + b"=" * (-len(value) % 4)))
    except (binascii.Error, ValueError):
        return []
    return [question.name] if isinstance(question, dns.Question) else []
