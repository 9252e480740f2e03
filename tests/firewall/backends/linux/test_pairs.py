"""Senders, their addresses and their neighbour entries, in the kernel."""

from __future__ import annotations

import pytest
from box import run_on_gateway

pytestmark = pytest.mark.lab

ADMITTED = """
FAR = {4: socket.inet_aton("198.51.100.7"), 6: socket.inet_pton(10, "2001:db8:7::7")}
async def check(backend, seen, come, sends, frame):
    assert isinstance(seen[0], PairsFound) and seen[0].pairs == ()
    nft("-f", "-", given='''table inet other {
        counter slotted { }
        chain f { type filter hook forward priority -170; iifname "lan0" meta mark & 0x00ffc000 == 0x00ffc000 counter name slotted; }
    }''')
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True)), AdmitPair(MAC, A4, 1023), AdmitPair(MAC, A6, 1023)])
    await come(Applied)
    for addr, far in ((A4, FAR[4]), (A6, FAR[6])):
        before = len(seen)
        await frame(udp(MAC, addr, far))
        await come(PacketSeen, before)
        before = len(seen)
        await frame(udp(STRANGER, addr, far, 5354))
        await come(SpoofSeen, before)
        (told,) = [i for i in seen[before:] if isinstance(i, SpoofSeen)]
        assert told.mac == STRANGER and b"forged" in told.packet
        assert not any(isinstance(i, PacketSeen) for i in seen[before:])
        assert len(backend.flows()) == (1 if addr is A4 else 2), backend.flows()
        assert FlowKey(17, addr, 5353, far, 9999) in backend.flows()
    assert "packets 2 " in nft("list", "counter", "inet", "other", "slotted")
    there = shown("ip", "neigh", "show", "dev", "lan0")
    for addr in ("10.77.0.10", "fd77::10"):
        assert f"{addr} lladdr 02:00:00:00:00:02 PERMANENT proto 66" in there, there
    backend.carry_out([AdmitPair(STRANGER, A4, 5), ExpelPair(MAC, A6)])   # moves; goes
    assert "02:00:00:00:00:99 . 10.77.0.10 : 0x00014000" in nft("list", "map", "inet", "consentry", "slots4")
    assert "02:00:00:00:00:02" not in nft("list", "table", "inet", "consentry").replace("story", "")
    there = shown("ip", "neigh", "show", "dev", "lan0", "nud", "permanent")
    assert there.split() == "10.77.0.10 lladdr 02:00:00:00:00:99 PERMANENT proto 66".split(), there
    before = len(seen)
    await frame(udp(STRANGER, A6, FAR[6], 5353))   # what it was allowed under another's name is asked about again
    await come(PacketSeen, before)
    assert not any(isinstance(i, CommandFailed) for i in seen)
"""

NONSENSE = """
async def check(backend, seen, come, sends, frame):
    for mac, addr, slot in ((MAC, socket.inet_aton("10.77.0.1"), 1), (MAC, socket.inet_pton(10, "fd77::1"), 1), (MAC, A4, 0),
        (MAC, A4, 1024), (bytes(6), A4, 1), (b"\\xff" * 6, A4, 1), (MAC, socket.inet_aton("224.0.0.1"), 1), (MAC, bytes(4), 1), (MAC, b"", 1)):
        before = len(seen)
        backend.carry_out([AdmitPair(mac, addr, slot)])
        assert isinstance(seen[-1], CommandFailed) and len(seen) == before + 1, (mac, addr, slot)
    assert "elements" not in nft("list", "map", "inet", "consentry", "slots4")
"""

FROM_NOWHERE = """
async def check(backend, seen, come, sends, frame):
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True))])
    await come(Applied)
    before = len(seen)
    await frame(udp(MAC, socket.inet_aton("203.0.113.77"), socket.inet_aton("198.51.100.7")))
    await frame(udp(MAC, socket.inet_pton(10, "2001:db8:666::1"), socket.inet_pton(10, "2001:db8:7::7")))
    await frame(udp(MAC, A6, socket.inet_pton(10, "2001:db8:7::7")))
    await come(PacketSeen, before)
    (told,) = [i for i in seen[before:] if isinstance(i, PacketSeen)]
    assert told.packet[8:24] == A6
    assert "packets 2 " in nft("list", "counter", "inet", "consentry", "misplaced")
"""

CROWD = """
async def check(backend, seen, come, sends, frame):
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True)), AdmitPair(MAC, A6, 7)])
    await come(Applied)
    far = {4: socket.inet_aton("198.51.100.7"), 16: socket.inet_pton(10, "2001:db8:7::7")}
    def flood(addr):
        flows = [udp(MAC, addr(n), far[len(addr(n))], 10_000 + n, b"payload%d" % n) for n in range(600)]
        code = "import socket, sys; s = socket.socket(17, 3); s.bind(('eth0', 0)); [s.send(bytes.fromhex(l)) for l in sys.stdin]"
        return asyncio.to_thread(subprocess.run, PHONE + [code], input="\\n".join(f.hex() for f in flows), text=True, check=True)
    # the flows of a phone that is known; then those of one under ever new addresses, of both kinds
    new = lambda n: A4[:3] + bytes((30 + n // 2 % 200,)) if n % 2 else A6[:12] + (n + 99).to_bytes(4)
    for addr, least, most in ((lambda n: A6, 600, 600), (new, 190, 450)):
        before = len(seen)
        await flood(addr)
        got = await stands_still(lambda: sum(isinstance(i, PacketSeen) for i in seen[before:]))
        assert least <= got <= most, got
    assert "packets 0 " not in nft("list", "counter", "inet", "consentry", "crowd")
"""

HEALS = """
async def check(backend, seen, come, sends, frame):
    backend.carry_out([AdmitPair(MAC, A4, 3), AdmitPair(MAC, A6, 3), Reconcile(KernelState(1, False, NETWORK, (), True, (3,)))])
    await come(Applied)
    def whole():
        text = nft("list", "table", "inet", "consentry") + shown("ip", "neigh", "show", "nud", "permanent")
        return all(word in text for word in ("02 . 10.77.0.10 : 0x0000c000", "02 . fd77::10 : 0x0000c000", "elements = { 10.77.0.10 }",
            "elements = { fd77::10 }", "elements = { 0x0000c000 }", "10.77.0.10 dev lan0 lladdr 02:00:00:00:00:02 PERMANENT", "fd77::10 dev lan0 lladdr 02:00:00:00:00:02 PERMANENT"))
    assert whole()
    for blow in ("nft flush ruleset", "nft flush map inet consentry slots4", "nft delete element inet consentry owned4 { 10.77.0.10 }",
                 "ip neigh flush dev lan0 nud permanent", "ip neigh del 10.77.0.10 dev lan0", "ip link set lan0 down"):
        before = len(seen)
        shown(*blow.split())
        if "down" in blow:
            assert "10.77" not in shown("ip", "neigh", "show", "nud", "permanent")
            for words in ("ip link set lan0 up", "ip addr add fd77::1/64 dev lan0 nodad"): shown(*words.split())
        await come(Tampered, before)
        assert whole(), (blow, seen[before:])
    shown(*"nft delete element inet consentry owned4 { 10.77.0.10 }".split())
    backend.carry_out([ExpelPair(MAC, A4), AdmitPair(MAC, A4, 3)])   # before anybody has noticed
    await asyncio.sleep(1)
    assert whole()
    assert not any(isinstance(i, CommandFailed) for i in seen), seen
    backend.carry_out([AdmitPair(MAC, socket.inet_aton("10.77.0.33"), 3)])
    await asyncio.sleep(1.5)
    generations = []
    for _ in range(2):
        generations.append(generation(backend._calls))
        await asyncio.sleep(1.5)
    assert generations[0] == generations[1], "whoever looks does not change anything"
"""

WHILE_LOADING = """
async def check(backend, seen, come, sends, frame):
    many = tuple((n.to_bytes(4), n.to_bytes(4)) for n in range(1 << 24, (1 << 24) + 40000, 2))
    gone, stays, moves, new = (bytes([10, 77, 0, n]) for n in (20, 21, 22, 23))
    backend.carry_out([AdmitPair(MAC, gone, 1), AdmitPair(MAC, stays, 1), AdmitPair(MAC, moves, 1)])
    for n, wait in enumerate((0.02, 0.1, 0.2, 0.3)):
        before = len(seen)
        backend.carry_out([Reconcile(KernelState(n, False, many, (), True))])
        await asyncio.sleep(wait)
        backend.carry_out([ExpelPair(MAC, gone), AdmitPair(STRANGER, moves, 2), AdmitPair(MAC, new, 3)])
        await come(Applied, before)
        maps, owned = nft("list", "map", "inet", "consentry", "slots4"), nft("list", "set", "inet", "consentry", "owned4")
        for last, times in ((20, 0), (21, 1), (22, 1), (23, 1)):
            assert maps.count(f"10.77.0.{last}") == owned.count(f"10.77.0.{last}") == times, (last, maps, owned)
        assert "99 . 10.77.0.22 : 0x00008000" in maps
        backend.carry_out([AdmitPair(MAC, gone, 1), AdmitPair(MAC, moves, 1), ExpelPair(MAC, new)])
    await asyncio.sleep(0.5)
    assert not any(isinstance(i, (CommandFailed, Tampered)) for i in seen), seen
"""

FULL = """
async def check(backend, seen, come, sends, frame):
    backend.carry_out([AdmitPair(MAC, (0x0A4E0000 + n).to_bytes(4), 3) for n in range(16_384)])
    assert not any(isinstance(i, CommandFailed) for i in seen), seen[-1]
    one = AdmitPair(STRANGER, A4, 4)
    backend.carry_out([one])
    assert isinstance(seen[-1], CommandFailed) and seen[-1].command is one, seen[-1]
    before = len(seen)
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True))])
    await come(Applied, before)   # what was not admitted is not loaded either: the load would be refused, again and again
    backend.carry_out([ExpelPair(MAC, (0x0A4E0000).to_bytes(4)), one])
    assert "99 . 10.77.0.10 : 0x00010000" in nft("list", "map", "inet", "consentry", "slots4")
    assert sum(isinstance(i, CommandFailed) for i in seen) == 1
"""

COMES_BACK = """
async def check(backend, seen, come, sends, frame):
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True)), AdmitPair(MAC, A4, 9), AdmitPair(MAC, A6, 9)])
    await come(Applied)
    backend.close()
    found = []
    second = LinuxBackend(Settings("lan0", "wan0", run_dir=str(backend._sysctls._memory.parent)))
    await asyncio.to_thread(second.lock)
    second.start(found.extend)
    assert isinstance(found[0], PairsFound) and set(found[0].pairs) == {(MAC, A4, 9), (MAC, A6, 9)}, found
    second.close()
    third = LinuxBackend(Settings("lan0", "wan0", run_dir=str(backend._sysctls._memory.parent)))
    await asyncio.to_thread(third.remove)
    assert "PERMANENT" not in shown("ip", "neigh", "show", "nud", "permanent").replace("33:33:", "")
    backend.close = lambda: None
    backend.remove = lambda: None
"""

WATCHED = """
async def check(backend, seen, come, sends, frame):
    backend.carry_out([Reconcile(KernelState(1, False, NETWORK, NETWORK6, True, (7,)))])
    await come(Applied)
    listed = ("AF_INET", "42.62.48.9"), ("AF_INET6", "2001:dc7::9")
    for one in listed:
        before = len(seen)
        await sends(*one)
        await come(RefusedSeen, before)
    assert not any(isinstance(i, PacketSeen) for i in seen)
    backend.carry_out([RefuseAddress(MAC, LEARNT, 600), RefuseAddress(MAC, LEARNT6, 600), AdmitPair(MAC, A4, 7), AdmitPair(MAC, A6, 7)])
    for one in (*listed, ("AF_INET", "198.51.100.200"), ("AF_INET6", "2001:db8:7::200")):
        before = len(seen)
        await sends(*one)
        await come(PacketSeen, before)
"""

RENAMED = """
async def check(backend, seen, come, sends, frame):
    address = "ip addr replace fd77::1/64 dev {} nodad"   # an interface that goes down loses it
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True)), AdmitPair(MAC, A4, 7), AdmitPair(MAC, A6, 7)])
    await come(Applied)
    nft("-f", "-", given='table inet spy { chain f { type filter hook forward priority 400; counter; }; }')
    for one in BOTH:
        before = len(seen)
        await sends(*one)
        await come(PacketSeen, before)
    assert "packets 2 " in nft("list", "table", "inet", "spy")
    before = len(seen)
    for words in ("ip link set lan0 down", "ip link set lan0 name other0", "ip link set other0 up", address.format("other0")): shown(*words.split())
    for one in BOTH * 3: await sends(*one)
    await come(Tampered, before)
    for one in BOTH * 3: await sends(*one)
    assert any("other0" in i.what for i in seen[before:] if isinstance(i, Tampered)), seen[before:]
    await asyncio.sleep(0.2)
    assert "packets 2 " in nft("list", "table", "inet", "spy")
    before = len(seen)
    for words in ("ip link set other0 down", "ip link set other0 name lan0", "ip link set lan0 up", address.format("lan0")): shown(*words.split())
    await come(Tampered, before)
    for one in BOTH:
        before = len(seen)
        await sends(*one)
        await come(PacketSeen, before)
    for addr in ("10.77.0.10", "fd77::10"):
        assert "PERMANENT" in shown("ip", "neigh", "show", addr)
"""

MADE_ANEW = """
async def check(backend, seen, come, sends, frame):
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True)), AdmitPair(MAC, A4, 7), AdmitPair(MAC, A6, 7)])
    await come(Applied)
    before = len(seen)
    for words in ("ip link set lan0 down", "ip link set lan0 name port0", "ip link add lan0 type bridge", "ip addr flush dev port0",
        "ip link set port0 master lan0", "ip link set port0 up", "ip link set lan0 up", "ip addr add 10.77.0.1/24 dev lan0",
        "ip addr add fd77::1/64 dev lan0 nodad"): shown(*words.split())
    await come(Tampered, before)
    await wait_for(lambda: all("PERMANENT" in shown("ip", "neigh", "show", addr, "dev", "lan0") for addr in ("10.77.0.10", "fd77::10")))
    subprocess.run(PHONE[:4] + ["ip", "neigh", "flush", "dev", "eth0"])
    for one in BOTH:
        before = len(seen)
        await sends(*one)
        await come(PacketSeen, before)
    assert backend.mac_of(A4) == backend.mac_of(A6) == MAC
    assert [backend.on_phones_side(one) for one in (A4, A6, LEARNT, LEARNT6)] == [True, True, False, False]
"""

THE_OTHER_SIDE_ANEW = """
async def check(backend, seen, come, sends, frame):
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True)), AdmitPair(MAC, A4, 7), AdmitPair(MAC, A6, 7)])
    await come(Applied)
    switch = Path("/proc/sys/net/ipv4/conf/wan0/src_valid_mark")
    assert switch.read_text() == "1\\n"
    before = len(seen)
    for words in ("ip link del wan0", "ip link add wan0 type bridge", "ip link set wan0 up", "ip route add default dev wan0",
        "ip -6 route add default dev wan0"): shown(*words.split())
    await come(Tampered, before)
    await wait_for(lambda: switch.read_text() == "1\\n")
    assert not any(isinstance(i, CommandFailed) for i in seen), seen
    for one in BOTH:
        before = len(seen)
        await sends(*one)
        await come(PacketSeen, before)
"""


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(ADMITTED, id="an admitted sender has its slot, and nobody else its address"),
        pytest.param(NONSENSE, id="what no phone can be is not admitted"),
        pytest.param(FROM_NOWHERE, id="a newcomer's address is one of the phones' side"),
        pytest.param(CROWD, id="one sender under ever new addresses is kept from the queue"),
        pytest.param(HEALS, id="pairs and their neighbour entries come back"),
        pytest.param(WHILE_LOADING, id="what is admitted or expelled during a whole load stays so"),
        pytest.param(FULL, id="more pairs than the kernel holds are said, and nothing else is lost"),
        pytest.param(COMES_BACK, id="the next process finds the pairs, and off takes the neighbours out"),
        pytest.param(WATCHED, id="the kernel's own lists are not for phones that are only watched"),
        pytest.param(RENAMED, id="the phones' interface by another name is closed"),
        pytest.param(MADE_ANEW, id="the phones' interface made anew goes on"),
        pytest.param(THE_OTHER_SIDE_ANEW, id="so does the other side"),
    ],
)
def test_the_kernel_holds_pairs(box: tuple[str, str], body: str) -> None:
    run_on_gateway(box, body)
