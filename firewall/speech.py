"""[pure] What a flow says about where it goes, read in the phone's direction from the first payload byte on.

TLS says one name and then falls silent; cleartext HTTP may name another host with every request, and another QUIC
connection may begin on the same ports. The protocols themselves are read in firewall/dissect.
"""

from __future__ import annotations

import re
import sys
from enum import Enum
from functools import lru_cache
from typing import Final, Literal, NamedTuple, Protocol

from firewall.dissect import NEED_MORE, NOT_MINE, dns, dtls, h2, http, httpdns, quic, tls, tunnels, xiaomi
from firewall.dissect.opening import Opening
from rules.observation import Name, Sign, Source


class Heard(NamedTuple):
    """One complete statement: a hello, a request, or that there is none."""

    said: tuple[Name, ...]
    may_say_more: bool  # the flow may name another host later
    unfinished: bool  # a name was begun that cannot be read to its end
    signs: tuple[Sign, ...] = ()
    addresses: tuple[str, ...] = ()  # that stood where a name should, or a name that no rule counts; for people
    protocol: str = ""  # for people: "tls", "http", "h2", "quic", "wireguard"; "" if it could be anything

    def beside(self, said: tuple[Name, ...], signs: tuple[Sign, ...], asked: tuple[Name, ...] = ()) -> Heard:
        """All of it counts: what was said before, too; and behind it what was only asked for."""
        names, seen = dict.fromkeys((*said, *self.said, *asked)), dict.fromkeys((*signs, *self.signs))
        return self._replace(said=tuple(names), signs=tuple(seen))


class Silence(Enum):
    """What the flow said brings no statement."""

    MORE = "a name has begun: keep the packet back"
    NOTHING_NEW = "the rest of what was judged: a body, a stream"


MORE: Final = Silence.MORE
NOTHING_NEW: Final = Silence.NOTHING_NEW
NO_NAME: Final = Heard((), may_say_more=False, unfinished=False)
NO_NAME_YET: Final = Heard((), may_say_more=True, unfinished=False)
UNFINISHED: Final = Heard((), may_say_more=False, unfinished=True)
NEIGHBOUR: Final = NO_NAME._replace(signs=(Sign.NEIGHBOUR,))  # between phones no name is listened for

MOST_NAMES = 16  # of one UDP flow, over all connections on its ports; and of what is no request
MOST_BEGUN = 4 * tls.LARGEST  # bytes of a hello with its records, or with more hellos, that are waited for

Said = Heard | Literal[Silence.MORE, Silence.NOTHING_NEW]

# All registered methods are upper case. What begins otherwise is hardly ever HTTP: it is let go on, and listened to.
_METHOD_LIKELY = re.compile(rb"[\r\n]*[A-Z]{1,20}(?: |$)")
# What begins in the clear may go on as TLS: mail, news and chat (RFC 3207, 2595, 4642, 5804, 6120), files (4217), LDAP
# (4511), databases, remote desktops; or a proxy's line stands in front of it. A phone may choose any method and any
# target, so only what HTTP's reader has turned away is listened to like this. Text of these protocols to its end:
_MAY_START_TLS = re.compile(
    rb"(?i)(?:PROXY|EHLO|HELO|LHLO|STLS|CAPA|CAPABILITIES|MODE READER|AUTH (?:TLS|SSL)|FEAT|USER|NICK|CAP LS|STARTTLS|"
    rb"<\?xml|<stream|\S{1,16} (?:STARTTLS|CAPABILITY|ID|NOOP))\b"
)
_PROXY: Final = b"\r\n\r\n\0\r\nQUIT\n"  # the same line in binary (HAProxy's, version 2); lengths behind
_TEXT = re.compile(rb"[\t\r\n\x20-\x7e]+")
MOST_TEXT, MOST_BINARY = 1 << 16, 1 << 12  # bytes of anything else that are listened to; upgrades come before
MOST_PIECES = 8  # of anything binary: nobody asks for TLS later, and a connection that lives long needs no gateway then
_TLS_FIRST = (b"\x16", b"\x15")
_REQUEST = re.compile(rb"(?m)^[A-Z]{1,20} [^\n]+ HTTP/1\.[0-9]\r?\n")  # in text that began otherwise
_HELLO_FIRST = re.compile(rb"\x16[\0-\x0f]")  # in text, where nothing else begins like it
# Its first bytes among any others, perhaps behind empty records; of versions a record may say any (RFC 8446, 5.1).
HELLO_LIKELY = re.compile(
    rb"\x16[\0-\x0f].(?:\0\0\x16[\0-\x0f].){,4}(?:\x00\x01\x01|[\x00-\x40].\x01[\0-\2])", re.DOTALL
)
LONGEST_BEGIN = 27  # bytes of the latter
_LONGEST_LINE = 2_048  # bytes of a request's first line that comes in pieces
_MOST_HELLOS = 8  # in one piece of a stream, that are tried
_HTTP: Final = Source.HTTP  # looked up once: an Enum's own look-up is slow
_XIAOMI_FIRST: Final = xiaomi.MAGIC[0]
_PREFACE_FIRST: Final = h2.PREFACE[0]


class Hears(Protocol):
    """Who listens to a flow. `size`: bytes kept of what it said."""

    @property
    def size(self) -> int: ...
    def hear(self, data: bytes) -> Said: ...


def listener(proto: int) -> Speech | Datagrams | None:
    """Who listens to a flow of this IP protocol; None if nothing in it could be understood."""
    return Speech() if proto == 6 else Datagrams() if proto == 17 else None


class Speech:
    """A TCP flow: fed with the phone's stream in order and without gaps."""

    __slots__ = (
        "_addresses", "_asked", "_begun", "_binary", "_in_clear", "_left", "_likely", "_opening", "_pieces",
        "_requests", "_said", "_signs", "_tail",
    )

    def __init__(self) -> None:
        self._likely = True  # False: it began unlike HTTP, and is only listened to
        self._begun = b""  # of a hello or frame that is not whole yet
        self._opening: bytes | None = None  # what may become the first request's head
        self._binary: Opening | None = None  # it may be a tunnel, or a talk with a resolver
        self._asked: tuple[Name, ...] = ()  # in that
        self._in_clear: re.Pattern[bytes] | None = None  # it may become TLS, whose hello begins like this
        self._left = self._pieces = 0  # bytes of it and pieces that are listened to
        self._tail = b""  # of it, what has passed and may be the first of a hello or request
        self._requests: http.Requests | h2.Requests | None = None
        self._said: tuple[Name, ...] = ()  # by requests whose packets are kept back, or were judged last
        self._signs: tuple[Sign, ...] = ()
        self._addresses: tuple[str, ...] = ()

    @staticmethod
    def begins(data: bytes) -> bool:
        """Whether a connection might begin like this and say a name."""
        return data[:1] in _TLS_FIRST or data[:4] == xiaomi.MAGIC or _METHOD_LIKELY.match(data) is not None

    @property
    def size(self) -> int:
        mine = len(self._begun) + len(self._tail) + len(self._opening or b"")
        if self._binary is not None:
            mine += self._binary.size
        return mine if self._requests is None else mine + self._requests.size

    @property
    def word(self) -> bool:
        """A word has come, and no more: it says no name, and what follows is heard yet."""
        return isinstance(self._requests, http.Requests) and self._requests.word

    def hear(self, data: bytes) -> Said:
        """What the next bytes complete."""
        if not data:
            return MORE if self._begun else NOTHING_NEW
        if self._requests is not None:
            return self._next(self._requests, data)
        if self._in_clear is not None:
            self._left, self._pieces = self._left - len(data), self._pieces - 1
            if _REQUEST.match(data):
                self._tail = b""  # of what is no line in front of it
            if self._binary is not None:
                self._tell(self._binary, data)
            return self._with_questions(self._listen(self._tail + self._begun + data))
        data, self._begun = self._begun + data, b""
        heard = self._open(data)
        return self._keep(data) if heard is MORE and self._in_clear is None and self._requests is None else heard

    def _keep(self, data: bytes) -> Said:
        self._begun = data if len(data) <= MOST_BEGUN else b""
        return MORE if self._begun else UNFINISHED

    def _open(self, data: bytes) -> Said:
        """The first bytes decide the protocol, on whatever port."""
        if data[:12] == _PROXY and len(data) > (end := 16 + int.from_bytes(data[14:16])):
            data = data[end:]
        first = data[0]
        if first in (tls.HANDSHAKE, tls.ALERT):
            hello = tls.client_hello(data)
            if hello is NEED_MORE:
                return MORE
            if hello is not NOT_MINE:
                return self._hellos(data, hello)
            if HELLO_LIKELY.match(data):
                return UNFINISHED  # its lengths contradict each other, and what its server makes of them nobody knows
        elif first == _XIAOMI_FIRST:
            framed = self._xiaomi(data)
            return self._unlike_http(data) if framed is NO_NAME else framed
        elif first == _PREFACE_FIRST and h2.PREFACE.startswith(data[: len(h2.PREFACE)]):
            if len(data) < len(h2.PREFACE):
                return MORE
            self._requests = h2.Requests()
            return self._first(self._requests, data)
        self._requests = http.Requests()
        return self._first(self._requests, data)

    @staticmethod
    def _hellos(data: bytes, hello: tls.Hello) -> Said:
        """A client says one hello and waits. Of more, its server may take each one: all their names count."""
        heard = said_by(hello, Source.SNI)
        if tls.alone(data):
            return heard
        for _ in range(_MOST_HELLOS):
            data = tls.behind(data)
            if not data:
                return heard
            another = tls.client_hello(data)
            if another is NEED_MORE:
                return MORE
            if another is NOT_MINE:
                break
            heard = said_by(another, Source.SNI).beside(heard.said, heard.signs)
        return heard._replace(unfinished=True)

    def _unlike_http(self, data: bytes) -> Said:
        """A beginning that HTTP's reader has turned away. In text that is not before a first line's end."""
        data = data.lstrip(b"\r\n")
        word = self._tell(Opening(), data)
        if word == "openvpn":  # the hello of its own TLS stands in pieces within its frames
            return NO_NAME._replace(signs=self._signs, protocol=word)
        self._requests = None
        text = None if word else _TEXT.match(data)
        self._in_clear = _HELLO_FIRST if text else HELLO_LIKELY
        left = sys.maxsize if text and _MAY_START_TLS.match(data) else MOST_TEXT if text else MOST_BINARY
        self._left, self._pieces = left - len(data), (sys.maxsize if text else MOST_PIECES) - 1
        heard = self._with_questions(self._listen(data))
        return heard._replace(protocol=heard.protocol or word) if isinstance(heard, Heard) else heard

    def _with_questions(self, heard: Said) -> Said:
        """Nothing is said while a question has begun whose name may stand in what comes next."""
        if heard in (NO_NAME, NO_NAME_YET) and self._binary is not None and self._binary.asking:
            return MORE
        return heard.beside(self._said, self._signs, self._asked) if isinstance(heard, Heard) else heard

    def _tell(self, opening: Opening, data: bytes) -> str:
        """A tunnel, or what another resolver is asked for; in a word. The newest name stands first, as in Datagrams."""
        self._binary = opening if opening.feed(data) else None
        self._asked = tuple(dict.fromkeys((*_of_questions(opening.names), *self._asked)))[:MOST_NAMES]
        if opening.word and not self._signs:
            self._signs = (Sign.DNS_ELSEWHERE if opening.word == "dns" else Sign.TUNNEL,)
        return opening.word

    @staticmethod
    def _xiaomi(data: bytes) -> Said:
        frame = xiaomi.frame(data)
        if frame is NEED_MORE:
            return MORE
        if frame is NOT_MINE:
            return NO_NAME
        names = tuple(Name(host, Source.XIAOMI) for host in frame.hosts)
        return NO_NAME._replace(said=names, signs=(Sign.XIAOMI,), addresses=frame.addresses, protocol="xiaomi")

    def _listen(self, data: bytes) -> Said:
        """To what may become TLS. Of what has passed, so much is kept as the first bytes of a name may be in."""
        heard = self._later(data)
        self._begun = self._tail = b""
        if self._requests is not None:
            return heard
        if heard is MORE:
            return self._keep(data)
        if self._in_clear is HELLO_LIKELY:
            self._tail = data[-LONGEST_BEGIN:]
        else:
            line, hello = data.rfind(b"\n") + 1, data.find(b"\x16", max(len(data) - LONGEST_BEGIN, 0))
            self._tail = data[min(line, hello) if hello >= 0 else line :][-_LONGEST_LINE:]
        return heard

    def _later(self, data: bytes) -> Said:
        """The hello, when it comes. Or requests: a server may have read over the rest."""
        for begin in self._begins(data):
            hello = tls.client_hello(data[begin.start() :])
            if hello is NEED_MORE:
                return MORE
            if hello is not NOT_MINE:
                return self._hellos(data[begin.start() :], hello)
            if HELLO_LIKELY.match(data, begin.start()):
                return UNFINISHED
        request = _REQUEST.search(data) if b" HTTP/1." in data else None
        if request is None:
            socks = Sign.TUNNEL in self._signs or (self._binary is not None and data[:1] == tunnels.SOCKS4)
            asked = tunnels.socks_hosts(data) if socks else ()
            if asked is NEED_MORE or http.odd_head_begins(data):
                return MORE
            if self._left <= MOST_TEXT:
                new = _of_http((*http.odd_hosts(data), *asked))
                self._said = tuple(dict.fromkeys((*new, *self._said)))[: max(MOST_NAMES, len(new))]
            return NO_NAME_YET if self._binary is not None or (self._left > 0 and self._pieces > 0) else NO_NAME
        self._requests = http.Requests()
        return self._first(self._requests, data[request.start() :])

    def _begins(self, data: bytes) -> list[re.Match[bytes]]:
        """Where a hello may begin: where text ends, or what looks much like one. Files hold many of its first bytes."""
        at, first = 0, None
        if self._in_clear is _HELLO_FIRST:
            text = _TEXT.match(data)
            first = _HELLO_FIRST.match(data, at := text.end() if text else 0)
        return [*filter(None, [first]), *HELLO_LIKELY.finditer(data, at + bool(first))]

    # -- requests ------------------------------------------------------------------------------------------------

    def _first(self, requests: http.Requests | h2.Requests, data: bytes) -> Said:
        found = requests.feed(data)
        if found is NOT_MINE:
            return self._unlike_http(data)
        if found is NEED_MORE:
            if isinstance(requests, http.Requests):
                self._opening = data.lstrip(b"\r\n")
            # A client of HTTP/2 may wait for the server's first frame before its first request.
            self._likely = _METHOD_LIKELY.match(data) is not None
            return MORE if requests.begun and self._likely else NO_NAME_YET
        return self._heard(requests, found, data, fresh=True)

    def _next(self, requests: http.Requests | h2.Requests, data: bytes) -> Said:
        begun = requests.begun
        if not begun and not requests.in_body and data.startswith(h2.PREFACE):  # after `Upgrade: h2c`
            requests = self._requests = h2.Requests()
        found = requests.feed(data)
        if found is NOT_MINE:
            opening, self._opening = self._opening, None
            return NO_NAME if opening is None else self._unlike_http(opening + data)
        if found is NEED_MORE:
            if self._opening is not None:
                self._opening = (self._opening + data).lstrip(b"\r\n")
            return MORE if requests.begun and self._likely else NOTHING_NEW
        if not found and not requests.begun and not requests.opaque:
            return NOTHING_NEW
        if not found and requests.opaque and not requests.unsure:  # after CONNECT, or Upgrade, also to TLS (RFC 2817)
            self._requests, self._in_clear = None, HELLO_LIKELY
            self._left, self._pieces = MOST_BINARY, MOST_PIECES
            return self.hear(data)
        return self._heard(requests, found, data, fresh=not begun)

    def _heard(
        self, requests: http.Requests | h2.Requests, found: tuple[http.Request, ...], data: bytes, *, fresh: bool
    ) -> Heard | Literal[Silence.MORE]:
        """The names of all requests in the packets at hand: one refused request refuses them all."""
        if fresh or not found:
            self._signs = self._addresses = ()
        if found:
            names = [] if fresh else list(self._said)
            for request in found:
                names += _of_http(request.hosts)
                if request.addresses:
                    self._addresses += request.addresses
                if request.tunnel:
                    self._signs += (Sign.TUNNEL,)
                elif asked := httpdns.asked(request.target):
                    self._signs += (Sign.HTTPDNS,)
                    names += [Name(name, Source.HTTPDNS) for name in asked.names]
            self._likely, self._opening = True, None
            self._said = tuple(dict.fromkeys(names)) if len(names) > 1 else tuple(names)
        elif fresh:
            self._said = ()
        if requests.begun:
            return MORE  # the next request has begun in the same packet; its first half must not pass unjudged
        signs = tuple(dict.fromkeys(self._signs)) if self._signs else ()
        word = "http" if isinstance(requests, http.Requests) else "h2"
        unsure = requests.unsure or (requests.opaque and HELLO_LIKELY.search(data) is not None)
        return Heard(self._said, not requests.opaque, unsure, signs, self._addresses, word)


@lru_cache(maxsize=4_096)  # phones name the same few again and again, and what is the same object is found sooner
def _of_http(hosts: tuple[str, ...]) -> tuple[Name, ...]:
    return tuple([Name(host, _HTTP) for host in hosts])


class Datagrams:
    """A UDP flow: fed with the phone's datagrams as they come.

    Whatever was said, another QUIC connection may begin on the same ports: noise may come first, or a harmless hello.
    """

    __slots__ = ("_dtls", "_heard", "_initials")

    def __init__(self, before: Heard | None = None) -> None:
        self._initials = quic.Initials()
        self._dtls = dtls.Hellos()
        self._heard = before  # all of what was said so far

    @property
    def size(self) -> int:
        return self._initials.size + self._dtls.size

    def hear(self, data: bytes) -> Said:
        """What the next datagram completes."""
        found = self._initials.feed(data)
        if found is NEED_MORE:
            return MORE
        if found is NOT_MINE:
            return self._unlike_quic(data)
        if strange := self._initials.unknown:
            word = f"quic {strange.version:#010x}"
            self._keep(NO_NAME_YET._replace(signs=(Sign.STRANGE_QUIC,), addresses=strange.names, protocol=word))
        if isinstance(found, quic.Unknown):
            return self._hellos((), Source.QUIC, "quic")
        if not found:
            if self._heard is None:
                return self._keep(NO_NAME_YET._replace(protocol="quic"))
            return self._unlike_quic(data) if data[:1] < b"\x80" else NOTHING_NEW  # QUIC, with its long header
        return self._hellos(found, Source.QUIC, "quic")

    def _hellos(self, messages: tuple[bytes, ...], source: Source, word: str) -> Said:
        for message in messages:
            hello = tls.message(message)
            heard = said_by(hello, source) if hello is not NOT_MINE else UNFINISHED
            self._keep(heard._replace(may_say_more=True, protocol=word))
        return MORE if self._initials.begun or self._dtls.begun else self._heard or NO_NAME_YET

    def _unlike_quic(self, data: bytes) -> Said:
        """TLS over datagrams; or what shows no name, but what it is. Anything may come first, and be dropped."""
        found = self._dtls.feed(data)
        if found is NEED_MORE:
            return MORE
        if found is not NOT_MINE:
            return self._hellos(found, Source.SNI, "dtls")
        tunnel = tunnels.udp(data)
        heard = NO_NAME_YET
        if tunnel is not NOT_MINE:
            heard = NO_NAME_YET._replace(signs=(Sign.TUNNEL,), protocol=tunnel)
        elif (asked := dns.asked(data)) is not NOT_MINE:  # what goes to port 53 our own DNS has
            heard = Heard(_of_questions((asked,)), True, False, (Sign.DNS_ELSEWHERE,), protocol="dns")
        elif (hosts := http.searched(data)) is not NOT_MINE:
            heard = NO_NAME_YET._replace(addresses=hosts, protocol="ssdp")
        before = self._heard
        if before is not None and {*heard.said, *heard.signs} <= {*before.said, *before.signs}:
            return NOTHING_NEW
        return self._keep(heard)

    def _keep(self, heard: Heard) -> Heard:
        """All that is said on these ports is judged together; what came last stands first."""
        before = self._heard
        if before is not None:
            said = _without_old_questions(tuple(dict.fromkeys((*heard.said, *before.said))))
            heard = heard._replace(
                said=said[:MOST_NAMES],
                unfinished=before.unfinished or heard.unfinished or len(said) > MOST_NAMES,
                signs=tuple(dict.fromkeys((*before.signs, *heard.signs))),
                addresses=tuple(dict.fromkeys((*before.addresses, *heard.addresses)))[:MOST_NAMES],
            )
        self._heard = heard
        return heard


def _of_questions(names: tuple[str, ...]) -> tuple[Name, ...]:
    """As a resolver was asked for them."""
    return tuple([Name(name, Source.DNS_ELSEWHERE) for name in names])


def _without_old_questions(said: tuple[Name, ...]) -> tuple[Name, ...]:
    """Who asks and asks says no name of its own that could be lost: of too many the oldest questions go."""
    if len(said) <= MOST_NAMES:
        return said
    old = [name for name in said if name.source is Source.DNS_ELSEWHERE][MOST_NAMES - len(said) :]
    return tuple(name for name in said if name not in old)


def said_by(hello: tls.Hello, source: Source) -> Heard:
    """A TLS hello's statement."""
    names = tuple([Name(name, source) for name in hello.names])
    signs: tuple[Sign, ...] = (Sign.HIDDEN,) if hello.hidden else ()
    if "dot" in hello.alpn:
        signs = (*signs, Sign.DOT)
    if any(protocol == "doq" or protocol.startswith("doq-i") for protocol in hello.alpn):  # its drafts: doq-i00 and on
        signs = (*signs, Sign.DOQ)
    if not hello.alpn and hello.names and tunnels.like_tor(hello.names[0], hello.alpn):
        signs = (*signs, Sign.TUNNEL)
    return Heard(names, False, False, signs, hello.addresses, "tls")
