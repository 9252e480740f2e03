"""What the gateway's Python costs a flow: from the queue's message to answer and row, and at its end.

One process is fed with messages as the kernel writes them, seven packets at a time as under wrk, so that what else runs
disturbs little; a yardstick is timed in turn. System calls are left out: `connections` has them.
"""

from __future__ import annotations

import gc
import itertools
import json
import socket
import struct
import subprocess
import sys
import tempfile
import time
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from pairs import Figure, Runs, figure, ratio, rounded, yardstick
from topology import GATEWAY, SERVERS, inside, mac, topology

from firewall.backends.linux import conntrack, marks, nfnl
from firewall.backends.linux.backend import LinuxBackend
from firewall.backends.linux.counting import Ends
from firewall.engine import Engine
from firewall.episodes import Episodes
from firewall.gateway import Gateway
from firewall.geo import Places
from firewall.history import History
from firewall.inputs import FlowKey, Now
from firewall.phones import Phones
from firewall.recorder import Recorder
from firewall.settings import Settings
from rules import store

if TYPE_CHECKING:
    from collections.abc import Callable

NEEDS = {"ethtool": "ethtool"}
FLOWS = 2_100  # of one round
A_BATCH = 7
PHONE, SERVER = ip_address("10.99.0.10").packed, ip_address(SERVERS[4]).packed
HARDWARE = bytes.fromhex(mac(0).replace(":", ""))


def measure(pairs: int, _: int) -> dict[str, Figure]:
    with topology(offloads=True):
        rounds = str(max(pairs, 7))
        told = subprocess.run(inside(GATEWAY, sys.executable, __file__, rounds), capture_output=True, check=True)
    runs: Runs = json.loads(told.stdout)
    figures = {name: figure(runs[name], "us", {name: runs[name]}) for name in runs}
    return figures | {f"{name}, yardsticks": ratio(runs, name, "yardstick", "yardsticks") for name in ("new", "end")}


class Told(nfnl.Netlink):
    """A socket of which the kernel's end is here."""

    told: list[bytes] = []  # noqa: RUF012  the last one is read first

    def read(self) -> memoryview | None:
        return memoryview(self.told.pop()) if self.told else None


class Questions(Told, nfnl.Queue):
    answered = 0

    def flush(self) -> None:
        self.answered += len(self._answers) // 40
        self._answers.clear()


class Ending(Told, Ends):
    pass


class Fed(LinuxBackend):
    """The backend as it is, but for who writes what it reads."""

    def feed(self, engine: Engine) -> None:
        self._deliver = engine.deliver
        self._queue = self.questions = Questions(77)
        self._ends = self.ends = Ending()

    def new(self, messages: list[bytes]) -> None:
        self.questions.told = messages[::-1]
        self._read_queue(self.questions)

    def end(self, messages: list[bytes]) -> None:
        self.ends.told = messages[::-1]
        self._read_ended(self.ends)


def main(rounds: int) -> Runs:
    """In the gateway's namespace. Microseconds of processor time a flow, round by round."""
    with tempfile.TemporaryDirectory(prefix="ckbench-") as folder:
        backend = Fed(Settings(lan="lan0", wan="wan0", run_dir=folder, state_dir=folder))
        history = History(Path(folder, "history.db"))
        recorder = Recorder(Episodes(1), history, lambda _: None)
        gateway = Gateway(Phones(given={HARDWARE: "phone0"}), Places(None).look_up)
        gateway.judge.policy = store.load(Path(folder, "rules.toml"), revision=1)
        boot = itertools.count(1e3, 10.0)  # so that nothing ends as soon as it has begun, which no connection does
        engine = Engine(gateway, backend, backend, recorder.record, lambda: Now(next(boot), time.time(), trusted=True))
        engine.stop()  # nobody tells it the time
        backend.feed(engine)
        gc.freeze()
        gc.set_threshold(50_000, 50, 1_000)  # as the gateway's (firewall/app.py)
        runs: Runs = {"new": [], "end": [], "yardstick": []}
        for number in range(rounds + 1):
            flows = range(number * FLOWS, (number + 1) * FLOWS)
            taken = {
                "new": cost(backend.new, [question(flow) for flow in flows]),
                "yardstick": cost(lambda some: [yardstick() for _ in some], [b""] * FLOWS),
                "end": cost(backend.end, [ended(flow) for flow in flows]),
            }
            recorder.flush()
            if number:  # the first is for warming up
                for name, microseconds in taken.items():
                    runs[name].append(rounded(microseconds))
        passed = recorder.hits["default"][0]
        assert (backend.questions.answered, passed, len(gateway.flows)) == ((rounds + 1) * FLOWS,) * 2 + (0,)
        history.close()
    return runs


def cost(feed: Callable[[list[bytes]], object], messages: list[bytes]) -> float:
    began = time.thread_time_ns()
    for at in range(0, len(messages), A_BATCH):
        feed(messages[at : at + A_BATCH])
    return (time.thread_time_ns() - began) / len(messages) / 1_000


def question(flow: int) -> bytes:
    """NFQNL_MSG_PACKET with a flow's first data (linux/net/netfilter/nfnetlink_queue.c)."""
    request = b"GET / HTTP/1.1\r\nHost: host%d.example.com\r\nConnection: close\r\n\r\n" % (flow % 100)
    tcp = struct.pack("!HHIIBBHHH", 1_024 + flow, 80, flow * 7_919, 1, 0x50, 0x18, 500, 0, 0) + request
    packet = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, 63, 6, 0) + PHONE + SERVER + tcp
    mark = marks.PERMIT | marks.ASK | marks.FIRST | 1 << marks.SLOT_SHIFT
    values = {
        1: struct.pack("!IHB", flow + 1, 0x800, 2), 5: index("lan0"), 6: index("wan0"), 3: mark.to_bytes(4),
        9: b"\0\6\0\0" + HARDWARE + b"\0\0", 14: b"\0\0\0\1", 10: packet,
    }
    return nfnl.message(nfnl.QUEUE, 0, 0, b"".join(nfnl.attribute(*one) for one in values.items()), family=2)


@cache
def index(interface: str) -> bytes:
    return socket.if_nametoindex(interface).to_bytes(4)


def ended(flow: int) -> bytes:
    """IPCTNL_MSG_CT_DELETE of the same flow (linux/net/netfilter/nf_conntrack_netlink.c)."""
    there, back = FlowKey(6, PHONE, 1_024 + flow, SERVER, 80), FlowKey(6, SERVER, 80, PHONE, 1_024 + flow)
    counts = (nfnl.nest(kind, *(nfnl.attribute(one, (600).to_bytes(8)) for one in (1, 2))) for kind in (9, 10))
    rest = *(nfnl.attribute(kind, bytes(4)) for kind in (12, 3)), *counts, nfnl.attribute(8, marks.ALLOWED.to_bytes(4))
    entry = conntrack.tuple_of(there) + conntrack.tuple_of(back, 2) + b"".join(rest)
    return nfnl.message(nfnl.CTNETLINK, 2, 0, entry, family=2)


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
