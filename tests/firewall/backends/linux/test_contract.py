"""What the backend promises about the kernel, in closed namespaces: a phone, a gateway, somebody outside."""

from __future__ import annotations

import pytest
from box import run_on_gateway

pytestmark = pytest.mark.lab

LEARNT_IN_THE_SAME_TURN = """
async def check(backend, seen, come, sends, frame):
    backend.carry_out([Reconcile(KernelState(1, False, NETWORK, (), False)), RefuseAddress(MAC, LEARNT, 600), RefuseAddress(MAC, LEARNT6, 600)])
    await come(Applied)
    assert "198.51.100.200" in nft("list", "set", "inet", "consentry", "learned4")
    assert "2001:db8:7::200" in nft("list", "set", "inet", "consentry", "learned6")
"""

ELEMENTS_TAKEN_OUT = """
async def check(backend, seen, come, sends, frame):
    backend.carry_out([Reconcile(KernelState(1, False, NETWORK, NETWORK6, True))])
    await come(Applied)
    for name, network in (("refused4", "42.62.48"), ("refused6", "2001:dc7::")):
        before = len(seen)
        nft("flush", "set", "inet", "consentry", name)
        await come(Tampered, before)
        assert network in nft("list", "set", "inet", "consentry", name)
"""

EXEMPT = """
async def check(backend, seen, come, sends, frame):
    def slots():
        return {int(word, 16) >> 14 for word in re.findall("0x[0-9a-f]{8}", nft("list", "set", "inet", "consentry", "exempt"))}
    backend.carry_out([Reconcile(KernelState(1, False, NETWORK, (), True, (3,))), Exempt(5, True), Exempt(3, False)])
    await come(Applied)  # asked for while the load was under way
    assert slots() == {5}
    backend.carry_out([Exempt(5, True), Exempt(7, True), Exempt(9, False)])  # once more, another, and one that is not there
    assert slots() == {5, 7}
    nft("flush", "set", "inet", "consentry", "exempt")
    await come(Tampered)
    assert slots() == {5, 7}
    backend.carry_out([Exempt(5, False)])
    assert slots() == {7}
    assert not any(isinstance(i, CommandFailed) for i in seen)
"""

OTHER_BASE_CHAIN = """
async def check(backend, seen, come, sends, frame):
    backend.carry_out([Reconcile(KernelState(1, False, NETWORK, (), True))])
    await come(Applied)
    nft("-f", "-", given="delete table inet consentry\\ntable inet consentry { chain seal { type filter hook forward priority 5; }; }")
    await come(Tampered)
    assert not any(isinstance(i, CommandFailed) for i in seen)
    assert "unanswered" in nft("list", "chain", "inet", "consentry", "seal")
"""

OTHERS_MARKS = """
async def check(backend, seen, come, sends, frame):
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True))])
    await come(Applied)
    nft("-f", "-", given='''table inet other {
        counter kept { }
        chain early { type filter hook prerouting priority -300; iifname "lan0" meta mark set meta mark | 0x2a; }
        chain late { type filter hook postrouting priority 300; udp dport 9999 meta mark & 0x3fff == 0x2a counter name kept; }
    }''')
    for family, to in BOTH:
        before = len(seen)
        await sends(family, to)
        await come(PacketSeen, before)
        await asyncio.sleep(0)  # the verdict has been given in the turn that brought the packet
    assert "packets 2 " in nft("list", "counter", "inet", "other", "kept")
"""

OTHERS_RESTORE_MARKS = """
async def check(backend, seen, come, sends, frame):
    nft("-f", "-", given='''table inet other {
        chain premangle { type filter hook prerouting priority -150; meta l4proto udp meta mark set ct mark; }
    }''')
    nft("delete", "table", "inet", "consentry")  # so that ours is the younger one
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True))])
    await come(Applied)
    for family, to in BOTH:
        before = len(seen)
        await sends(family, to)
        await come(PacketSeen, before)
"""

DEAFENED = """
def deafen(backend):
    # room for two or three messages in each socket, and nobody who reads them while the blows fall
    for source in backend._sources:
        hears = getattr(source, "socket", getattr(source, "_socket", source))
        hears.setsockopt(socket.SOL_SOCKET, 33, 1)
"""

LOST_CHANGES = DEAFENED + """
async def check(backend, seen, come, sends, frame):
    backend.carry_out([Reconcile(KernelState(1, False, NETWORK, (), True))])
    await come(Applied)
    await asyncio.sleep(3)
    deafen(backend)
    before = len(seen)
    for n in range(20):
        nft("add", "table", "inet", f"other{n}")
    nft("flush", "set", "inet", "consentry", "refused4")
    for n in range(20):
        nft("delete", "table", "inet", f"other{n}")
    await come(Tampered, before)
    assert "42.62.48" in nft("list", "set", "inet", "consentry", "refused4")
"""

LOST_LINKS = DEAFENED + """
async def check(backend, seen, come, sends, frame):
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True)), AdmitPair(MAC, A4, 7)])
    await come(Applied)
    deafen(backend)
    before = len(seen)
    for n in range(20):
        shown("ip", "link", "add", f"d{n}", "type", "bridge")
        shown("ip", "neigh", "replace", f"10.77.0.{100 + n}", "lladdr", "02:00:00:00:00:77", "dev", "lan0")
    shown("ip", "-4", "rule", "del", "pref", "0", "iif", "lan0")
    shown("ip", "neigh", "del", "10.77.0.10", "dev", "lan0")
    for n in range(20):
        shown("ip", "link", "del", f"d{n}")
    await come(Tampered, before)
    await wait_for(lambda: "blackhole" in shown("ip", "-4", "rule", "show", "pref", "0"))
    await wait_for(lambda: "PERMANENT" in shown("ip", "neigh", "show", "10.77.0.10", "dev", "lan0"))
"""

LOST_ENDS = DEAFENED + """
MANY = "import socket; [socket.socket(family, socket.SOCK_DGRAM).sendto(b'x', (to, 10_000 + n)) for n in range(100) for family, to in ((2, '198.51.100.7'), (10, '2001:db8:7::7'))]"
async def check(backend, seen, come, sends, frame):
    from firewall.inputs import FlowCounted
    ends = lambda: [i for i in seen if isinstance(i, FlowCounted) and i.ended]
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True)), AdmitPair(MAC, A4, 7), AdmitPair(MAC, A6, 7)])
    await come(Applied)
    await asyncio.to_thread(subprocess.run, PHONE + [MANY], check=True)
    await wait_for(lambda: len(backend.flows()) >= 200)
    deafen(backend)
    shown("conntrack", "-F")
    await wait_for(ends)
    assert await stands_still(lambda: len(ends())) < 200
    for one in BOTH:
        await sends(*one)
    await wait_for(lambda: len(backend.flows()) >= 2)
    told = len(ends())
    shown("conntrack", "-F")
    await wait_for(lambda: len(ends()) > told)  # what comes after is heard again
"""

ENDS_FIRST = """
MANY = "import socket; [socket.socket(family, socket.SOCK_DGRAM).sendto(b'x', (to, 10_000 + n)) for n in range(100) for family, to in ((2, '198.51.100.7'), (10, '2001:db8:7::7'))]"
async def check(backend, seen, come, sends, frame):
    from firewall.inputs import FlowCounted
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True)), AdmitPair(MAC, A4, 7), AdmitPair(MAC, A6, 7)])
    await come(Applied)
    await asyncio.to_thread(subprocess.run, PHONE + [MANY], check=True)
    await wait_for(lambda: len(backend.flows()) >= 200)
    before = len(seen)
    shown("conntrack", "-F")  # nobody listens until both are there: more ends than a turn tells, and behind them a packet
    subprocess.run(PHONE + [MANY.replace("range(100)", "range(1)")], check=True)
    await come(PacketSeen, before)
    later = seen[before:]
    packet = next(n for n, i in enumerate(later) if isinstance(i, PacketSeen))
    told = [n for n, i in enumerate(later) if isinstance(i, FlowCounted) and i.ended]
    assert len(told) >= 200 and all(n < packet for n in told[:200]), (packet, told)
"""

LOST_PACKETS = DEAFENED + """
MANY = "import socket, time; [socket.socket(family, socket.SOCK_DGRAM).sendto(b'x' * 900, (to, 10_000 + n)) for n in range(150) for family, to in ((2, '198.51.100.7'), (10, '2001:db8:7::7'))]"
async def check(backend, seen, come, sends, frame):
    backend.carry_out([Reconcile(KernelState(1, False, NETWORK, NETWORK6, True)), AdmitPair(MAC, A4, 7), AdmitPair(MAC, A6, 7)])
    await come(Applied)
    nft("-f", "-", given='''table inet spy { counter out { }; chain f { type filter hook postrouting priority 400;
        ip daddr 198.51.100.7 counter name out; ip6 daddr 2001:db8:7::7 counter name out; }; }''')
    deafen(backend)
    subprocess.run(PHONE + [MANY], check=True)
    listed = MANY.replace("198.51.100.7", "42.62.48.9").replace("2001:db8:7::7", "2001:dc7::9")
    subprocess.run(PHONE + [listed], stderr=subprocess.DEVNULL)  # it may be told that nobody lets it there
    asked = await stands_still(lambda: sum(isinstance(i, PacketSeen) for i in seen))
    lost = backend.gauges().lost
    assert 0 < asked < 300 and lost == 300 - asked, (asked, lost)
    assert f"packets {asked} " in nft("list", "table", "inet", "spy"), "what nobody was asked about went nowhere"
    before = len(seen)
    for one in BOTH:
        before = len(seen)
        await sends(*one)
        await come(PacketSeen, before)
"""

FILLING = """
MANY = "import socket; [socket.socket(socket.AF_{0}, socket.SOCK_DGRAM).sendto(b'x', ('{1}', 10_000 + n)) for n in range({2})]"
async def check(backend, seen, come, sends, frame):
    from firewall.backends.linux import counting, nftables
    from firewall.inputs import Strained
    counting._MOST_FLOWS = Path(backend._sysctls._memory.parent, "most")   # the kernel's own is the whole machine's
    counting._MOST_FLOWS.write_text("1000")
    other = socket.inet_pton(10, "fd77::10")
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True)), AdmitPair(MAC, A4, 7), AdmitPair(MAC, other, 8)])
    await come(Applied)
    packets = lambda: sum(isinstance(i, PacketSeen) for i in seen)
    async def flood(family, to, count):
        before = packets()
        await asyncio.to_thread(subprocess.run, PHONE + [MANY.format(family, to, count)], check=True)
        return await stands_still(packets) - before
    assert "budgets" not in nft("list", "chain", "inet", "consentry", "permit")
    assert await flood("INET", "198.51.100.7", 600) == 600
    await come(Strained)
    await wait_for(lambda: "budgets" in nft("list", "chain", "inet", "consentry", "permit"))
    got = await flood("INET", "198.51.100.7", 4000)
    assert 900 <= got <= 2500, got
    assert await flood("INET6", "2001:db8:7::7", 100) == 100, "another phone has its own share"
    assert "packets 0 " not in nft("list", "counter", "inet", "consentry", "strained")
    shown("conntrack", "-F")
    await wait_for(lambda: "budgets" not in nft("list", "chain", "inet", "consentry", "permit"))
    for n in range(150):
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 10_000 + n))   # these begin nowhere
    assert "timeout 1m" not in nft("list", "chain", "inet", "consentry", "begun")
    nftables.MOST_OF_ONE = 300
    counting.MOST_BEGUN, said = 400, sum(isinstance(i, Strained) for i in seen)   # beginnings that are left behind
    opens = MANY.replace("DGRAM).sendto(b'x', (", "STREAM | 2048).connect_ex((")
    await asyncio.to_thread(subprocess.run, PHONE + [opens.format("INET", "198.51.100.7", 150)], check=True)
    shown("conntrack", "-F")
    await wait_for(lambda: sum(isinstance(i, Strained) for i in seen) > said)
    await wait_for(lambda: "budgets" in nft("list", "chain", "inet", "consentry", "permit"))
    assert 150 <= backend._ends.unjudged < 250
    assert "timeout 1m" in nft("list", "chain", "inet", "consentry", "begun"), "and makes room sooner"
    for family, to, count, most in (("INET6", "2001:db8:7::7", 600, 300), ("INET", "198.51.100.7", 100, 100)):  # each its own
        await asyncio.to_thread(subprocess.run, PHONE + [opens.format(family, to, count)], check=True)
        listed = "conntrack", "-L", "-p", "tcp", "-f", "ipv6" if "6" in family else "ipv4", "-d", to
        there = await stands_still(lambda: len(shown(*listed).splitlines()))
        assert most - 5 <= there <= most + 5, (there, most)
    shown("conntrack", "-F")
    counting.BEGUN_SECONDS = 0.0   # they are forgotten
    await wait_for(lambda: "budgets" not in nft("list", "chain", "inet", "consentry", "permit"))
    assert not any(isinstance(i, (Tampered, CommandFailed)) for i in seen)
"""

WATCHED_DATAGRAMS = """
FLOW = '''
import socket, struct, sys
s = socket.socket(getattr(socket, sys.argv[1]), socket.SOCK_DGRAM)
s.connect((sys.argv[2], 9998))
s.send(b"first")
sys.stdin.readline()
for data in map(bytes.fromhex, sys.argv[3:]):
    s.send(data)
s.sendmsg([bytes(3_000)], [(17, 103, struct.pack("=H", 1_200))])   # SOL_UDP, UDP_SEGMENT: a train
'''
V1, V2, NEW = b"\\xc3\\0\\0\\0\\1", b"\\x9b\\x6b\\x33\\x43\\xcf", b"\\xc0\\x1a\\x2a\\x3a\\x4a"
MAY_NAME = [V1 + bytes(1_195), V1 + bytes(60), V2 + bytes(60), NEW + bytes(1_195)]
RTP = b"\\x80\\x60" + bytes(1_100)
OTHERS = [b"", b"x", b"\\x80", b"\\x40" + bytes(1_400), b"\\x7f" + bytes(1_199), RTP, NEW + bytes(1_194), bytes(1_400)]

async def check(backend, seen, come, sends, frame):
    ANSWER[9998] = Verdict.ALLOW, Watch.NAMES
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True)), AdmitPair(MAC, A4, 7), AdmitPair(MAC, A6, 7)])
    await come(Applied)
    for family, to in BOTH:
        before = len(seen)
        words = [data.hex() for pair in zip(OTHERS, MAY_NAME * 2) for data in pair]
        with subprocess.Popen(PHONE + [FLOW, family, to, *words], stdin=subprocess.PIPE) as phone:
            await come(PacketSeen, before)  # and is answered in the same turn
            await asyncio.to_thread(phone.communicate, b"\\n")
        await wait_for(lambda: len(getattr(seen[-1], "packet", b"")) > 3_000)  # the train, behind them all
        shown = [(i.watched, i.packet[48 if family == "AF_INET6" else 28:]) for i in seen[before:] if isinstance(i, PacketSeen)]
        assert shown == [(False, b"first"), *((True, data) for data in MAY_NAME * 2), (True, bytes(3_000))], [(w, len(d), d[:5]) for w, d in shown]
"""

LOST_WHILE_LOADED = """
async def check(backend, seen, come, sends, frame):
    load, tools = backend._rules.load, backend._rules._tools
    def spoilt(*args, **words):
        load(*args, **words)
        backend._rules.load = load
        for tool in tools:
            subprocess.run([tool, "-w", "-t", "mangle", "-F", "FORWARD"], check=True)
        tools or nft("flush", "chain", "inet", "consentry", "queued")
    backend._rules.load = spoilt
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True))])
    await come(Tampered)
    assert all("NFQUEUE" in shown(tool, "-t", "mangle", "-S", "FORWARD") for tool in tools)
"""

TEREDO = """
async def check(backend, seen, come, sends, frame):
    form = socket.inet_pton(10, "64:ff9b::2a3e:3000"), socket.inet_pton(10, "64:ff9b::2a3e:30ff")
    other, listed, nat64 = "2001:0:102:304:8000:1:d5c1:ceff", "2001:0:102:304:8000:1:d5c1:cf4a", "2001:1:102:304:8000:1:d5c1:cf4a"
    for n, teredo in enumerate((True, False), 1):
        backend.carry_out([Reconcile(KernelState(n, False, (), (form,), True, (), teredo)), AdmitPair(MAC, A6, 7)])
        await come(Applied, before := len(seen))
        for addr in (listed, other, nat64):
            try:
                await sends("AF_INET6", addr)
            except subprocess.CalledProcessError:
                pass
        told = await wait_for(lambda: len(them := [i for i in seen[before:] if isinstance(i, (PacketSeen, RefusedSeen))]) == 3 and them)
        found = {socket.inet_ntop(10, i.packet[24:40]): type(i) for i in told}
        assert found == {listed: RefusedSeen if teredo else PacketSeen, other: PacketSeen, nat64: PacketSeen}, found
"""

NO_ADVERTISEMENTS = """
async def check(backend, seen, come, sends, frame):
    assert Path("/proc/sys/net/ipv6/conf/wan0/accept_ra").read_text() == "0\\n"
"""


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(LEARNT_IN_THE_SAME_TURN, id="what a turn teaches after an edit outlives the load of that edit"),
        pytest.param(ELEMENTS_TAKEN_OUT, id="elements that somebody takes out come back"),
        pytest.param(EXEMPT, id="who the kernel's lists are not for is told one by one, and stays told"),
        pytest.param(OTHER_BASE_CHAIN, id="a table with other base chains is replaced"),
        pytest.param(OTHERS_MARKS, id="a packet that was asked about keeps other programs' bits"),
        pytest.param(OTHERS_RESTORE_MARKS, id="a program that restores whole marks does not shut the phones out"),
        pytest.param(LOST_CHANGES, id="more changes of the rules than the socket holds are looked after"),
        pytest.param(LOST_WHILE_LOADED, id="a queue rule that is lost before a load was looked at comes back"),
        pytest.param(LOST_LINKS, id="more changes of links and neighbours than the socket holds, too"),
        pytest.param(LOST_ENDS, id="ends of flows that nobody was told of harm nobody"),
        pytest.param(ENDS_FIRST, id="ends of flows are heard before packets that came after them"),
        pytest.param(LOST_PACKETS, id="packets for which the queue has no room go nowhere, and are counted"),
        pytest.param(FILLING, id="one phone does not fill the connection table"),
        pytest.param(WATCHED_DATAGRAMS, id="of a watched UDP flow Python sees what could name another host"),
        pytest.param(TEREDO, id="a listed IPv4 address is refused as Teredo's client where the rules allow that short cut"),
        pytest.param(NO_ADVERTISEMENTS, id="who wants no router advertisements gets none"),
    ],
)
def test_the_backend(box: tuple[str, str], body: str) -> None:
    run_on_gateway(box, body)
