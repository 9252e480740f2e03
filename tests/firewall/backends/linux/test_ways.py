"""What a consent opens ends at its time, in the kernel alone. The judge is the sink outside."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from box import GATEWAY, outside, run_on_gateway
from judge import TooLate, in_time

pytestmark = pytest.mark.lab

UPLOADS = Path(__file__).parents[3] / "helpers" / "uploads.py"
SOON = 0.5  # s: measured are a few ms; two cores are shared with other tests
FAR = {4: "198.51.100.7", 6: "2001:db8:7::7"}


@contextmanager
def running(namespace: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    command = ["ip", "netns", "exec", namespace, sys.executable, *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    assert line, process.stderr.read()[-3000:]
    return line.strip()


BEGIN = """
FAR = {4: socket.inet_aton("198.51.100.7"), 6: socket.inet_pton(10, "2001:db8:7::7")}
WAYS = [(far, port) for far in FAR.values() for port in (443, 80)]
def open_all(backend, seconds, slot=7):
    backend.carry_out([OpenWay(slot, far, port, seconds) for far, port in WAYS])
async def begin(backend, come, seconds):
    ANSWER.update({443: (Verdict.CONSENT,), 80: (Verdict.CONSENT, Watch.NAMES)})
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True, (7,))), AdmitPair(MAC, A4, 7), AdmitPair(MAC, A6, 7)])
    await come(Applied)
    began = time.monotonic()
    open_all(backend, seconds)
    print("open", began + seconds if seconds else 0, flush=True)
    return began
"""

HOW = {
    "alive": "await asyncio.sleep(4)",
    "revoked": "await asyncio.sleep(1); t = time.monotonic(); open_all(backend, 0); print('over', t, flush=True); await asyncio.sleep(2)",
    "stopped": "await asyncio.sleep(1); os.kill(os.getpid(), signal.SIGSTOP)",
    "killed": "await asyncio.sleep(1); os.kill(os.getpid(), signal.SIGKILL)",
}


@pytest.mark.parametrize("how", HOW)
def test_the_last_token(tmp_path: Path, how: str) -> None:
    """Of uploads that run through a consent of 2 s, TCP and UDP, IPv4 and IPv6, HTTP that is watched too."""
    body = f"import signal\n{BEGIN}\nasync def check(backend, seen, come, sends, frame):\n    await begin(backend, come, 2.0)\n    {HOW[how]}\n"
    log = tmp_path / "sink"
    with outside() as (gateway, phone, far), ExitStack() as stack:
        sink = stack.enter_context(running(far, str(UPLOADS), "sink", str(log)))
        assert line_of(sink) == "ready"
        senders = [
            stack.enter_context(running(phone, str(UPLOADS), "send", proto, addr, port, "wait"))
            for proto in ("tcp", "udp") for addr in FAR.values() for port in ("443", "80")
        ]
        assert {line_of(sender) for sender in senders} == {"ready"}
        gate = stack.enter_context(running(gateway, "-c", GATEWAY.replace("{body}", body), phone))
        end = float(line_of(gate).removeprefix("open "))
        for sender in senders:
            assert sender.stdin is not None
            print(file=sender.stdin, flush=True)
        if how == "revoked":
            end = float(line_of(gate).removeprefix("over "))
        time.sleep(max(0.0, end + 1.5 - time.monotonic()))
        for sender in senders:
            sender.kill()
        refused = [sender.communicate()[0] for sender in senders]
    arrived: dict[str, list[float]] = {}
    for line in log.read_text().splitlines():
        at, name, port, note = line.split()
        if note.isdigit() and note != "0":
            arrived.setdefault(f"{name}:{port}", []).append(float(at))
    late = {name: round(max(times) - end, 3) for name, times in sorted(arrived.items())}
    print(f"\n{how}: last token after the end, s: {late}")
    if len(late) < 8:
        raise TooLate(f"only these had begun to speak before the end: {late}")
    for name, seconds in late.items():
        # each request of it is for Python to judge; over UDP only what might be a hello of QUIC
        unanswered = how in {"stopped", "killed"} and name in {"tcp4:80", "tcp6:80"}
        in_time(seconds, SOON)
        if unanswered:
            in_time(seconds, -SOON)
        else:
            in_time(-seconds, SOON)
    for told in (refused[0], refused[2]):
        assert "ConnectionResetError" in told or "BrokenPipeError" in told, refused


TALKING = BEGIN + """
import atexit, signal
def arrivals(name, since):
    with open(LOG) as file:
        rows = [line.split() for line in file]
    return [float(at) for at, kind, port, note in rows if f"{kind}:{port}" == name and note.isdigit() and note != "0" and float(at) > since]
TALKERS = []
def talk(*kinds):
    for proto, family, port in kinds:
        to = {4: "198.51.100.7", 6: "2001:db8:7::7"}[family]
        command = ["ip", "netns", "exec", sys.argv[1], sys.executable, UPLOADS, "send", proto, to, str(port)]
        TALKERS.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
def hush():
    while TALKERS:
        TALKERS.pop().kill()
atexit.register(hush)
async def arrive(*names):
    since = time.monotonic()
    await wait_for(lambda: all(arrivals(name, since) for name in names), lambda: (names, since, open(LOG).read()[-2000:]))
ALL = ("tcp4:443", "tcp6:443", "udp4:443", "udp6:443")
FOUR = [(name[:3], int(name[3]), int(name[5:])) for name in ALL]
"""

KEPT = TALKING + """
async def check(backend, seen, come, sends, frame):
    since = time.monotonic()
    await begin(backend, come, 0)
    began = time.monotonic()
    LIFE = 5 + 20 * (began - since)   # s, for what comes before its end: that is five such loads
    open_all(backend, LIFE)
    talk(*FOUR)
    await arrive(*ALL)
    for n in range(2, 5):
        before = len(seen)
        backend.carry_out([Reconcile(KernelState(n, False, NETWORK, (), n % 2 == 0, (7,)))])
        await come(Applied, before)
        await arrive(*ALL)
    before = len(seen)
    nft("flush", "ruleset")
    await come(Tampered, before)
    await arrive(*ALL)
    backend.close()
    second = LinuxBackend(Settings("lan0", "wan0", run_dir=str(backend._sysctls._memory.parent)))
    await asyncio.to_thread(second.lock)
    second.start(seen.extend)
    found = second._ways.left()
    assert {way[1:] for way in found} == set(WAYS), found
    assert all(abs(left - (began + LIFE - time.monotonic())) < 1.5 for left in found.values()), found
    before = len(seen)
    second.carry_out([Reconcile(KernelState(9, False, (), (), True, (7,)))])
    await come(Applied, before)
    await arrive(*ALL)
    assert set(second.flows().values()) == {Verdict.CONSENT}
    assert {(flow.dst, flow.dport) for flow in second.flows()} == {(far, 443) for far in FAR.values()}, second.flows()
    await asyncio.sleep(began + LIFE + 2 - time.monotonic())
    late = {name: max(arrivals(name, 0)) - began - LIFE for name in ALL}
    if not all(-1.5 < seconds < 1.5 for seconds in late.values()):
        raise TooLate(late, LIFE)
    assert second.flows() == {}
    second.close()
    backend.close = lambda: None
    assert not any(isinstance(i, CommandFailed) for i in seen), seen
"""

ONLY_THAT = TALKING + """
async def check(backend, seen, come, sends, frame):
    await begin(backend, come, None)
    open_all(backend, 0)
    backend.carry_out([OpenWay(8, far, 443, None) for far in FAR.values()] + [OpenWay(7, far, 444, None) for far in FAR.values()])
    talk(*FOUR)
    await wait_for(lambda: sum(isinstance(i, PacketSeen) for i in seen) >= 4)
    await asyncio.sleep(0.5)
    assert not any(arrivals(name, 0) for name in ALL), "another phone's way, or one to another port"
    assert backend.flows() == {}
    open_all(backend, None)
    await arrive("udp4:443", "udp6:443")   # asked about again with each datagram: what was never let through is no connection
    assert {flow.proto for flow in backend.flows()} == {17}, "TCP has been reset"
    talk(*FOUR)
    await arrive(*ALL)
"""

TAKEN_BACK = TALKING + """
async def check(backend, seen, come, sends, frame):
    await begin(backend, come, None)
    talk(*FOUR)
    await arrive(*ALL)
    flows = backend.flows()
    assert len(flows) == 4 and {flow.dport for flow in flows} == {443}
    at = time.monotonic()
    backend.carry_out([MarkFlow(flow, Verdict.BLOCK) for flow in flows])
    await asyncio.sleep(2)
    late = {name: max(arrivals(name, 0)) - at for name in ALL}
    print({name: round(seconds, 4) for name, seconds in late.items()}, file=sys.stderr)
    if max(late.values()) > 1.5:
        raise TooLate(late)
    assert backend.flows() == {}
    talk(*FOUR)
    await arrive(*ALL)
    before = len(seen)
    backend.carry_out([ForgetFlows()])
    await come(PacketSeen, before)   # UDP is asked about again; TCP was reset
    await wait_for(lambda: {flow.proto for flow in backend.flows()} == {17}, backend.flows)
"""

SOMEBODY = TALKING + """
def elements():
    return nft("list", "set", "inet", "consentry", "consents4")
async def check(backend, seen, come, sends, frame):
    await begin(backend, come, 60)
    for blow, told in (("nft delete element inet consentry consents4 { 0x0001c000 . 198.51.100.7 . 443 }", True),
                 ("nft add element inet consentry consents4 { 0x0001c000 . 192.0.2.1 . 443 }", True), ("nft flush set inet consentry consents4", True)):
        before = len(seen)
        shown(*blow.split())
        await come(Tampered, before)
        assert elements().count("198.51.100.7 . ") == 2 and "192.0.2.1" not in elements(), elements()
    talk(*FOUR)
    await arrive(*ALL)
    assert not any(isinstance(i, CommandFailed) for i in seen), seen
"""

WITHOUT_US = TALKING + """
async def check(backend, seen, come, sends, frame):
    await begin(backend, come, 60)
    blows = ("nft flush chain inet consentry consented", "nft flush set inet consentry consents4; nft flush set inet consentry consents6",
        "nft flush chain inet consentry from_phone", "nft flush ruleset", "nft delete chain inet consentry seal; nft flush chain inet consentry consented")
    for n, blow in enumerate(blows):
        talk(*FOUR)
        await arrive(*ALL)
        script = f"sleep 0.3; {blow}; sleep 1.5; kill -CONT {os.getpid()}"
        subprocess.Popen(["sh", "-c", script])
        os.kill(os.getpid(), signal.SIGSTOP)   # nobody puts it right
        back = time.monotonic()
        late = {name: [at for at in arrivals(name, back - 0.9) if at < back - 0.05] for name in ALL}
        assert not any(late.values()), (blow, back, late)
        before = len(seen)
        await come(Tampered, max(0, before - 3))
        hush()
"""

REVERSE_PATH = TALKING + """
async def check(backend, seen, come, sends, frame):
    await begin(backend, come, None)
    for value in "012":
        for name in ("all", "lan0", "wan0"):
            Path(f"/proc/sys/net/ipv4/conf/{name}/rp_filter").write_text(value)
        talk(*FOUR)
        await arrive(*ALL)
        hush()
"""

FIRST_OF_ALL = TALKING + """
async def check(backend, seen, come, sends, frame):
    await begin(backend, come, None)
    backend.carry_out([ExpelPair(MAC, A4), ExpelPair(MAC, A6)])
    FIRST[:] = [AdmitPair(MAC, A4, 7), AdmitPair(MAC, A6, 7)]
    talk(FOUR[0], FOUR[1])
    await arrive("tcp4:443", "tcp6:443")
    assert len(backend._newcomers) == len(backend._kept) == 0
"""

FULL = TALKING + """
async def check(backend, seen, come, sends, frame):
    await begin(backend, come, None)
    many = [OpenWay(9, n.to_bytes(4), 443, 600) for n in range(1 << 24, (1 << 24) + 16_384 - len(WAYS) // 2)]
    backend.carry_out(many)
    assert not any(isinstance(i, CommandFailed) for i in seen), seen[-1]
    one = OpenWay(9, bytes([9, 9, 9, 9]), 443, 600)
    backend.carry_out([one])
    assert isinstance(seen[-1], CommandFailed) and seen[-1].command is one, seen[-1]
    before = len(seen)
    backend.carry_out([Reconcile(KernelState(2, False, (), (), True, (7,)))])
    await come(Applied, before)
    talk(*FOUR)
    await arrive(*ALL)
    backend.carry_out([OpenWay(9, many[0].addr, 443, 0), one])
    assert not any(isinstance(i, CommandFailed) for i in seen[before:])
"""


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(KEPT, id="whole loads, a flush and the next process leave a way its time"),
        pytest.param(ONLY_THAT, id="a way is for one phone, one address, one port"),
        pytest.param(TAKEN_BACK, id="a consented flow is refused, forgotten and counted as an allowed one is"),
        pytest.param(SOMEBODY, id="what somebody makes of the ways is told and put right"),
        pytest.param(WITHOUT_US, id="whatever is lost while nobody looks, it is closed"),
        pytest.param(REVERSE_PATH, id="whatever rp_filter says"),
        pytest.param(FIRST_OF_ALL, id="the packet that a phone becomes known by passes as well"),
        pytest.param(FULL, id="more ways than the kernel holds are said, and nothing is lost"),
    ],
)
def test_ways(tmp_path: Path, body: str) -> None:
    log = tmp_path / "sink"
    with outside() as (gateway, phone, far), running(far, str(UPLOADS), "sink", str(log)) as sink:
        assert line_of(sink) == "ready"
        run_on_gateway((gateway, phone), f"LOG, UPLOADS = {str(log)!r}, {str(UPLOADS)!r}\n{body}")
