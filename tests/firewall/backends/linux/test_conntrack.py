"""Taking a verdict back of flows that no rule sees any more, on a real connection table in a namespace of our own."""

from __future__ import annotations

import subprocess
import sys

import pytest

KERNEL = """
import socket, subprocess
from firewall.backends.linux import conntrack, counting, marks, nfnl
from firewall.commands import MarkFlow
from firewall.inputs import FlowKey
from rules.verdict import Verdict

def sh(*words, given=None): return subprocess.run(words, input=given, capture_output=True, text=True, check=True).stdout
sh("ip", "link", "set", "lo", "up")
open("/proc/sys/net/netfilter/nf_conntrack_acct", "w").write("1")
sh("nft", "-f", "-", given=f'''table inet t {{
 chain o {{ type filter hook output priority 0; ct mark 0 ct mark set {marks.ALLOWED | 5}; }}
}}''')
net = nfnl.Netlink()

def entry(flow):
    found = [conntrack.counted(body) for value in (marks.ALLOWED, marks.BLOCKED) for _, body in net.dump(conntrack.dump_marked(value, marks.VERDICT))]
    return next((one for one in found if one.flow == flow), None)

sinks = [socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6)]
for sink, place in zip(sinks, ("127.0.0.9", "::1")): sink.bind((place, 999))

def udp():
    s = socket.socket(socket.AF_INET6 if V6 else socket.AF_INET, socket.SOCK_DGRAM); s.connect((PLACE, 999)); s.send(b"token")
    family = socket.AF_INET6 if V6 else socket.AF_INET
    packed = socket.inet_pton(family, PLACE), socket.inet_pton(family, s.getsockname()[0])
    return s, FlowKey(17, packed[1], s.getsockname()[1], packed[0], 999)

for V6, PLACE in ((False, "127.0.0.9"), (True, "::1")):
    refuse = lambda flow: MarkFlow(flow, Verdict.BLOCK)
    s, flow = udp()
    assert not conntrack.is_offloaded(net, flow)
    before = entry(flow)
    conntrack.change(net, refuse(flow), offloads=True)
    after = entry(flow)   # not offloaded: the same entry, with another mark
    assert after.mark == marks.BLOCKED | 5 and after.up == before.up > 0, after

    s, flow = udp()
    really, conntrack.is_offloaded = conntrack.is_offloaded, lambda *_: True
    conntrack.change(net, refuse(flow), offloads=True)
    after = entry(flow)   # offloaded: another entry, that has counted nothing and refuses already
    assert after.mark == marks.BLOCKED and after.up == 0, after
    s.send(b"more")
    assert entry(flow).mark == marks.BLOCKED and entry(flow).up > 0

    s, flow = udp()
    conntrack.change(net, MarkFlow(flow, Verdict.HELD), offloads=True)
    assert entry(flow) is None   # begins anew with its next packet

    s, flow = udp()
    conntrack.change(net, refuse(flow), offloads=False)
    assert entry(flow).mark == marks.BLOCKED | 5
    conntrack.is_offloaded = really

# Ends are told whole; what had to wait for another look says so, and nothing after it.
counting.MOST_ENDS, ends = 3, counting.Ends()
sockets = [udp()[0] for _ in range(5)]
net.call(conntrack.forget_marked(marks.PASSING, marks.PASSING))
told = [ends.ended() for _ in range(4)]
late = [[one.late for one in batch] for batch in told]
assert late[0] == [False] * 3 and {one for batch in late[1:3] for one in batch} == {True} and sum(map(len, late)) >= 5, late
while ends.ended(): pass
sockets.append(udp()[0])
net.call(conntrack.forget_marked(marks.PASSING, marks.PASSING))
assert [one.late for one in ends.ended()] == [False]

try: conntrack.change(net, refuse(flow._replace(sport=1)), offloads=True); raise SystemExit("no error")
except FileNotFoundError: pass
assert not conntrack.is_offloaded(net, flow._replace(sport=1))
print("all of it")
"""


@pytest.mark.lab
def test_the_kernel_takes_a_verdict_back() -> None:
    done = subprocess.run(["unshare", "-n", sys.executable, "-c", KERNEL], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "all of it\n", done.stderr[-2000:]


QUESTIONS = r"""
import socket, subprocess
from firewall.backends.linux import conntrack, nfnl

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
def nft(text): subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)
def turned(chain): nft(f"table inet t {{\n chain o {{ type nat hook output priority -100; {chain} }}\n chain f {{ type filter hook output priority 0; ct state new; }}\n}}")
phones = {"127.0.0.7": socket.AF_INET, "::1": socket.AF_INET6}
net, held = nfnl.Netlink(), []

def asks(src, dst, port=53):
    s = socket.socket(phones.get(src, socket.AF_INET), socket.SOCK_DGRAM); s.bind((src, 0)); held.append(s)
    try: s.connect((dst, port)); s.send(b"?")
    except ConnectionRefusedError: pass
    return s.getsockname()[1]

def there():
    found = [conntrack.attributes(body) for _, body in net.dump(conntrack.dump_marked(0, 0))]
    return {conntrack._flow(one[1]).sport for one in found}

turned("")
lost = {asks("127.0.0.7", "127.0.0.9"), asks("::1", "::1")}
others = {asks("127.0.0.7", "127.0.0.9", 54), asks("127.0.0.8", "127.0.0.9")}
nft("flush chain inet t o")
turned("udp dport 53 redirect to :5300;")
others |= {asks("127.0.0.7", "127.0.0.9"), asks("::1", "::1")}
assert there() >= lost | others, (there(), lost, others)
conntrack.forget_questions({socket.inet_pton(family, text) for text, family in phones.items()}.__contains__)
assert not there() & lost and there() >= others, (there(), lost, others)
"""


@pytest.mark.lab
def test_questions_that_began_while_nobody_turned_them_to_us_are_forgotten_and_no_others() -> None:
    done = subprocess.run(["unshare", "-n", sys.executable, "-c", QUESTIONS], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
