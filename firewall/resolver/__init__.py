"""A stub forwarder for the phones' DNS: it asks the gateway about each question, and somebody else for the answer.

No recursion, no DNSSEC, no zone transfers. What stands beside a name in records of type HTTPS and SVCB, address hints
and keys for ECH, would lead phones around the names that the rules are about: the gateway says what of it stays.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from firewall.backends import BackendError
from firewall.commands import ForwardQuery, RefuseQuery, SendAnswer
from firewall.dissect import NOT_MINE, dns, svcb
from firewall.dissect.rebinding import is_home, is_local
from firewall.inputs import AnswerSeen, QuerySeen
from firewall.resolver import replies
from firewall.resolver.cache import LONGEST, LONGEST_NO, SHORTEST, Cache, Entry
from firewall.resolver.limits import BURST, RATE, Rates
from firewall.resolver.listen import Listeners
from firewall.resolver.upstream import Upstreams
from firewall.settings import DNS_PORT
from rules.networks import translators
from rules.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from firewall.commands import Command
    from firewall.dissect.dns import Question
    from firewall.inputs import Input
    from firewall.resolver.listen import Received
    from firewall.resolver.upstream import Reply

NOBODY = bytes(6)  # the MAC of an address that no neighbour answers to
PATIENCE = 5.0  # seconds a question waits for the gateway and for its answer; stubs ask again after 5 (resolv.conf(5))
MOST_OF_A_PHONE, MOST = 64, 512  # questions waiting
STRANGERS = b""  # all senders that nobody has named: MACs are invented
AS_MANY = 5  # phones at their limit that they may be together: on a new box nobody is named yet, and one may be loud
NEWCOMERS = 100.0, 200.0  # a second and at once: first questions, which cost most, of MACs that nobody has heard of
MOST_OF_STRANGERS = 256  # questions waiting, whoever's: beyond, only named phones get a place
MOST_MACS = 4_096  # looked up in a second and kept; of more, each question asks the kernel
REFUSAL_TTL = 2  # seconds, so that a phone asks again soon after it was unblocked
FAILURE_TTL = 2  # seconds a failure is remembered (RFC 9520 wants one at least)
MOST_TARGETS = 8  # names that one HTTPS answer leads to; with more it is none
MOST_ADDRESSES = 32  # told of one name: each is learnt and judged by itself, and clients try two or three
TRANSFERS = frozenset((dns.AXFR, dns.IXFR))
HINTS = frozenset((dns.SVCB, dns.HTTPS))


@dataclass(slots=True)
class _Waiting:
    """A phone's question without an answer."""

    question: Question
    mac: bytes
    src: bytes
    phone: bytes
    over_udp: bool
    reply: Callable[[bytes], None]
    born: float
    entry: Entry | None = None  # the true answer, once it is there


class Resolver:
    """The phones' DNS server on `device`.

    `mac_of` tells a neighbour's MAC by its packed address, `known` whether there is a phone with a MAC, `named` whether
    a person has named it.
    `clock` is a monotonic one, in seconds.
    """

    def __init__(
        self,
        device: str,
        upstreams: Sequence[tuple[str, int]],
        mac_of: Callable[[bytes], bytes | None],
        port: int = DNS_PORT,
        clock: Callable[[], float] = time.monotonic,
        known: Callable[[bytes], bool] = lambda _: True,
        named: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        self._mac_of = mac_of
        self._known, self._named = known, named
        self._clock = clock
        self._listeners = Listeners(device, port, self._phone)
        self._upstreams = Upstreams(upstreams)
        self._cache = Cache()
        self._rates, self._strangers, self._newcomers = Rates(), Rates(AS_MANY * RATE, 2 * BURST), Rates(*NEWCOMERS)
        self._tokens = count(1)
        self._waiting: dict[int, _Waiting] = {}  # in the order they were born
        self._of_phone: Counter[bytes] = Counter()
        self._asking: dict[bytes, list[int]] = {}  # question -> the tokens that wait for one answer
        self._tasks: set[asyncio.Task[None]] = set()
        self._macs: dict[bytes, bytes] = {}  # address -> MAC, until the next sweep
        self._sweeper: asyncio.TimerHandle | None = None
        self._reopening: asyncio.Task[None] | None = None

    async def start(self, deliver: Callable[[Sequence[Input]], None]) -> None:
        """Listen, and tell `deliver` what is asked and answered. Raises BackendError if that cannot be."""
        self._deliver = deliver
        await self._listeners.open(self._receive)
        self._sweep()

    async def close(self) -> None:
        """Answer nothing more."""
        self._listeners.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._reopening is not None:
            self._reopening.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._waiting.clear()

    def carry_out(self, commands: Sequence[Command]) -> None:
        """Do them in their order. A token that has expired is passed over."""
        ready: list[Input] = []
        for command in commands:
            if isinstance(command, RefuseQuery):
                self._refuse(command)
            elif isinstance(command, ForwardQuery):
                self._forward(command, ready)
            elif isinstance(command, SendAnswer):
                self._send(command)
        if ready:
            self._deliver(ready)

    def follow(self, upstreams: Sequence[tuple[str, int]]) -> None:
        """The way to the internet has changed, and with it whom we ask."""
        self._upstreams.use(upstreams)

    async def translators(self) -> tuple[bytes, ...] | None:
        """The prefixes of this network's own NAT64, as our upstream tells (RFC 7050); None if it says nothing."""
        reply = await self._upstreams.ask(b"\x08ipv4only\x04arpa\0", dns.AAAA)
        return None if reply is None else translators(reply.answer.addresses)

    # -- questions ---------------------------------------------------------------------------------------------------

    def _receive(self, messages: Sequence[Received]) -> None:
        now = self._clock()
        seen = [query for message in messages if (query := self._admit(message, now)) is not None]
        if seen:
            self._deliver(seen)

    def _admit(self, message: Received, now: float) -> QuerySeen | None:
        """A question for the gateway; None if the message was none, too much, or is answered already."""
        mac = self._mac(message.src)
        phone = message.src if mac == NOBODY else mac
        stranger = not self._named(mac)
        crowd = self._strangers if self._known(mac) else self._newcomers
        if not self._rates.allows(phone, now) or (stranger and not crowd.allows(STRANGERS, now)):
            return None  # unanswered: a flood gets nothing to amplify
        question = dns.question(message.data)
        if question is NOT_MINE:
            return None
        if isinstance(question, dns.Unsupported):
            message.reply(replies.not_implemented(question))
            return None
        if question.qtype == dns.ANY or question.qtype in TRANSFERS:  # RFC 8482: ANY is for amplifiers
            rcode = dns.NOTIMP if question.qtype == dns.ANY else dns.REFUSED
            message.reply(replies.finish(replies.negative(_key(question), rcode, 0), question))
            return None
        most = MOST_OF_STRANGERS if stranger else MOST
        if len(self._waiting) >= most or self._of_phone[phone] >= MOST_OF_A_PHONE:
            return None
        token = next(self._tokens)
        self._waiting[token] = _Waiting(question, mac, message.src, phone, message.over_udp, message.reply, now)
        self._of_phone[phone] += 1
        return QuerySeen(token, mac, message.src, question.name, question.qtype)

    def _phone(self, src: bytes) -> bytes:
        """Whom a limit counts for: the phone with all its addresses, or an address that nobody is known at."""
        mac = self._mac(src)
        return src if mac == NOBODY else mac

    def _mac(self, src: bytes) -> bytes:
        """The kernel is asked once a second for each address: an address belongs to its sender for longer than that."""
        known = self._macs.get(src)
        if known is not None:
            return known
        mac = self._mac_of(src)
        if mac is None:
            return NOBODY
        if len(self._macs) < MOST_MACS:
            self._macs[src] = mac
        return mac

    def _done(self, token: object) -> _Waiting | None:
        waiting = self._waiting.pop(token, None) if isinstance(token, int) else None
        if waiting is not None:
            self._of_phone[waiting.phone] -= 1
            if not self._of_phone[waiting.phone]:
                del self._of_phone[waiting.phone]
        return waiting

    def _sweep(self) -> None:
        """Let go of what has waited too long, and of who was where."""
        self._macs.clear()
        late = self._clock() - PATIENCE
        while self._waiting:
            token, waiting = next(iter(self._waiting.items()))
            if waiting.born > late:
                break
            self._done(token)
        if not self._listeners.heard():
            self._reopening = asyncio.get_running_loop().create_task(self._reopen())
        self._sweeper = asyncio.get_running_loop().call_later(1.0, self._sweep)

    async def _reopen(self) -> None:
        """The phones' interface went and came back, and its old sockets hear nothing any more."""
        self._listeners.close()
        with suppress(BackendError):  # not there yet, or without addresses: again in a second
            await self._listeners.open(self._receive)

    # -- what the gateway wants --------------------------------------------------------------------------------------

    def _refuse(self, command: RefuseQuery) -> None:
        waiting = self._done(command.token)
        if waiting is None:
            return
        question, decision = waiting.question, command.decision
        code = replies.BLOCKED if decision.verdict is Verdict.BLOCK else replies.FILTERED
        # what a record of this type leads to is refused, not the name itself: its addresses are another question
        known = question.qtype in HINTS and waiting.entry is not None
        message = replies.negative(_key(question), dns.NOERROR if known else dns.NXDOMAIN, REFUSAL_TTL)
        _answer(waiting, replies.finish(message, question, option=replies.reason(code, decision.reason)))

    def _forward(self, command: ForwardQuery, ready: list[Input]) -> None:
        token = command.token
        waiting = self._waiting.get(token) if isinstance(token, int) else None
        if waiting is None or not isinstance(token, int):
            return
        question = waiting.question
        key, now = _key(question), self._clock()
        entry = self._cache.get(key, now)
        if entry is not None:
            ready.append(self._ready(token, waiting, entry, now))
        elif key in self._asking:
            self._asking[key].append(token)
        else:
            self._asking[key] = [token]
            task = asyncio.get_running_loop().create_task(self._find(key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _send(self, command: SendAnswer) -> None:
        waiting = self._done(command.token)
        if waiting is None or waiting.entry is None:
            return
        question, entry = waiting.question, waiting.entry
        ttl = entry.left(self._clock())
        message = entry.message or replies.negative(_key(question), entry.rcode, ttl)
        if entry.hints:
            message = svcb.without(message, lambda addr: addr not in command.left_out, ech=command.ech)
        _answer(waiting, replies.finish(message, question, entry.ttls, ttl))

    # -- answers -----------------------------------------------------------------------------------------------------

    async def _find(self, key: bytes) -> None:
        """One question upstream, for everybody who asks the same meanwhile."""
        try:
            reply = await self._upstreams.ask(key[:-4], int.from_bytes(key[-4:-2]))
        finally:
            tokens = self._asking.pop(key)
        now = self._clock()
        entry = _entry(key, reply, now)
        self._cache.put(key, entry)
        still = [(token, waiting) for token in tokens if (waiting := self._waiting.get(token)) is not None]
        if still:
            self._deliver([self._ready(token, waiting, entry, now) for token, waiting in still])

    def _ready(self, token: int, waiting: _Waiting, entry: Entry, now: float) -> AnswerSeen:
        waiting.entry = entry
        left = entry.left(now)
        return AnswerSeen(token, waiting.mac, waiting.src, entry.chain, entry.addresses, left, entry.hints)


def _key(question: Question) -> bytes:
    """The question section in lower case: what two equal questions share. Type and class have no letters to lose."""
    return question.wire.lower() + question.section[-4:]


def _answer(waiting: _Waiting, message: bytes) -> None:
    waiting.reply(replies.fitted(message, waiting.question) if waiting.over_udp else message)


def _entry(key: bytes, reply: Reply | None, now: float) -> Entry:
    """What an upstream's reply is worth to a phone."""
    asked, qtype = dns.text(key[:-4]), int.from_bytes(key[-4:-2])
    if reply is None or reply.answer.rcode not in (dns.NOERROR, dns.NXDOMAIN):
        # servers that do not know the type are many, and clients go on without (RFC 9460, 3)
        rcode = dns.NOERROR if qtype in HINTS else dns.SERVFAIL
        return Entry(rcode, b"", (), (asked,), (), now + FAILURE_TTL)
    answer = reply.answer
    chain = tuple(map(dns.text, answer.chain))
    addresses = answer.addresses
    if not is_home(asked):
        addresses = tuple(addr for addr in addresses if not is_local(addr))
    until = now + max(SHORTEST, min(answer.ttl, LONGEST))
    addresses = addresses[:MOST_ADDRESSES]
    if addresses:
        message = replies.positive(key, answer.chain, addresses)
        ours = dns.answer(message, message)
        assert ours is not NOT_MINE
        return Entry(dns.NOERROR, message, ours.ttls, chain, addresses, until)
    if answer.found and qtype not in dns.ADDRESS_SIZE:
        message = replies.relayed(reply.data, key, answer)
        if qtype not in HINTS:
            return Entry(dns.NOERROR, message, answer.ttls, chain, (), until)
        message = svcb.without(message, lambda addr: is_home(asked) or not is_local(addr), ech=True)
        targets, hints = svcb.told(message)
        if len(targets) <= MOST_TARGETS and len(hints) <= MOST_ADDRESSES:
            return Entry(dns.NOERROR, message, answer.ttls, (*chain, *targets), hints, until, hints=True)
    return Entry(answer.rcode, b"", (), chain, (), min(until, now + LONGEST_NO))
