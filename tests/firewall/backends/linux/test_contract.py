"""What the backend promises about the kernel, in closed namespaces: a phone, a gateway, somebody outside."""

from __future__ import annotations

import pytest
from box import run_on_gateway

pytestmark = pytest.mark.lab

LEARNT_IN_THE_SAME_TURN = """
async def check(backend, seen, come, sends, frame):
    backend.carry_out([Reconcile(KernelState(1, False, NETWORK, (), False)), RefuseAddress(MAC, LEARNT, 600)])
    await come(Applied)
    assert "198.51.100.200" in nft("list", "set", "inet", "consentry", "learned4")
"""

ELEMENTS_TAKEN_OUT = """
async def check(backend, seen, come, sends, frame):
    backend.carry_out([Reconcile(KernelState(1, False, NETWORK, (), True))])
    await come(Applied)
    nft("flush", "set", "inet", "consentry", "refused4")
    await come(Tampered)
    assert "42.62.48" in nft("list", "set", "inet", "consentry", "refused4")
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
    for family, to in (("AF_INET", "198.51.100.7"), ("AF_INET6", "2001:db8:7::7")):
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
    for family, to in (("AF_INET", "198.51.100.7"), ("AF_INET6", "2001:db8:7::7")):
        before = len(seen)
        await sends(family, to)
        await come(PacketSeen, before)
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
        pytest.param(NO_ADVERTISEMENTS, id="who wants no router advertisements gets none"),
    ],
)
def test_the_backend(box: tuple[str, str], body: str) -> None:
    run_on_gateway(box, body)
