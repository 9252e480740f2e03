"""[pure] What a TCP connection begins with that is neither TLS nor HTTP: a tunnel, or questions to another resolver.

It may come in any pieces. A tunnel is known when the message it begins with is whole, and that is all that has passed.
"""

from __future__ import annotations

from firewall.dissect import NOT_MINE, tunnels
from firewall.dissect.elsewhere import Questions


class Opening:
    """Fed with the phone's stream in order and without gaps, until `feed` says that it can be nothing of this."""

    __slots__ = ("_asks", "_begun", "names", "word")

    def __init__(self) -> None:
        self.word = ""  # what it is: a tunnel, "dns"
        self.names: tuple[str, ...] = ()  # that the bytes fed last complete a question about
        self._begun: bytes | None = b""  # of what may be a tunnel
        self._asks: Questions | None = Questions()

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return len(self._begun or b"") + (self._asks.size if self._asks is not None else 0)

    @property
    def asking(self) -> bool:
        """Whether a question has begun whose name may stand in what comes next."""
        return self._asks is not None and self._asks.begun

    def feed(self, data: bytes) -> bool:
        """Whether more may tell more."""
        self.names = ()
        if self._begun is not None:
            self._begun += data
            tunnel = tunnels.tcp(self._begun)
            if tunnel is not NOT_MINE:
                self.word, self._begun, self._asks = tunnel, None, None
                return False
            if not tunnels.may_begin(self._begun):
                self._begun = None
        if self._asks is not None:
            found = self._asks.feed(data)
            if found is NOT_MINE:
                self._asks = None
            elif isinstance(found, tuple):
                self.word, self.names, self._begun = "dns", found, None
        return self._begun is not None or self._asks is not None
