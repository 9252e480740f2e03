"""The gate's own packet, in a real kernel: what it proves while all is well, and what it says when it is not."""

from __future__ import annotations

import pytest
from box import run_on_gateway

pytestmark = pytest.mark.lab

ROUNDS = """
async def told(backend):
    backend.probe()
    await asyncio.sleep(0.2)
    return backend.probe()

async def check(backend, seen, come, sends, frame):
    ANSWERED = [1]
    def deliver(batch):
        seen.extend(batch)
        backend.carry_out([GiveVerdict(p.id, Verdict.ALLOW) for p in batch if isinstance(p, (PacketSeen, ProbeSeen)) and ANSWERED])
    backend._deliver = deliver
    assert backend.probe() is None  # the first
    assert await told(backend) == ""
    assert any(isinstance(i, ProbeSeen) for i in seen)
    assert not any(isinstance(i, PacketSeen) for i in seen)

    ANSWERED.clear()  # a loop that reads and does not answer
    assert "did not come back" in await told(backend)
    ANSWERED.append(1)
    await asyncio.sleep(0.1)
    assert await told(backend) == ""

    nft("-f", "-", given="table inet other { chain early { type filter hook output priority -400; oifname lo drop; }; }")  # lost on the way
    assert "cannot be sent" in (said := await told(backend)), said

    nft("delete", "table", "inet", "other")
    for tool in ("iptables-nft", "ip6tables-nft"):
        subprocess.run([tool, "-t", "mangle", "-F"], capture_output=True)
    nft("flush", "chain", "inet", "consentry", "probe")
    nft("flush", "chain", "inet", "consentry", "queued")
    await asyncio.sleep(0.2)
    assert "the queue rule is gone" in (said := await told(backend)), said

    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
    assert "lo is down" in (said := await told(backend)), said
"""

UNFORGEABLE = """
async def check(backend, seen, come, sends, frame):
    from firewall.backends.linux import marks
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True))])
    await come(Applied)
    nft("-f", "-", given=f'table inet other {{ chain early {{ type filter hook prerouting priority -300; iifname "lan0" meta mark set {marks.PROBE}; }}; }}')
    for one in BOTH:
        before = len(seen)
        await sends(*one)
        await come(PacketSeen, before)
    assert not any(isinstance(i, ProbeSeen) for i in seen)  # also if another program gives its packets our probe's mark
"""


@pytest.mark.parametrize("body", [ROUNDS, UNFORGEABLE])
def test_the_probe(box: tuple[str, str], body: str) -> None:
    run_on_gateway(box, "from firewall.inputs import ProbeSeen\n" + body)
