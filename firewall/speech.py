"""[pure] What a TCP flow says about where it goes, read in the phone's direction from the first payload byte on.

TLS says one name and then falls silent; cleartext HTTP may name another host with every request. The protocols
themselves are read in firewall/dissect.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, Literal, NamedTuple

from firewall.dissect import NEED_MORE, NOT_MINE, http, tls
from rules.observation import Name, Source


class Heard(NamedTuple):
    """One complete statement: a hello, a request, or that there is none."""

    said: tuple[Name, ...]
    may_say_more: bool  # the connection may name another host later
    unfinished: bool  # a name was begun that cannot be read to its end


class Silence(Enum):
    """What the flow said brings no statement."""

    MORE = "a name has begun: keep the packet back"
    NOTHING_NEW = "the rest of what was judged: a body, a stream"


MORE: Final = Silence.MORE
NOTHING_NEW: Final = Silence.NOTHING_NEW
NO_NAME: Final = Heard((), may_say_more=False, unfinished=False)
NO_NAME_YET: Final = Heard((), may_say_more=True, unfinished=False)
UNFINISHED: Final = Heard((), may_say_more=False, unfinished=True)

# All registered methods are upper case. What begins otherwise is hardly ever HTTP: it is let go on, and listened to.
_METHOD_LIKELY = re.compile(rb"[\r\n]*[A-Z]{1,20}(?: |$)")
_TLS_FIRST = (b"\x16", b"\x15")
_HTTP: Final = Source.HTTP  # looked up once: an Enum's own look-up is slow


class Speech:
    """Fed with the phone's stream in order and without gaps."""

    __slots__ = ("_hello", "_likely", "_requests", "_said")

    def __init__(self) -> None:
        self._likely = True  # False: it began unlike HTTP, and is only listened to
        self._hello = b""  # of a ClientHello that is not whole yet
        self._requests: http.Requests | None = None
        self._said: tuple[Name, ...] = ()  # by requests whose packets are kept back, or were judged last

    @staticmethod
    def begins(data: bytes) -> bool:
        """Whether a connection might begin like this and say a name."""
        return data[:1] in _TLS_FIRST or _METHOD_LIKELY.match(data) is not None

    def hear(self, data: bytes) -> Heard | Literal[Silence.MORE, Silence.NOTHING_NEW]:
        """What the next bytes complete."""
        if self._requests is None:
            data = self._hello + data
            hello = tls.client_hello(data)
            if hello is NEED_MORE:
                self._hello = data
                return MORE
            if hello is not NOT_MINE:
                names = tuple(Name(name, Source.SNI) for name in hello.names)
                return Heard(names, may_say_more=False, unfinished=False)
            self._requests, self._hello = http.Requests(), b""
            return self._first(self._requests, data)
        return self._next(self._requests, data)

    def _first(self, requests: http.Requests, data: bytes) -> Heard | Literal[Silence.MORE, Silence.NOTHING_NEW]:
        found = requests.feed(data)
        if found is NOT_MINE:
            return NO_NAME
        if found is NEED_MORE:
            self._likely = _METHOD_LIKELY.match(data) is not None
            return MORE if self._likely else NO_NAME_YET
        return self._heard(requests, found, ())

    def _next(self, requests: http.Requests, data: bytes) -> Heard | Literal[Silence.MORE, Silence.NOTHING_NEW]:
        begun = requests.begun
        found = requests.feed(data)
        if found is NOT_MINE:
            return NO_NAME
        if found is NEED_MORE:
            return MORE if self._likely else NOTHING_NEW
        if not found and not requests.begun and not requests.opaque:
            return NOTHING_NEW
        return self._heard(requests, found, self._said if begun else ())

    def _heard(
        self, requests: http.Requests, found: tuple[http.Request, ...], before: tuple[Name, ...]
    ) -> Heard | Literal[Silence.MORE]:
        """The names of all requests in the packets at hand: one refused request refuses them all."""
        if found:
            names = [*before, *[Name(host, _HTTP) for request in found for host in request.hosts]]
            self._likely = True
            self._said = tuple(dict.fromkeys(names)) if len(names) > 1 else tuple(names)
        if requests.begun:
            return MORE  # the next request has begun in the same packet; its first half must not pass unjudged
        return Heard(self._said, may_say_more=not requests.opaque, unfinished=requests.unsure)
