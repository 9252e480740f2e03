"""[pure] The ClientHello in a QUIC client's Initial packets (RFC 9000, RFC 9001; version 2: RFC 9369).

Initial packets are encrypted with keys that everyone on the way can compute from the connection id the client chose
first. It keeps those keys when the server gives it another id, and only then: so packets are tried with the keys of
every connection begun on this flow, and with those of their own id.
"""

from __future__ import annotations

import hmac
import re
from functools import lru_cache
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from firewall.dissect import NEED_MORE, NOT_MINE, NeedMore, NotMine, gquic
from firewall.dissect.reassembly import Reassembly

LARGEST = 16_384  # bytes of a hello, as over TCP (dissect/tls.py)
MOST_CONNECTIONS = 4  # of one flow that are listened to at a time; a client has one, and one more after a Retry
MOST_PACKETS = 64  # of one datagram, or of a train of datagrams that the kernel left in one piece
MOST_FAILURES = 6  # to open what is in one datagram; a client has an Initial or two there, and knows their keys
MOST_FRAMES = 512  # of one packet; Chromium cuts a hello into some twenty
LONGEST_ID = 20  # bytes of a connection id (RFC 9000, 17.2)
LAST_WHOLE = 126  # number of a packet; behind it a receiver makes a larger one of a short one (RFC 9000, A.3)
LARGEST_DATAGRAM = 1_472  # bytes in an Ethernet frame; what is more may be a train of them in one piece
SMALLEST = 1_200  # bytes of a datagram with an Initial (RFC 9000, 14.1), also of a version nobody knows (6.1)

CLIENT_HELLO = 1
PADDING, PING, ACK, ACK_ECN, CRYPTO = 0, 1, 2, 3, 6  # the frames of an Initial (RFC 9000, 12.4)
GOOGLE_CRYPTO = 8  # the same in Google's T050 and T051; no Initial may carry what it is elsewhere
INITIAL, ZERO_RTT, HANDSHAKE, RETRY = range(4)  # packet types of version 1; those of version 2 are one further
_LONG, _FIXED = 0x80, 0x40
_QUIET = re.compile(rb"[\0\1]*")  # padding and pings


class Unknown(NamedTuple):
    """QUIC, by all appearances, of a version whose Initial packets cannot be read."""

    version: int
    names: tuple[str, ...] = ()  # that Google's own hello says


class _Scheme(NamedTuple):
    salt: bytes
    label: bytes  # of its key derivation
    shift: int  # of its packet types


_DRAFT_22: Final = _Scheme(bytes.fromhex("7fbcdb0e7c66bbe9193a96cd21519ebd7a02644a"), b"quic ", 0)
_DRAFT_23: Final = _Scheme(bytes.fromhex("c3eef712c72ebb5a11a7d2432bb46365bef9f502"), b"quic ", 0)
_DRAFT_29: Final = _Scheme(bytes.fromhex("afbfec289993d24c9e9786f19c6111e04390a899"), b"quic ", 0)
_VERSION_1: Final = _Scheme(bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"), b"quic ", 0)
_VERSION_2: Final = _Scheme(bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"), b"quicv2 ", 1)
_SCHEMES: Final = {
    1: _VERSION_1,
    0x6B3343CF: _VERSION_2,
    0x709A50C4: _Scheme(bytes.fromhex("a707c203a59b47184a1d62ca570406ea7ae3e5d3"), b"quicv2 ", 1),  # 2, as a draft
    0xFF000016: _DRAFT_22,
    **dict.fromkeys(range(0xFF000017, 0xFF00001D), _DRAFT_23),
    **dict.fromkeys(range(0xFF00001D, 0xFF000021), _DRAFT_29),
    **dict.fromkeys((0xFF000021, 0xFF000022), _VERSION_1),  # drafts 33 and 34
    0xFACEB001: _DRAFT_22,  # Facebook's
    0xFACEB002: _DRAFT_23,
    0x54303530: _Scheme(bytes.fromhex("7ff579e5acd072915580304c43a2367c60488310"), b"quic ", 0),  # Google's T050, T051
    0x54303531: _Scheme(bytes.fromhex("7a4edef4e7ccee5fa4506c19124fc8ccda6e033d"), b"quic ", 0),
}
VERSIONS: Final = tuple(_SCHEMES)  # that can be read
# Behind a first byte of a long header. The version stands first in the pattern, for so it is found ten times as fast.
_BEGINS: Final = re.compile(
    b"(?:" + b"|".join(re.escape(version.to_bytes(4)) for version in VERSIONS) + rb")(?<=[\x80-\xff].{4})", re.DOTALL
)

# A client may offer a version that nobody has (0x?a?a?a?a), and private ones are IETF's by another name: what its
# packets open with is not unknown.
_TRIED: Final = (_VERSION_1, _DRAFT_29, _DRAFT_23)
_GOOGLE: Final = _Scheme(bytes.fromhex("504574efd066fe2f9d945cfcdbd3a7f0d3b56b45"), b"quic ", 0)  # Q050

_PARTS: Final = ((b"key", 16), (b"iv", 12), (b"hp", 16))  # of a secret (RFC 9001, 5.1), with their sizes in bytes


class _Keys(NamedTuple):
    aead: AESGCM
    iv: int
    mask: Cipher[ECB]  # header protection (RFC 9001, 5.4)


class _Connection:
    """What the client said under the keys of one connection id."""

    __slots__ = ("keys", "said", "stream", "told")

    def __init__(self, keys: _Keys) -> None:
        self.keys = keys
        self.stream = Reassembly(LARGEST)
        self.said = bytearray()  # of a hello that is not whole
        self.told = False  # a hello was given out; there may be one more (RFC 8446, 4.1.4), or another in its place

    @property
    def begun(self) -> bool:
        """There is more to come; for ever, if something is said in two ways, or something else than a hello."""
        stream = self.stream
        return not self.told or bool(self.said) or stream.gaps or stream.disagrees or stream.overflows

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return len(self.said) + self.stream.size


class _Packet(NamedTuple):
    """An Initial, still protected."""

    version: int
    known: bool  # can be read; else it is tried
    dcid: bytes
    start: int
    number: int  # where its packet number begins
    end: int


class Initials:
    """Fed with the datagrams of one flow from the client, in the order they come.

    `begun`: a connection has begun and its hello is not whole. A hello of more than 16 KiB, one said in two ways, a
    fifth connection beside four unfinished ones, a datagram full of what cannot be opened, or anything that cannot
    and a server might stays begun for ever.
    """

    __slots__ = ("_blind", "_connections", "_failures", "_lost", "_opened", "_seen", "unknown")

    def __init__(self) -> None:
        self._connections: dict[tuple[int, bytes], _Connection] = {}  # by version and the id that its client chose
        self._blind = False  # its server may open what we cannot: keys were forgotten, or numbers can be shortened
        self._failures = 0  # with the datagram at hand
        self._lost = False
        self._opened: int | None = None  # a version that nobody has, and that could be read all the same
        self.unknown: Unknown | None = None  # in the datagrams at hand, perhaps beside hellos
        self._seen = False  # a packet of a version that can be read

    @property
    def begun(self) -> bool:
        return self._lost or any(connection.begun for connection in self._connections.values())

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return sum(connection.size for connection in self._connections.values())

    def feed(self, datagram: bytes) -> tuple[bytes, ...] | Unknown | NeedMore | NotMine:
        """The ClientHellos (RFC 8446, 4: whole handshake messages) that `datagram` completes.

        NEED_MORE: none so far, and one may be on its way. (): more of what was judged. NOT_MINE: not QUIC, as far as
        can be seen; that may change with a later datagram, since noise may come first.
        """
        unknown = _google(datagram)
        hellos: list[bytes] = []
        at = self._failures = 0
        for _ in range(MOST_PACKETS):
            packet = _next_packet(datagram, at)
            if packet is None:
                at = _next_datagram(datagram, at)
                if not at:
                    break
                continue
            at = packet.end
            hello = self._open(datagram, packet) if packet.number else None
            if hello is not None:
                hellos.append(hello)
            if packet.known or packet.version == self._opened:
                self._seen = True
            else:
                if unknown is None or unknown.version != packet.version:
                    unknown = Unknown(packet.version)
                at = _next_datagram(datagram, packet.start)
                if not at:
                    break
        else:
            self._lost = self._seen = True
        self.unknown = unknown
        if hellos:
            return tuple(hellos)
        if unknown or not self._seen:
            return unknown or NOT_MINE
        return NEED_MORE if self.begun or not self._connections else ()

    def _open(self, datagram: bytes, packet: _Packet) -> bytes | None:
        """Decrypt, and take in what it says."""
        connections = self._connections
        own = packet.version, packet.dcid
        first = connections.get(own)
        if first is not None and (payload := self._try(datagram, packet, first.keys)) is not None:
            return self._take(first, payload)
        for of, connection in reversed(connections.items()):
            keys = _keys_for(packet, of, connection) if connection is not first else None
            if keys is not None and (payload := self._try(datagram, packet, keys)) is not None:
                return self._take(connection, payload)
        if first is None:
            for scheme in (_SCHEMES[packet.version],) if packet.known else _TRIED:
                keys = _keys(scheme, packet.dcid)
                if (payload := self._try(datagram, packet, keys)) is not None:
                    return self._begin(packet, keys, payload)
        # It is noise, or protected with the keys of an id that we have not seen: if there is any.
        self._lost |= self._blind or self._failures > MOST_FAILURES
        return None

    def _begin(self, packet: _Packet, keys: _Keys, payload: bytes) -> bytes | None:
        if not packet.known:
            self._opened = packet.version
        if len(self._connections) >= MOST_CONNECTIONS and not self._forget_one():
            self._lost = True
            return None
        connection = self._connections[packet.version, packet.dcid] = _Connection(keys)
        return self._take(connection, payload)

    def _try(self, datagram: bytes, packet: _Packet, keys: _Keys) -> bytes | None:
        if self._failures > MOST_FAILURES:
            return None
        payload, number = _decrypt(datagram, packet, keys)
        if payload is None:
            self._failures += 1
        elif number > LAST_WHOLE:
            self._blind = True
        return payload

    def _forget_one(self) -> bool:
        """The oldest connection whose hello was given out; its repeats are taken for one that begins."""
        done = next((own for own, connection in self._connections.items() if not connection.begun), None)
        if done is None:
            return False
        del self._connections[done]
        self._blind = True
        return True

    @staticmethod
    def _take(connection: _Connection, payload: bytes) -> bytes | None:
        said, stream = connection.said, connection.stream
        frames = _crypto_frames(payload)
        stream.overflows |= frames is None
        for offset, data in frames or ():
            said += stream.add(offset, data)
        if len(said) < 4 or said[0] != CLIENT_HELLO or stream.disagrees or stream.overflows:
            return None
        wanted = 4 + int.from_bytes(said[1:4])
        if wanted > min(len(said), LARGEST):
            return None
        hello = bytes(said[:wanted])
        del said[:wanted]
        connection.told = True
        return hello


def _next_packet(data: bytes, at: int) -> _Packet | None:
    """The long-header packet at `at` (RFC 9000, 17.2); `number` is 0 if it is no Initial. None: there is none."""
    size = len(data)
    if at + 7 > size or not data[at] & _LONG:
        return None
    first, version = data[at], int.from_bytes(data[at + 1 : at + 5])
    scheme = _SCHEMES.get(version)
    known = scheme is not None
    # Anything may begin like this. But no server answers a client of QUIC that does not fill its first datagram; behind
    # another packet so much more is the next one of a train.
    if not known and (not version or not first & _FIXED or size - at < SMALLEST or data[at + 5] < 8):
        return None
    ids = at + 5
    dcid_end = ids + 1 + data[ids]
    if data[ids] > LONGEST_ID or dcid_end >= size:
        return None
    body = dcid_end + 1 + data[dcid_end]
    if data[dcid_end] > LONGEST_ID or body > size:
        return None
    dcid = data[ids + 1 : dcid_end]
    kind = ((first >> 4) - (scheme.shift if scheme else 0)) & 3
    if kind == RETRY:
        return None  # servers send them; nothing can follow in its datagram
    if kind == INITIAL:
        token, body = _integer(data, body)
        body += token
    length, number = _integer(data, body)
    end = number + length
    if end > size or (length < 20 and not known):
        return None if known else _Packet(version, known, dcid, at, 0, size)
    # Where what the header's protection is made from would not fit, a server reads on behind it (RFC 9001, 5.4.2).
    return _Packet(version, known, dcid, at, number if kind == INITIAL and length >= 20 else 0, end)


def _next_datagram(data: bytes, at: int) -> int:
    """Where behind `at` another datagram of a train may begin that can be read; 0: nowhere.

    How long each is the kernel does not say. A packet with a short header, or noise, has no end of its own.
    """
    found = _BEGINS.search(data, at + 2) if len(data) > LARGEST_DATAGRAM else None
    return found.start() - 1 if found else 0


def _google(data: bytes) -> Unknown | None:
    """Google's own QUIC."""
    version = gquic.version(data)
    if version is None:
        return None
    if version == gquic.Q050:
        packet = _next_packet(data, 0)
        data = (_decrypt(data, packet, _keys(_GOOGLE, packet.dcid))[0] if packet and packet.number else None) or b""
    return Unknown(version, gquic.names(data))


def _integer(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length integer (RFC 9000, 16) and where it ends: behind everything, if it is not all there."""
    if at >= len(data):
        return 0, len(data) + 1
    size = 1 << (data[at] >> 6)
    return int.from_bytes(data[at : at + size]) & (1 << (8 * size - 2)) - 1, at + size


@lru_cache(maxsize=64)  # the packets of one hello come together
def _keys(scheme: _Scheme, dcid: bytes) -> _Keys:
    """What a client protects its Initial packets with (RFC 9001, 5.2)."""
    secret = _expand(hmac.digest(scheme.salt, dcid, "sha256"), b"client in", 32)
    key, iv, mask = (_expand(secret, scheme.label + word, size) for word, size in _PARTS)
    return _Keys(AESGCM(key), int.from_bytes(iv), Cipher(AES(mask), ECB()))  # noqa: S305 a mask is one block


def _expand(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446, 7.1) for what fits into one SHA-256."""
    info = bytes((0, size, 6 + len(label))) + b"tls13 " + label + b"\0\1"
    return hmac.digest(secret, info, "sha256")[:size]


def _keys_for(packet: _Packet, of: tuple[int, bytes], connection: _Connection) -> _Keys | None:
    """What its client protects it with, if it is of this connection and its server has given it another id.

    Perhaps in another version (RFC 9369, 4.1); with the client's own id that one is another connection.
    """
    version, dcid = of
    if version == packet.version:
        return connection.keys
    return _keys(_SCHEMES[packet.version], dcid) if packet.known and dcid != packet.dcid else None


def _decrypt(datagram: bytes, packet: _Packet, keys: _Keys) -> tuple[bytes | None, int]:
    """The packet's frames and number; None if it was not protected with these keys (RFC 9001, 5.3 and 5.4)."""
    start, number = packet.start, packet.number
    mask = keys.mask.encryptor().update(datagram[number + 4 : number + 20])
    first = datagram[start] ^ mask[0] & 0x0F
    size = 1 + (first & 3)
    # Where nothing has been acknowledged a packet number is not shortened (RFC 9000, 17.1).
    plain = int.from_bytes(datagram[number : number + size]) ^ int.from_bytes(mask[1 : 1 + size])
    header = bytes((first,)) + datagram[start + 1 : number] + plain.to_bytes(size)
    nonce = (keys.iv ^ plain).to_bytes(12)
    try:
        return keys.aead.decrypt(nonce, datagram[number + size : packet.end], header), plain
    except InvalidTag:
        return None, plain


def _crypto_frames(payload: bytes) -> list[tuple[int, bytes]] | None:
    """Offset and data of every CRYPTO frame, up to what no Initial may carry (RFC 9000, 19). None: of too many."""
    found: list[tuple[int, bytes]] = []
    at, size = 0, len(payload)
    for _ in range(MOST_FRAMES):
        quiet = _QUIET.match(payload, at)
        at = quiet.end() if quiet else at
        if at >= size:
            break
        kind = payload[at]
        if kind in (CRYPTO, GOOGLE_CRYPTO):
            offset, at = _integer(payload, at + 1)
            length, at = _integer(payload, at)
            if at + length > size:
                break
            found.append((offset, payload[at : at + length]))
            at += length
        elif kind in (ACK, ACK_ECN):
            at = _behind_ack(payload, at)
        else:
            break
    else:
        return None
    return found


def _behind_ack(payload: bytes, at: int) -> int:
    """Where an ACK frame ends (RFC 9000, 19.3)."""
    kind = payload[at]
    _, at = _integer(payload, at + 1)  # largest
    _, at = _integer(payload, at)  # delay
    ranges, at = _integer(payload, at)
    fields = 1 + 2 * min(ranges, len(payload)) + (3 if kind == ACK_ECN else 0)
    for _ in range(fields):
        if at >= len(payload):
            break
        _, at = _integer(payload, at)
    return at
