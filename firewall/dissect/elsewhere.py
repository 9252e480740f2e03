"""[pure] Plain DNS with another resolver over TCP: what a phone asks there (RFC 1035, 4.2.2; RFC 7766, 8).

Each message has its length in front, and may be cut anywhere. What stands before the name is nearly the same in every
question; other protocols begin like the first few bytes of that.
"""

from __future__ import annotations

from typing import Final

from firewall.dissect import NEED_MORE, NOT_MINE, NeedMore, NotMine, dns

_TELLING: Final = 8  # bytes of a message with its length that are enough to know a question by: the name comes later
_COUNTS: Final = bytes((0, 1, 0, 1, 0, 1, 0, 15))  # questions, answers and so on: more than any resolver reads over
_SHORTEST: Final = dns.HEADER + 5  # bytes of a question: the root's


class Questions:
    """Fed with the phone's stream in order and without gaps."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun = b""

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return len(self._begun)

    @property
    def begun(self) -> bool:
        """Whether what is kept is a question's head, behind which a name comes."""
        return len(self._begun) >= _TELLING

    def feed(self, data: bytes) -> tuple[str, ...] | NeedMore | NotMine:
        """The names that the next bytes complete a question about. NOT_MINE: it is no such talk, or no longer."""
        data, self._begun = self._begun + data, b""
        names: dict[str, None] = {}
        at = 0
        while len(data) >= (end := at + 2 + int.from_bytes(data[at : at + 2])) and at + 2 <= len(data):
            name = dns.asked(data[at + 2 : end])
            if name is NOT_MINE:
                return tuple(names) or NOT_MINE
            names[name] = None
            at = end
        if not _may_ask(data[at : at + 2 + dns.HEADER]):
            return tuple(names) or NOT_MINE
        self._begun = data[at:]
        return tuple(names) or NEED_MORE


def _may_ask(data: bytes) -> bool:
    """Whether a question with its length in front may begin so: as far as it is here, its head is a question's."""
    if len(data) >= 2 and int.from_bytes(data[:2]) < _SHORTEST:
        return False
    flags = data[4:5]
    return (
        (not flags or not flags[0] & (dns.RESPONSE | dns.OPCODE) >> 8)
        and data[7:8] in (b"", b"\1")
        and all(byte <= most for byte, most in zip(data[6:], _COUNTS, strict=False))
    )
