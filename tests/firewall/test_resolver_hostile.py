"""Hostile DNS, case by case: numbers 58 to 79 of our list of threats, b, against real sockets.

| # | what | test (here, unless another file is named) |
|---|---|---|
| 58 | pointer cycle in 41 bytes | test_no_question_no_word; also tests/firewall/dissect/test_dns.py, test_resolver.py (the flood) |
| 59 | 640 questions in 4 KB | test_no_question_no_word |
| 60 | no, two, 65,535 questions | test_no_question_no_word |
| 61 | names of 256 octets and more, label types 0x40 and 0x80 | test_no_question_no_word |
| 62 | pointers to the header, forward, to themselves | test_no_question_no_word, test_garbage_from_upstream (in answers) |
| 63 | an answer sent to us | test_no_question_no_word, test_an_answer_that_seems_to_come_from_ourselves |
| 64 | UPDATE, NOTIFY and every other opcode | test_other_opcodes |
| 65 | class CH, ANY; type ANY, AXFR, IXFR | test_no_question_no_word, test_types_nobody_is_told_about |
| 66 | 200 EDNS options, two OPT records, cookies of bad length | test_strange_options; two OPT: test_no_question_no_word. We speak no cookies (RFC 7873): their length is nothing to us |
| 67 | TCP: lengths 0 and 65,535, drops, idle connections, pipelines | test_tcp_*; also test_resolver.py (idle, so many and no more) |
| 68 | EDNS sizes 0, 512, 65,535 | test_sizes |
| 69 | a dot, NUL, 0xFF in a label; 0x20 | test_strange_labels |
| 70 | CNAME loop, 30 links, CNAME to a blocked name, HTTPS to one | test_garbage_from_upstream, test_an_alias_of_a_refused_name, test_https_leads_nowhere_else |
| 71 | TTL 0 and 2^31, an address that flips to ours | test_a_flip_to_an_address_at_home; TTLs: test_resolver.py |
| 72 | 4,000 records | test_garbage_from_upstream |
| 73 | answers to another question, from elsewhere, late, twice | test_late_and_twice; test_resolver.py (forged) |
| 74 | truncated over UDP, TCP dead | test_truncated_and_tcp_is_dead |
| 75 | SERVFAIL, REFUSED, garbage to everything | test_garbage_from_upstream, test_an_upstream_that_refuses_everything |
| 76 | source port 53 or 0; our own address as the source | test_ports_nobody_asks_from, test_an_answer_that_seems_to_come_from_ourselves |
| 77 | 8.8.8.8, DoT, DoQ | not the stub's: tests/lab/test_gate.py (port 53 is redirected), rules/packs/bypass.toml and its tests |
| 78 | blocked by one list, consented by another | not the stub's: rules.decide (decisions.md 4: a block is never overruled by a consent) |
| 79 | hold and burst (DNSBomb) | test_held_and_let_loose |

Not applicable as well: whatever needs recursion, DNSSEC or a zone, which a stub does not have.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time

import pytest
from dnslib import CNAME, EDNS0, QTYPE, RD, RR, A, DNSRecord, EDNSOption
from judge import in_time
from stub import KILLER, OTHER, PUBLIC, Upstream, addresses, framed, read, standing

from firewall.commands import RefuseQuery
from firewall.dissect import svcb
from firewall.inputs import AnswerSeen
from firewall.resolver import MOST_ADDRESSES, MOST_OF_A_PHONE, listen, upstream
from rules.verdict import Decision, Verdict

NAME = b"\4shop\7example\0"
CPU = 0.001  # seconds a message may cost us, the test's own part in it included


@pytest.fixture
async def up():
    async with Upstream() as server:
        yield server


@pytest.fixture
async def house(up):
    async with standing(up) as built:
        yield built


def query(wire=NAME, qtype=1, *, flags=0x0100, counts=(1, 0, 0, 0), qclass=1, tail=b""):
    return struct.pack("!HHHHHH", 0x1234, flags, *counts) + wire + struct.pack("!HH", qtype, qclass) + tail


def opt(size=1232, data=b""):
    return b"\0" + struct.pack("!HHIH", 41, size, 0, len(data)) + data


def answer(data, count, records, *, flags=0x8180):
    """An answer to `data`, our resolver's question, with `records` as they stand."""
    return data[:2] + struct.pack("!HHHHH", flags, 1, count, 0, 0) + data[12:-11] + records  # without its OPT


SILENT = {
    "58 pointer cycle": KILLER,
    "59 640 questions": query(b"\1a\0", counts=(640, 0, 0, 0), tail=b"\xc0\x0c\0\1\0\1" * 639),
    "60 no question": query(counts=(0, 0, 0, 0)),
    "60 two questions": query(counts=(2, 0, 0, 0), tail=NAME + b"\0\1\0\1"),
    "60 65,535 questions": query(counts=(65_535, 0, 0, 0)),
    "61 256 octets": query((b"\x3f" + b"x" * 63) * 3 + b"\x3e" + b"y" * 62 + b"\0"),
    "61 3,840 octets": query((b"\x3f" + b"x" * 63) * 60 + b"\0"),
    "61 label type 0x40": query(b"\x41abc\0"),
    "61 label type 0x80": query(b"\x80abc\0"),
    "62 to the header": query(b"\xc0\0"),
    "62 to itself": query(b"\xc0\x0c"),
    "62 forward": query(b"\xc0\x20", tail=bytes(20)),
    "63 an answer": query(flags=0x8180),
    "65 class CH": query(b"\7version\4bind\0", 16, qclass=3),
    "65 class ANY": query(qclass=255),
    "66 two OPT records": query(counts=(1, 0, 0, 2), tail=opt() + opt()),
    "66 an option that is cut": query(counts=(1, 0, 0, 1), tail=opt(data=b"\0\x0a\0\x08abc")[:-1]),
    "a header alone": bytes(12),
}


@pytest.mark.parametrize("data", SILENT.values(), ids=SILENT)
async def test_no_question_no_word(house, data):
    """No answer, over UDP or TCP; nothing upstream; it costs next to nothing; the next question is answered."""
    house.gate.locked = True  # whatever reached the gateway would stay in `seen`
    async with asyncio.timeout(10), house.connection() as (reader, writer):
        began = time.process_time()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(("127.0.0.1", house.port))
            for _ in range(5):
                for _ in range(20):
                    sock.send(data)
                    writer.write(len(data).to_bytes(2) + data)
                await asyncio.sleep(0.01)  # ours to read
            assert (time.process_time() - began) / 200 < CPU
            assert not house.gate.seen
            assert not house.up.asked
            house.gate.locked = False
            writer.write(framed(asked := DNSRecord.question("shop.example")))  # its answer is the first that comes
            assert addresses(house.same(asked, await read(reader))) == [PUBLIC]
            with pytest.raises(BlockingIOError):
                sock.recv(65_535)


@pytest.mark.parametrize("opcode", range(1, 16))
async def test_other_opcodes(house, opcode):
    reply = await house.send(query(flags=opcode << 11, qtype=6))
    assert reply == struct.pack("!HHHHHH", 0x1234, 0x8000 | opcode << 11 | 4, 0, 0, 0, 0)
    assert not house.gate.seen


@pytest.mark.parametrize(("qtype", "rcode"), [(255, 4), (252, 5), (251, 5)])
async def test_types_nobody_is_told_about(house, qtype, rcode):
    data = query(qtype=qtype)
    reply = await house.send(data)
    assert len(reply) == len(data)  # nothing to amplify
    assert DNSRecord.parse(reply).header.rcode == rcode
    assert not house.up.asked


@pytest.mark.parametrize("options", [
    [EDNSOption(10, b"cookie!!")] * 200, [EDNSOption(10, b"x")], [EDNSOption(10, bytes(41))], [EDNSOption(65_001, bytes(3_000))],
], ids=["200", "a short cookie", "a long cookie", "3,000 bytes"])
async def test_strange_options(house, options):
    """Read over and answered; none goes upstream or comes back."""
    asked = DNSRecord.question("shop.example")
    asked.add_ar(EDNS0(udp_len=1232, opts=options))
    began = time.process_time()
    reply = house.same(asked, await house.send(bytes(asked.pack())))
    assert time.process_time() - began < 20 * CPU
    assert (addresses(reply), reply.ar[0].rdata) == ([PUBLIC], [])
    assert [DNSRecord.parse(data).ar[0].rdata for _, data, _ in house.up.asked] == [[]]


async def test_tcp_lengths_and_drops(house, monkeypatch):
    """A length no question has ends a connection; one that is fed byte by byte ends when its time is up, read or not."""
    monkeypatch.setattr(listen, "IDLE_SECONDS", 0.3)
    for start in (b"\0\0", b"\xff\xff", b"\xff\xff" + bytes(100)):
        async with asyncio.timeout(30), house.connection() as (reader, writer):
            writer.write(start)
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
    async with asyncio.timeout(10), house.connection() as (reader, writer):
        began = asyncio.get_running_loop().time()
        with contextlib.suppress(OSError):
            for byte in framed(DNSRecord.question("shop.example")):
                if reader.at_eof():
                    break
                writer.write(bytes((byte,)))
                await asyncio.sleep(0.1)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        in_time(asyncio.get_running_loop().time() - began, 2.0)
    assert not house.gate.seen
    assert not house.resolver._listeners._connections


async def test_tcp_a_thousand_connections_leave_the_others_theirs(house):
    house.resolver._mac_of = lambda src: src  # each address a phone
    async with asyncio.timeout(60), contextlib.AsyncExitStack() as stack:
        for _ in range(1_000):
            await stack.enter_async_context(house.connection())
        assert len(house.resolver._listeners._connections) == listen.MOST_OF_A_PHONE
        reader, writer = await stack.enter_async_context(house.connection(src=OTHER))
        writer.write(framed(asked := DNSRecord.question("shop.example")))
        assert addresses(house.same(asked, await read(reader))) == [PUBLIC]


async def test_tcp_five_hundred_at_once(house):
    """All are read; of those that would have to wait beyond one phone's share, none waits."""
    house.gate.locked = True
    async with asyncio.timeout(20), house.connection() as (_, writer):
        writer.write(b"".join(framed(DNSRecord.question(f"x{n}.example")) for n in range(500)))
        asked = DNSRecord.question("last.example")
        while len(house.gate.seen) < MOST_OF_A_PHONE:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert len(house.resolver._waiting) == MOST_OF_A_PHONE
    house.gate.locked = False
    assert addresses(house.same(asked, await house.send(bytes(asked.pack()), src=OTHER))) == [PUBLIC]


@pytest.mark.parametrize(("size", "most"), [(0, 512), (512, 512), (1_232, 1_232), (4_096, 1_232), (65_535, 1_232)])
async def test_sizes(house, size, most):
    """What a phone claims to take is believed up to what every path carries in one piece."""
    longest = 0
    for count in range(4, 120, 4):
        house.up.script = lambda data, _, count=count: [
            house.up.honest(data, [RR(DNSRecord.parse(data).q.qname, QTYPE.TXT, rdata=RD(b"\3abc")) for _ in range(count)])
        ]
        sent = await house.send(query(bytes((4,)) + b"%04d" % count + NAME, QTYPE.TXT, counts=(1, 0, 0, 1), tail=opt(size)))
        longest = max(longest, len(sent))
        reply = DNSRecord.parse(sent)
        assert (len(reply.rr) == count) is not bool(reply.header.tc)
    assert most - 100 < longest <= most


async def test_of_more_addresses_than_are_judged_the_first_are_told(house):
    """The gateway has to learn each of them, whoever's name it is."""
    house.up.script = lambda data, _: [house.up.honest(data, [RR(DNSRecord.parse(data).q.qname, rdata=A(f"93.184.0.{n}")) for n in range(1, 200)])]
    reply = DNSRecord.parse(await house.send(query(counts=(1, 0, 0, 1), tail=opt())))
    told = [str(one.rdata) for one in reply.rr]
    assert told == [f"93.184.0.{n}" for n in range(1, MOST_ADDRESSES + 1)]
    assert [socket.inet_ntoa(addr) for one in house.gate.seen if isinstance(one, AnswerSeen) for addr in one.addresses] == told


@pytest.mark.parametrize(("wire", "shown"), [
    (b"\7a.b.com\0", r"a\046b\046com"), (b"\3a\0b\3com\0", r"a\000b.com"), (b"\1\xff\3com\0", r"\255.com"), (b"\4ShOp\7EXAMple\0", "shop.example"),
])
async def test_strange_labels(house, wire, shown):
    """The gateway is told a name that cannot be taken for another; the phone gets back what it wrote, to the bit."""
    data = query(wire)
    house.up.script = lambda asked, _: [answer(asked, 1, b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(PUBLIC))]
    reply = await house.send(data)
    assert reply[12 : len(data)] == data[12:]
    assert reply.endswith(socket.inet_aton(PUBLIC))
    assert [seen.qname for seen in house.gate.queries] == [shown]
    assert house.up.asked[0][1][12 : 12 + len(wire)].lower() == wire.lower()


def links(names):
    """CNAME records from each name to the next, as bytes."""
    wires = [b"".join(bytes((len(label),)) + label for label in name.split(b".")) + b"\0" for name in names]
    return b"".join(one + b"\0\5\0\1\0\0\0\x3c" + len(other).to_bytes(2) + other for one, other in zip(wires, wires[1:], strict=False))


GARBAGE = {
    "62 a pointer to the header": (1, b"\xc0\0\0\1\0\1\0\0\0\x3c\0\4\1\2\3\4"),
    "62 a pointer to itself": (1, b"\xc0\x1e\0\1\0\1\0\0\0\x3c\0\4\1\2\3\4"),
    "62 a pointer forward": (1, b"\xc0\xff\0\1\0\1\0\0\0\x3c\0\4\1\2\3\4"),
    "70 a loop of CNAMEs": (2, links([b"shop.example", b"b.example", b"shop.example"])),
    "70 a CNAME to itself": (1, links([b"shop.example", b"shop.example"])),
    "70 30 links": (30, links([b"shop.example", *(b"n%d.example" % n for n in range(30))])),
    "72 4,000 records": (4_000, b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\1\2\3\4" * 4_000),
    "72 4,000 records, it says": (4_000, b""),
    "75 an address of three bytes": (1, b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\3\1\2\3"),
    "75 noise": (1, bytes(range(256))),
}


@pytest.mark.parametrize(("count", "records"), GARBAGE.values(), ids=GARBAGE)
async def test_garbage_from_upstream(house, monkeypatch, count, records):
    """No answer is made of it: the phone is told that there is none, in time, and nothing is learnt."""
    monkeypatch.setattr(upstream, "TRY_SECONDS", 0.1)
    house.up.script = lambda data, _: [answer(data, count, records)]
    began = time.process_time()
    reply = await house.ask("shop.example", wait=5)
    assert time.process_time() - began < 60 * CPU
    assert (reply.header.rcode in (0, 2), reply.rr) == (True, [])
    assert [seen.addresses for seen in house.gate.answers] == [()]
    assert len(house.up.asked) <= upstream.TRIES
    house.up.script = None
    assert addresses(await house.ask("other.example")) == [PUBLIC]


async def test_an_upstream_that_refuses_everything(house):
    """SERVFAIL and REFUSED, in turn; asked three times, and then not for a moment."""
    house.up.script = lambda data, _: [house.up.honest(data, [], rcode=2 if len(house.up.asked) % 2 else 5)]
    for _ in range(10):
        assert (await house.ask("shop.example")).header.rcode == 2
    assert len(house.up.asked) == upstream.TRIES


async def test_an_alias_of_a_refused_name(house):
    """The gateway sees the whole chain before the phone has an address, and may still refuse."""
    def script(data, _):
        name = DNSRecord.parse(data).q.qname
        return [house.up.honest(data, [RR(name, QTYPE.CNAME, rdata=CNAME("evil.example")), RR("evil.example", rdata=A(PUBLIC))])]

    command = house.gate._command
    house.gate._command = lambda seen: (
        RefuseQuery(seen.token, Decision(Verdict.BLOCK, "x/1", "stopped", "", 1))
        if isinstance(seen, AnswerSeen) and "evil.example" in seen.chain
        else command(seen)
    )
    house.up.script = script
    for _ in range(2):  # out of the cache as well
        reply = await house.ask("shop.example")
        assert (reply.header.rcode, reply.rr) == (3, [])
    assert len(house.up.asked) == 1


@pytest.mark.parametrize("qtype", [64, 65])
async def test_https_leads_nowhere_else(house, qtype):
    """An alias to a refused name reaches no phone; its own addresses are another question. Nor does a target that is cut."""
    alias, cut = RD(b"\0\0\4evil\7example\0"), RD(b"\0\1\xc0\x0c\0\4\0\4\6\6\6\6")
    house.up.script = lambda data, _: [house.up.honest(data, [RR(name := DNSRecord.parse(data).q.qname, qtype, rdata=alias if name == "shop.example." else cut, ttl=300)])]
    command = house.gate._command
    house.gate._command = lambda seen: (
        RefuseQuery(seen.token, Decision(Verdict.BLOCK, "x/1", "stopped", "", 1))
        if isinstance(seen, AnswerSeen) and "evil.example" in seen.chain
        else command(seen)
    )
    refused = await house.ask("shop.example", qtype, size=1232)
    assert (refused.header.rcode, refused.rr, refused.auth[0].ttl) == (0, [], 2)
    assert refused.ar[0].rdata[0].code == 15  # and it says why
    told = bytes((await house.ask("other.example", qtype)).pack())
    assert svcb.services(told) == (svcb.Service(1, ".", (), ech=False),)
    assert b"\6\6\6\6" not in told
    assert house.gate.answers[-1].addresses == ()


async def test_a_flip_to_an_address_at_home(house):
    """An answer with TTL 0 is kept five seconds; then its home address is cut out, in every form it has."""
    told = [A(PUBLIC)]
    house.up.script = lambda data, _: [house.up.honest(data, [RR(DNSRecord.parse(data).q.qname, rdata=rdata, ttl=0) for rdata in told])]
    assert addresses(await house.ask("evil.example")) == [PUBLIC]
    told[:] = [A("10.77.0.1"), A("127.0.0.1"), A("169.254.169.254")]
    house.now += 1
    assert addresses(await house.ask("evil.example")) == [PUBLIC]
    house.now += 5
    assert addresses(await house.ask("evil.example")) == []
    assert [seen.addresses for seen in house.gate.answers][-1] == ()


async def test_late_and_twice(house, monkeypatch):
    """An answer that comes when nobody waits any more, or again, changes nothing: its socket is gone."""
    monkeypatch.setattr(upstream, "TRY_SECONDS", 0.05)
    house.up.script = lambda _, __: []
    assert (await house.ask("shop.example")).header.rcode == 2
    forged = [RR("shop.example", rdata=A("6.6.6.6"), ttl=300)]
    for port, data, _ in list(house.up.asked):
        house.up.transport.sendto(house.up.honest(data, forged), ("127.0.0.1", port))
    house.up.script = lambda data, _: [house.up.honest(data), house.up.honest(data, [RR(DNSRecord.parse(data).q.qname, rdata=A("6.6.6.6"))])]
    house.now += 3
    for _ in range(2):
        assert addresses(await house.ask("shop.example")) == [PUBLIC]
    assert len(house.gate.answers) == 3


async def test_truncated_and_tcp_is_dead(house, monkeypatch):
    """SERVFAIL within the time that all tries together may take, whether TCP refuses or says nothing."""
    monkeypatch.setattr(upstream, "TRY_SECONDS", 0.1)
    house.up.script = lambda data, over_tcp: [] if over_tcp else [house.up.honest(data, [], tc=1)]
    async with asyncio.timeout(upstream.ALL_SECONDS):
        assert (await house.ask("shop.example")).header.rcode == 2
    house.up._tcp.close()
    async with asyncio.timeout(upstream.ALL_SECONDS):
        assert (await house.ask("other.example")).header.rcode == 2


def forged(src, sport, dport, data, source="127.0.0.1"):
    """A datagram with whatever source one likes, sent raw."""
    packet = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(data), 0, 0, 64, 17, 0) + socket.inet_aton(src) + socket.inet_aton(source)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(packet + struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data, (source, 0))


@pytest.mark.lab
async def test_ports_nobody_asks_from(house):
    """Port 0 cannot be answered, and 53 gets what everybody gets: neither harms whoever asks next."""
    before = len(asyncio.all_tasks())
    for sport in (0, 53):
        forged("127.0.0.1", sport, house.port, query())
    while len(house.gate.answers) < 2:
        await asyncio.sleep(0.01)
    assert addresses(await house.ask("shop.example")) == [PUBLIC]
    assert len(asyncio.all_tasks()) == before


@pytest.mark.lab
async def test_an_answer_that_seems_to_come_from_ourselves(house):
    """A question from our own address and port: our answer reaches ourselves and is no question, so there it ends."""
    forged("127.0.0.1", house.port, house.port, query())
    forged("127.0.0.1", house.up.port, house.port, query(b"\5other\7example\0"))  # and one in our upstream's name
    while len(house.gate.answers) < 2:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert len(house.gate.queries) == 2
    assert len(house.up.asked) <= 3  # our answer to "other", which the upstream may ask about as it likes


async def test_held_and_let_loose(house, monkeypatch):
    """An upstream that holds its answers back can let loose no more than one phone's share, each in one small piece."""
    monkeypatch.setattr(upstream, "TRY_SECONDS", 1.0)
    house.up.script = lambda _, __: []
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", house.port))
        for n in range(500):
            sock.send(query(b"\4%04d" % n + NAME, 16, counts=(1, 0, 0, 1), tail=opt(4_096)))
            if n % 50 == 49:
                await asyncio.sleep(0.01)
        async with asyncio.timeout(30):
            while len(house.up.asked) < MOST_OF_A_PHONE:
                await asyncio.sleep(0.01)
        for port, data, _ in list(house.up.asked):
            house.up.transport.sendto(house.up.honest(data), ("127.0.0.1", port))
        got = []
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0.5):
                    got.append(await loop.sock_recv(sock, 65_535))
    assert len(got) == MOST_OF_A_PHONE
    assert max(map(len, got)) <= 1_232
