"""[pure] The DNS of a recording, told to the gate as our resolver would have told it: what was asked, and learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firewall.dissect import NOT_MINE, dns, svcb
from firewall.dissect.rebinding import is_home, is_local
from firewall.inputs import AnswerSeen, QuerySeen

if TYPE_CHECKING:
    from firewall.recorded import Recorded


def messages(flow: Recorded, data: bytes, *, up: bool) -> list[bytes]:
    """DNS over TCP: a length before each message (RFC 1035, 4.2.2), in whatever segments the two come.

    `data`: what this direction says next. A segment that holds whole messages is taken as it is, whatever is missing
    in front of it.
    """
    found, rest = _split(data)
    before = flow.rest.pop(up, b"")
    if before and (rest or not found):
        found, rest = _split(before + data)
    if rest:
        flow.rest[up] = rest
    return found


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole messages, and what is left; nothing is where no message begins."""
    found: list[bytes] = []
    at = 0
    while at + 2 <= len(data):
        length = data[at] << 8 | data[at + 1]
        end = at + 2 + length
        if length < dns.HEADER:
            return found, b""
        if end > len(data):
            break
        found.append(data[at + 2 : end])
        at = end
    return found, data[at:]


def question(flow: Recorded, message: bytes) -> QuerySeen | None:
    """What a phone asks in it; None if nothing."""
    asked = dns.question(message)
    if not isinstance(asked, dns.Question):
        return None
    flow.asked[asked.name] = None
    return QuerySeen(flow, flow.mac, flow.key.src, asked.name, asked.qtype)


def answer(flow: Recorded, message: bytes, *, local: bool = False) -> AnswerSeen | None:
    """What a phone learns from it. None if nothing.

    Addresses that our resolver would have taken out are not learnt, unless `local`: whoever made the recording may
    have no others.
    """
    if len(message) < dns.HEADER:
        return None
    asked = message[:2] + b"\1\0\0\1\0\0\0\0\0\0" + message[dns.HEADER :]
    found = dns.answer(message, asked, any_case=True)
    if found is NOT_MINE or found.truncated:
        return None
    chain = tuple(dns.text(wire) for wire in found.chain)
    flow.asked.setdefault(chain[0])
    targets, hints = svcb.told(message) if not found.addresses else ((), ())  # it is of one type
    told = found.addresses or hints
    addresses = tuple(addr for addr in told if local or not is_local(addr) or is_home(chain[0]))
    if not addresses:
        return None
    return AnswerSeen(flow, flow.mac, flow.key.src, chain + targets, addresses, found.ttl, bool(hints))
