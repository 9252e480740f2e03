"""What a consent opens ends at its time, in the kernel alone. The judge is the sink outside."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from box import GATEWAY, outside

pytestmark = pytest.mark.lab

UPLOADS = Path(__file__).parents[3] / "helpers" / "uploads.py"
SOON = 0.5  # s: measured are a few ms; two cores are shared with other tests
FAR = {4: "198.51.100.7", 6: "2001:db8:7::7"}


@contextmanager
def running(namespace: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    command = ["ip", "netns", "exec", namespace, sys.executable, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
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
    ANSWER.update({443: (Verdict.CONSENT,), 80: (Verdict.CONSENT, Watch.HTTP)})
    backend.carry_out([Reconcile(KernelState(1, False, (), (), True, (7,))), AdmitPair(MAC, A4, 7), AdmitPair(MAC, A6, 7)])
    await come(Applied)
    began = time.monotonic()
    open_all(backend, seconds)
    print("open", began + seconds if seconds else 0, flush=True)
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
        gate = stack.enter_context(running(gateway, "-c", GATEWAY.replace("{body}", body), phone))
        end = float(line_of(gate).removeprefix("open "))
        senders = [
            stack.enter_context(running(phone, str(UPLOADS), "send", proto, addr, port))
            for proto in ("tcp", "udp") for addr in FAR.values() for port in ("443", "80")
        ]
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
    assert len(late) == 8, late
    for name, seconds in late.items():
        unanswered = how in {"stopped", "killed"} and name.endswith(":80")  # each request of it is for Python to judge
        assert seconds < SOON, late
        assert (seconds < -SOON) if unanswered else (seconds > -SOON), late
    for told in (refused[0], refused[2]):
        assert "ConnectionResetError" in told or "BrokenPipeError" in told, refused
