"""The resolver between a scripted upstream and a scripted gateway, on the loopback device."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter

import pytest
from dnslib import AAAA, CNAME, QTYPE, RD, RR, A, DNSRecord
from judge import in_time
from stub import KILLER, MAC, OTHER, OTHER_MAC, PUBLIC, Upstream, address, addresses, framed, free_port, read, standing

from firewall.backends import BackendError
from firewall.commands import ForwardQuery, RefuseQuery, SendAnswer
from firewall.dissect import svcb
from firewall.resolver import (
    MOST,
    MOST_OF_A_PHONE,
    MOST_OF_STRANGERS,
    NOBODY,
    PATIENCE,
    STRANGERS,
    Resolver,
    listen,
    upstream,
)
from firewall.resolver.limits import BURST
from rules.verdict import Decision, Verdict


@pytest.fixture
async def up():
    async with Upstream() as server:
        yield server


@pytest.fixture
async def house(up):
    async with standing(up) as built:
        yield built


# -- the phones' side ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(("qtype", "told"), [("A", PUBLIC), ("AAAA", "2606:2800:220:1::1")])
async def test_every_way_to_ask(house, at, qtype, told):
    for reply in (await house.ask("Shop.Example", qtype, at=at), await house.ask_tcp("shop.example", qtype, at=at)):
        assert addresses(reply) == [told]
        assert (reply.header.rd, reply.header.ra, reply.rr[0].ttl) == (1, 1, 300)
    src = socket.inet_pton(socket.AF_INET6 if ":" in at else socket.AF_INET, at)
    assert [(seen.mac, seen.src, seen.qname, seen.qtype) for seen in house.gate.queries] == [(MAC, src, "shop.example", QTYPE.reverse[qtype])] * 2
    family = socket.AF_INET6 if ":" in told else socket.AF_INET
    assert [(seen.chain, seen.addresses, seen.ttl) for seen in house.gate.answers] == [(("shop.example",), (socket.inet_pton(family, told),), 300)] * 2


async def test_the_reply_comes_from_the_address_that_was_asked(house):
    assert addresses(await house.ask("shop.example", at="127.0.0.53")) == [PUBLIC]


async def test_a_gateway_that_answers_in_its_next_turn(house):
    house.gate.later = True
    assert addresses(await house.ask("shop.example")) == [PUBLIC]
    assert addresses(await house.ask("shop.example")) == [PUBLIC]


@pytest.mark.parametrize(("verdict", "code"), [(Verdict.BLOCK, 15), (Verdict.ASK, 17)])
async def test_refused(house, verdict, code):
    house.gate.refused["api.miui.com"] = verdict
    reply = await house.ask("api.MIUI.com", size=1232)
    assert reply.header.rcode == 3
    assert [(rr.ttl, rr.rdata.times[4]) for rr in reply.auth] == [(2, 2)]
    assert [(opt.code, opt.data) for opt in reply.ar[0].rdata] == [(15, code.to_bytes(2) + b"stopped by x/1")]
    assert (await house.ask("api.miui.com")).ar == []
    assert house.up.asked == []


async def test_unblocking_counts_at_once(house):
    house.gate.refused["shop.example"] = Verdict.BLOCK
    assert (await house.ask("shop.example")).header.rcode == 3
    house.gate.refused.clear()
    assert addresses(await house.ask("shop.example")) == [PUBLIC]


async def test_a_locked_gate_answers_nothing_and_old_tokens_are_forgotten(house):
    house.gate.locked = True
    with pytest.raises(TimeoutError):
        await house.ask("shop.example", wait=0.1)
    token = house.gate.queries[0].token
    house.now += PATIENCE
    house.resolver._sweep()
    house.resolver.carry_out([ForwardQuery(token), SendAnswer(token), RefuseQuery(token, Decision(Verdict.BLOCK, "", "", "", 1)), ForwardQuery("no")])
    house.gate.locked = False
    await house.ask("other.example")
    assert len(house.up.asked) == 1
    assert not house.resolver._waiting
    assert not house.resolver._of_phone


def https(parameters, priority=1, target=b"\0"):
    """The data of a record of type HTTPS (RFC 9460, 2.2)."""
    return RD(struct.pack("!H", priority) + target + b"".join(struct.pack("!HH", number, len(value)) + value for number, value in parameters))


async def test_hints_stay_where_the_gateway_lets_them(house):
    """The true record, TTL and all, without what is left out, without home addresses, and with keys only if it says so."""
    good, bad, home = (socket.inet_aton(text) for text in (PUBLIC, "42.62.48.181", "10.77.0.1"))
    six = socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    record = https([(1, b"\2h3"), (4, good + bad + home), (5, b"key"), (6, six)])
    house.up.script = lambda data, _: [house.up.honest(data, [RR("shop.example", qtype, rdata=record, ttl=300) for qtype in [DNSRecord.parse(data).q.qtype]])]
    for qtype in (65, 64):
        reply = await house.ask("shop.example", qtype)
        assert [(rr.rtype, rr.ttl) for rr in reply.rr] == [(qtype, 300)]
        assert svcb.services(bytes(reply.pack())) == (svcb.Service(1, ".", (good, bad, six), ech=False),)
    assert [(seen.chain, seen.addresses, seen.hints) for seen in house.gate.answers] == [(("shop.example",), (good, bad, six), True)] * 2
    house.gate.left_out, house.gate.ech = frozenset((bad,)), True
    house.now += 100
    kept = await house.ask("shop.example", 65)  # out of the cache
    assert svcb.services(bytes(kept.pack())) == (svcb.Service(1, ".", (good, six), ech=True),)
    assert ([rr.ttl for rr in kept.rr], len(house.up.asked)) == ([200], 2)


async def test_the_translator_of_this_network_is_asked_for(house):
    """RFC 7050; an upstream that says nothing is no news, one that has none is."""
    told = [RR("ipv4only.arpa", 28, rdata=AAAA(addr)) for addr in ("2001:db8:64::c000:aa", "2001:db8:64::c000:ab")]
    house.up.script = lambda data, _: [house.up.honest(data, told)]
    assert await house.resolver.translators() == (socket.inet_pton(socket.AF_INET6, "2001:db8:64::")[:12],)
    house.up.script = lambda data, _: [house.up.honest(data, [])]
    assert await house.resolver.translators() == ()
    house.up.script = lambda *_: []
    assert await house.resolver.translators() is None


async def test_what_records_lead_to_are_names_of_the_chain(house):
    alias, other = https([], 0, b"\3cdn\3net\0"), https([], 1, b"\3big\3cdn\3net\0")
    house.up.script = lambda data, _: [house.up.honest(data, [RR("shop.example", 65, rdata=record, ttl=300) for record in (alias, other)])]
    assert len((await house.ask("shop.example", 65)).rr) == 2
    (seen,) = house.gate.answers
    assert (seen.chain, seen.addresses) == (("shop.example", "cdn.net", "big.cdn.net"), ())


async def test_without_such_a_record_nobody_waits_for_one(house):
    """None there, nine names to lead to, a server that knows no such type: clients go on with addresses."""
    many = [https([], 0, b"\3cdn" + bytes((2, 48 + n, 48)) + b"\0") for n in range(9)]
    for name, records, header in (("none.example", [], {}), ("many.example", many, {}), ("old.example", [], {"rcode": 4})):
        house.up.script = lambda data, _, records=records, header=header: [
            house.up.honest(data, [RR(DNSRecord.parse(data).q.qname, 65, rdata=record, ttl=300) for record in records], **header),
        ]
        reply = await house.ask(name, 65)
        assert (reply.header.rcode, reply.rr, len(reply.auth)) == (0, [], 1), name


@pytest.mark.parametrize(("qtype", "rcode"), [("ANY", 4), ("AXFR", 5), ("IXFR", 5)])
async def test_refused_without_asking_anybody(house, qtype, rcode):
    assert (await house.ask("shop.example", qtype)).header.rcode == rcode
    assert house.gate.seen == house.up.asked == []


async def test_update_is_not_implemented(house):
    reply = DNSRecord.parse(await house.send(struct.pack("!HHHHHH", 9, 5 << 11, 1, 0, 0, 0) + b"\0\0\6\0\1"))
    assert (reply.header.id, reply.header.opcode, reply.header.rcode) == (9, 5, 4)


@pytest.mark.parametrize("data", [KILLER, bytes(12), struct.pack("!HHHHHH", 1, 0x8180, 1, 0, 0, 0) + b"\0\0\1\0\1", bytes(4000)])
async def test_what_is_no_question_gets_no_word(house, data):
    with pytest.raises(TimeoutError):
        await house.send(data, wait=0.05)
    assert addresses(await house.ask("shop.example")) == [PUBLIC]
    assert len(house.gate.queries) == 1


async def test_a_flood_of_killers_leaves_the_others_their_answers(house):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
        flood.setblocking(False)
        flood.connect(("127.0.0.1", house.port))
        slowest = 0.0
        for turn in range(20):
            for _ in range(100):
                with contextlib.suppress(BlockingIOError):
                    flood.send(KILLER)
            began = asyncio.get_running_loop().time()
            assert addresses(await house.ask(f"shop{turn}.example", src=OTHER)) == [PUBLIC]
            slowest = max(slowest, asyncio.get_running_loop().time() - began)
    in_time(slowest, 0.2)
    assert {seen.mac for seen in house.gate.queries} == {OTHER_MAC}


async def test_one_phone_cannot_ask_without_end(house):
    house.gate.refused["x.example"] = Verdict.BLOCK
    query = bytes(DNSRecord.question("x.example").pack())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", house.port))
        for _ in range(50):
            for _ in range(50):
                sock.send(query)
            await house.ask("other.example", src=OTHER)
    counts = Counter(seen.mac for seen in house.gate.queries)
    assert counts == {MAC: BURST, OTHER_MAC: 50}


async def test_so_many_may_wait_and_no_more(house):
    house.gate.locked = True
    for phone in range(2, 14):
        house.resolver._mac_of = lambda src: src
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((f"127.0.1.{phone}", 0))
            sock.connect(("127.0.0.1", house.port))
            for n in range(MOST_OF_A_PHONE + 10):
                sock.send(bytes(DNSRecord.question(f"x{n}.example").pack()))
            with pytest.raises(TimeoutError):
                await house.send(KILLER, wait=0.02)
    counts = Counter(seen.src for seen in house.gate.queries)
    assert max(counts.values()) == MOST_OF_A_PHONE
    assert len(house.gate.queries) == MOST


async def test_whoever_invents_macs_is_one_phone_and_leaves_the_named_their_places(house):
    house.gate.locked = True
    house.resolver._mac_of = lambda src: OTHER_MAC if src == socket.inet_aton(OTHER) else src
    house.resolver._named = lambda mac: mac == OTHER_MAC
    query = bytes(DNSRecord.question("x.example").pack())

    async def invented(count):
        for n in range(count):
            await asyncio.sleep(0.001 if n % 8 == 0 else 0)  # the socket holds some two hundred
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind((f"127.1.{n >> 7 & 255}.{1 + (n & 127)}", 0))
                sock.sendto(query, ("127.0.0.1", house.port))

    async def asked():
        """By whom, when the question of the named phone, which is the last, has been read."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((OTHER, 0))
            sock.sendto(query, ("127.0.0.1", house.port))
            async with asyncio.timeout(10):
                while not house.gate.queries or house.gate.queries[-1].mac != OTHER_MAC:
                    await asyncio.sleep(0.01)
        return Counter(seen.mac == OTHER_MAC for seen in house.gate.queries)

    await invented(MOST_OF_STRANGERS + 40)
    assert await asked() == {False: MOST_OF_STRANGERS, True: 1}
    house.resolver._strangers._buckets[STRANGERS] = (0.0, house.now)  # as after a burst
    house.resolver._waiting.clear()
    house.gate.seen.clear()
    await invented(20)
    assert await asked() == {True: 1}
    house.resolver._known = house.resolver._named  # nor have they been heard of: their first questions have a rate
    house.resolver._newcomers._buckets[STRANGERS] = (5.0, house.now)
    house.gate.seen.clear()
    await invented(20)
    assert await asked() == {False: 5, True: 1}


async def test_a_loud_phone_that_nobody_has_named_leaves_another_its_answers(house):
    """5,000 questions a second, ten seconds long, where no phone has a name yet: as on the first day of a box."""
    house.resolver._mac_of, house.resolver._named = (lambda src: src + b"\2\0"), lambda _: False
    query = bytes(DNSRecord.question("x.example").pack())
    loud, quiet, answered = socket.inet_aton("10.77.0.10"), socket.inet_aton("10.77.0.11"), 0
    for tick in range(1_000):
        house.now += 0.01
        for n in range(50):
            house.resolver._admit(listen.Received(query if n == 0 else b"", loud, True, print), house.now)
        if tick % 10 == 9:
            answered += house.resolver._admit(listen.Received(query, quiet, True, print), house.now) is not None
        house.resolver._waiting.clear()
        house.resolver._of_phone.clear()
    assert answered == 100


async def test_an_unknown_neighbour_is_nobody(house):
    house.resolver._mac_of = lambda _: None
    await house.ask("shop.example")
    assert house.gate.queries[0].mac == NOBODY


async def test_a_device_that_is_not_there():
    with pytest.raises(BackendError, match="nosuch0"):
        await Resolver("nosuch0", [], lambda _: None).start(lambda _: None)


# -- TCP -------------------------------------------------------------------------------------------------------------


async def test_pipelined_and_in_pieces(house):
    queries = {query.header.id: query for query in (DNSRecord.question(f"x{n}.example") for n in range(40))}
    stream = b"".join(map(framed, queries.values()))
    async with asyncio.timeout(30), house.connection() as (reader, writer):
        writer.write(stream[:1])
        await writer.drain()
        await asyncio.sleep(0)
        writer.write(stream[1:700])
        await writer.drain()
        writer.write(stream[700:])
        for _ in range(len(queries)):
            data = await read(reader)
            assert addresses(house.same(queries.pop(int.from_bytes(data[:2])), data)) == [PUBLIC]


async def test_more_at_once_than_one_turn_takes(house):
    house.gate.refused["x.example"] = Verdict.BLOCK
    query = DNSRecord.question("x.example")
    async with asyncio.timeout(30), house.connection() as (reader, writer):
        writer.write(framed(query) * 200)
        for _ in range(200):
            house.same(query, await read(reader))


@pytest.mark.parametrize("start", [b"\0\0", b"\0\x0b", b"\xff\xff"])
async def test_lengths_that_no_question_has(house, start):
    async with asyncio.timeout(30), house.connection() as (reader, writer):
        writer.write(start)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""


async def test_idle_connections_are_closed(house, monkeypatch):
    monkeypatch.setattr(listen, "IDLE_SECONDS", 0.05)
    async with asyncio.timeout(30), house.connection() as (reader, writer):
        writer.write(b"\0\x30x")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""


async def test_so_many_connections_and_no_more(house, monkeypatch):
    listeners, gone = house.resolver._listeners, asyncio.Event()
    leave = listeners.leave

    def watched(connection):
        leave(connection)
        if not listeners._connections:
            gone.set()

    monkeypatch.setattr(listeners, "leave", watched)
    async with contextlib.AsyncExitStack() as stack:
        async def usable(src):
            reader, writer = await stack.enter_async_context(house.connection(src=src))
            with contextlib.suppress(OSError, EOFError):
                writer.write(framed(DNSRecord.question("shop.example")))
                return bool(await read(reader))
            return False

        async with asyncio.timeout(10):
            most = listen.MOST_OF_A_PHONE
            assert [await usable("127.0.0.1") for _ in range(most + 2)] == [True] * most + [False] * 2
            assert await usable(OTHER)
            house.resolver._mac_of = lambda src: src
            left = listen.MOST_CONNECTIONS - most - 1
            assert sum([await usable(f"127.0.2.{n % 64 + 1}") for n in range(left + 9)]) == left
    async with asyncio.timeout(30):
        await gone.wait()
    assert addresses(await house.ask_tcp("shop.example")) == [PUBLIC]


async def test_a_large_answer_goes_over_tcp(house):
    house.up.script = lambda data, _: [house.up.honest(data, address(DNSRecord.parse(data).q) * 12, tc=0)]
    small = await house.ask("big.example", "TXT", size=4096)
    assert (small.header.tc, small.rr) == (1, [])
    whole = await house.ask_tcp("big.example", "TXT")
    assert (whole.header.tc, len(whole.rr)) == (0, 12)


# -- the upstream's side ---------------------------------------------------------------------------------------------


async def test_forged_answers_are_waited_out(house):
    def script(data, over_tcp):
        forged = [RR(DNSRecord.parse(data).q.qname, rdata=A("6.6.6.6"), ttl=9)]
        wrong_id = bytearray(house.up.honest(data, forged))
        wrong_id[0] ^= 1
        wrong_type = house.up.honest(data, forged).replace(b"\0\1\0\1", b"\0\x1c\0\1", 1)
        wrong_name = house.up.honest(data, forged).replace(b"\7", b"\6", 1)
        query = house.up.honest(data, forged, qr=0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(house.up.honest(data, forged), ("127.0.0.1", house.up.asked[-1][0]))
        return [bytes(wrong_id), wrong_type, wrong_name, query, b"", b"x" * 40, house.up.honest(data)]

    house.up.script = script
    assert addresses(await house.ask("shop.example")) == [PUBLIC]
    assert len(house.up.asked) == 1


async def test_an_answer_in_another_spelling_is_asked_for_over_tcp(house):
    house.up.script = lambda data, over_tcp: [house.up.honest(data[:12] + data[12:].lower(), [RR("long-shop.example", rdata=A(PUBLIC if over_tcp else "6.6.6.6"))])]
    assert addresses(await house.ask("long-shop.example")) == [PUBLIC]
    assert [over_tcp for *_, over_tcp in house.up.asked] == [False, True]


async def test_a_truncated_answer_is_asked_for_over_tcp(house):
    house.up.script = lambda data, over_tcp: [house.up.honest(data, None if over_tcp else [], tc=not over_tcp)]
    assert addresses(await house.ask("shop.example")) == [PUBLIC]
    assert [over_tcp for *_, over_tcp in house.up.asked] == [False, True]


async def test_nobody_can_guess(up):
    asker = upstream.Upstreams([("127.0.0.1", up.port)])
    for _ in range(20):
        await asyncio.gather(*(asker.ask(b"\4long\4name\7example\0", 1) for _ in range(50)))
    assert len({port for port, *_ in up.asked}) >= 950
    assert len({data[:2] for _, data, _ in up.asked}) >= 950
    assert len({data[12:] for _, data, _ in up.asked}) >= 950
    assert {data[12:].lower() for _, data, _ in up.asked} == {upstream.query(b"\4long\4name\7example\0", 1)[12:].lower()}
    read = DNSRecord.parse(up.asked[0][1])
    assert (read.header.rd, read.ar[0].edns_len) == (1, 1232)


async def test_a_silent_upstream_is_left_for_the_other(up, monkeypatch):
    monkeypatch.setattr(upstream, "TRY_SECONDS", 0.05)
    async with Upstream() as silent:
        silent.script = lambda _, __: []
        asker = upstream.Upstreams([("127.0.0.1", silent.port), ("127.0.0.1", up.port)])
        assert (await asker.ask(b"\1a\0", 1)).answer.found
        assert (await asker.ask(b"\1b\0", 1)).answer.found
        assert (len(silent.asked), len(up.asked)) == (1, 2)


async def test_failures(house, monkeypatch):
    monkeypatch.setattr(upstream, "TRY_SECONDS", 0.03)
    house.up.script = lambda _, __: []
    assert (await house.ask("silent.example")).header.rcode == 2
    assert len(house.up.asked) == upstream.TRIES
    assert (await house.ask("silent.example")).header.rcode == 2
    assert len(house.up.asked) == upstream.TRIES  # remembered for a moment
    house.now += 2
    house.up.script = lambda data, _: [house.up.honest(data, [], rcode=5)]
    assert (await house.ask("silent.example")).header.rcode == 2
    house.now += 2
    house.up.script = None
    assert addresses(await house.ask("silent.example")) == [PUBLIC]


async def test_all_takes_three_seconds_at_most(up, monkeypatch):
    monkeypatch.setattr(upstream, "ALL_SECONDS", 0.1)
    up.script = lambda _, __: []
    began = asyncio.get_running_loop().time()
    assert await upstream.Upstreams([("127.0.0.1", up.port)]).ask(b"\1a\0", 1) is None
    in_time(asyncio.get_running_loop().time() - began, 2.5)


async def test_nobody_to_ask():
    assert await upstream.Upstreams([]).ask(b"\1a\0", 1) is None
    assert await upstream.Upstreams([("127.0.0.1", free_port())]).ask(b"\1a\0", 1) is None


async def test_equal_questions_become_one(house):
    house.up.script = lambda _, __: []
    asking = [asyncio.ensure_future(house.ask(name, src=src)) for name, src in (("Shop.example", "127.0.0.1"), ("shop.EXAMPLE", OTHER), ("shop.example", None))]
    await house.up.seen.wait()
    async with asyncio.timeout(30):
        while len(house.gate.queries) < 3:
            house.gate.told.clear()
            await house.gate.told.wait()
    port, data, _ = house.up.asked[0]
    house.up.transport.sendto(house.up.honest(data), ("127.0.0.1", port))
    assert [addresses(reply) for reply in await asyncio.gather(*asking)] == [[PUBLIC]] * 3
    assert len(house.up.asked) == 1


async def test_answers_age_and_end(house):
    assert (await house.ask("shop.example")).rr[0].ttl == 300
    house.now += 100
    assert (await house.ask("SHOP.example")).rr[0].ttl == 200
    assert len(house.up.asked) == 1
    assert house.gate.answers[-1].ttl == 200
    house.now += 200
    assert (await house.ask("shop.example")).rr[0].ttl == 300
    assert len(house.up.asked) == 2


@pytest.mark.parametrize(("ttl", "kept"), [(0, 5), (1 << 31, 5), (200_000, 86_400)])
async def test_how_long_an_answer_is_kept(house, ttl, kept):
    house.up.script = lambda data, _: [house.up.honest(data, [RR(DNSRecord.parse(data).q.qname, rdata=A(PUBLIC), ttl=ttl)])]
    assert (await house.ask("shop.example")).rr[0].ttl == kept


async def test_a_no_is_remembered_too(house):
    house.up.script = lambda data, _: [house.up.honest(data, [], rcode=3)]
    reply = await house.ask("nowhere.example")
    assert (reply.header.rcode, reply.auth[0].ttl) == (3, 5)
    assert (await house.ask("nowhere.example")).header.rcode == 3
    assert len(house.up.asked) == 1


async def test_the_chain_is_told_and_sent(house):
    def script(data, over_tcp):
        name = DNSRecord.parse(data).q.qname
        return [house.up.honest(data, [RR(name, QTYPE.CNAME, rdata=CNAME("Tracker.net"), ttl=60), RR("tracker.net", rdata=A(PUBLIC), ttl=30)])]

    house.up.script = script
    reply = await house.ask("shop.example")
    assert [(str(rr.rname), QTYPE[rr.rtype], rr.ttl) for rr in reply.rr] == [("shop.example.", "CNAME", 30), ("Tracker.net.", "A", 30)]
    assert house.gate.answers[0].chain == ("shop.example", "tracker.net")


async def test_other_types_are_handed_on(house):
    reply = await house.ask("Shop.example", "MX")
    assert [(str(rr.rname), str(rr.rdata), rr.ttl) for rr in reply.rr] == [("Shop.example.", "10 mail.example.", 300)]
    assert house.gate.answers[0].addresses == ()


@pytest.mark.parametrize(("said", "told"), [(["192.168.0.1", PUBLIC], [PUBLIC]), (["127.0.0.1"], [])])
async def test_rebinding_is_cut_out(house, said, told):
    house.up.script = lambda data, _: [house.up.honest(data, [RR(DNSRecord.parse(data).q.qname, rdata=A(addr)) for addr in said])]
    reply = await house.ask("evil.example")
    assert (reply.header.rcode, addresses(reply)) == (0, told)
    assert house.gate.answers[0].addresses == tuple(map(socket.inet_aton, told))
    assert addresses(await house.ask("nas.lan")) == said


async def test_another_uplink_brings_other_servers_and_none_leaves_those_that_were_there(house, up):
    up.script = lambda data, over_tcp: []  # says nothing any more
    async with Upstream() as other:
        house.resolver.follow([])
        house.resolver.follow([("127.0.0.1", other.port)])
        assert addresses(await house.ask("shop.example")) == [PUBLIC]
        assert len(other.asked) == 1
        assert not up.asked
