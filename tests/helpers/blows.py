"""Blows against a gate under load, judged from outside; tests/lab takes a sample, tests/campaign the whole.

While phone1 keeps trying to upload what must not leave (storm.py) and phone2 does ordinary things (ordinary.py), the
gate is struck. Four things are asked every time: not one token outside; how long until it works again; how the other
phone did; and whether the history says what happened.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from judge import Lab, TooLate, environment, wait_for

from firewall.lab.topology import GATEWAY4, GATEWAY6, ROUTER4, ROUTER6

HELPERS = Path(__file__).parent
PIDFD_GETFD, SO_PROTOCOL, SOL_NETLINK, MEMBERSHIPS, NETFILTER = 438, 38, 270, 9, 12  # pidfd_getfd(2), socket(7), netlink(7)
BRIDGE = "02:00:00:00:00:01"


@dataclass
class Report:
    what: str
    times: int = 0
    tried: int = 0  # uploads that must not leave, all the while
    tried_hurt: int = 0  # of them while the gate was hurt
    leaked: list[dict] = field(default_factory=list)
    recovery: list[float] = field(default_factory=list)  # seconds from the blow, or its end, until healed
    good: list[dict] = field(default_factory=list)  # phone1's ordinary flows
    other: list[dict] = field(default_factory=list)  # phone2's

    @property
    def success(self) -> float:
        return sum(row["ok"] for row in self.other) / len(self.other) if self.other else 0.0

    def row(self) -> dict:
        recovery = sorted(self.recovery) or [0.0]
        return {
            "what": self.what, "times": self.times, "tried": self.tried, "tried_while_hurt": self.tried_hurt,
            "leaked": len(self.leaked), "recovery_p50": round(statistics.median(recovery), 3),
            "recovery_max": round(recovery[-1], 3), "other_tried": len(self.other), "other_success": round(self.success, 4),
        }


def as_phone(lab: Lab, phone: str, script: str, *args: object, stdout: int | None = subprocess.DEVNULL) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "firewall.cli", "lab", "exec", phone, "--", sys.executable, str(HELPERS / script), *map(str, args)]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=stdout, text=True, env=environment(lab.name))


def on_gateway(lab: Lab, *words: str) -> subprocess.Popen[str]:
    command = ["ip", "netns", "exec", lab.namespaces["gateway"], *words]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rows(file: Path) -> list[dict]:
    """Of what has ended; one more may just be written."""
    return [json.loads(line) for line in file.read_text().rpartition("\n")[0].splitlines()] if file.exists() else []


def strike(
    lab: Lab, folder: Path, what: str, blows: Sequence[Callable[[], object]], healed: Callable[[], object], *,
    rate: int = 60, other: float = 10, pause: float = 0.5, patience: float = 20.0, say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Each of `blows` in turn; one that returns a time (monotonic) was over then, else its recovery counts from its begin."""
    report = Report(what)
    storm_out, other_out, pcap = (folder / f"{what.replace(' ', '-').replace('/', '-')}.{end}" for end in ("storm", "other", "pcap"))
    seconds = 10_000
    windows: list[tuple[float, float]] = []
    with lab.capture(pcap):
        storm, calm = as_phone(lab, "phone1", "storm.py", seconds, rate, storm_out), as_phone(lab, "phone2", "ordinary.py", seconds, other, other_out)
        try:
            until = time.monotonic() + 45
            while len(rows(storm_out)) < rate // 2 or len(rows(other_out)) < 3:
                if time.monotonic() > until:
                    raise TooLate("the load does not run")
                time.sleep(0.05)
            for blow in blows:
                began, at = time.monotonic(), time.time()
                over = blow()
                report.times += 1
                over = over if isinstance(over, float) else began
                while not healed():
                    if time.monotonic() > over + patience:
                        raise TooLate(f"{what}: blow {report.times} is not healed after {patience} s")
                    time.sleep(0.02)
                report.recovery.append(max(0.0, time.monotonic() - over))
                windows.append((at, time.time() + 0.3))
                say(f"{what}: {report.times} of {len(blows)}, {report.recovery[-1]:.2f} s")
                time.sleep(pause)
            time.sleep(1.0)
        finally:
            for phone in (storm, calm):
                phone.send_signal(signal.SIGTERM)
                phone.wait(timeout=10)
    tried = rows(storm_out)
    payloads, raw = "\n".join(row["payload"] for row in lab.sinks()), pcap.read_bytes()
    evil = [row for row in tried if not row["good"]]
    report.leaked = [row for row in evil if row["token"] in payloads or row["token"].encode() in raw]
    report.tried = len(evil)
    report.tried_hurt = sum(any(begin <= row["time"] <= end for begin, end in windows) for row in evil)
    report.good = [row for row in tried if row["good"]]
    report.other = rows(other_out)
    passed = [row for row in report.good if row["ok"]]
    assert passed
    assert all(row["token"] in payloads for row in passed)  # the judge does see what passes
    pcap.unlink()
    return report


# -- what is done to it ------------------------------------------------------------------------------------------------


def gateway_pid(lab: Lab) -> int:
    return lab.status["gateway_pid"]


def kill(lab: Lab) -> Callable[[], float]:
    def blow() -> float:
        os.kill(gateway_pid(lab), signal.SIGKILL)
        return time.monotonic()

    return blow


def stop_for(lab: Lab, seconds: float) -> Callable[[], float]:
    def blow() -> float:
        pid = gateway_pid(lab)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        over = time.monotonic()
        with suppress(ProcessLookupError):  # its supervisor had enough of waiting
            os.kill(pid, signal.SIGCONT)
        return over

    return blow


def answers(lab: Lab, *, after: int = 0) -> bool:
    """Whether phone2 gets a page over IPv4 and IPv6 now, and the gate says that it enforces, in another process than `after`."""
    done = lab.consentry("status", "--json", check=False)
    if done.returncode or json.loads(done.stdout)["state"] != "ENFORCING" or json.loads(done.stdout)["pid"] == after:
        return False
    page = ["ip", "netns", "exec", lab.namespaces["phones"][1], "curl", "-s", "-m", "1", "--fail-early", "http://198.51.100.44/", "http://[2001:db8:feed::44]/"]
    return subprocess.run(page, check=False, stdout=subprocess.DEVNULL).returncode == 0


def ruleset(lab: Lab) -> list[str]:
    """Its lines, whatever order its chains were made in, and the elements that only a load puts there."""
    table = lab.gateway("nft", "-s", "-t", "list", "table", "inet", "consentry", check=False).stdout
    refused = [lab.gateway("nft", "list", "set", "inet", "consentry", name, check=False).stdout for name in ("refused4", "refused6")]
    return sorted("".join([table, *refused]).splitlines())


def troubles(lab: Lab) -> list[str]:
    """What the history has noted, newest last."""
    file = Path("/run/consentry", lab.name, "state", "history.db")
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
        found = [text for (text,) in db.execute("SELECT text FROM notes ORDER BY at")]
    db.close()
    return found


def links_again(lab: Lab) -> None:
    """What a network manager does after a link came up: addresses and routes, if they are gone."""
    script = """
ip addr replace 10.77.0.1/24 dev lan0; ip addr replace 2001:db8:77::1/64 dev lan0 nodad
ip addr replace {wan4} dev wan0; ip addr replace {wan6} dev wan0 nodad
ip route replace default via {router4}; ip -6 route replace default via {router6}
"""
    lab.gateway("sh", "-c", script.format(wan4=GATEWAY4, wan6=GATEWAY6, router4=ROUTER4.ip, router6=ROUTER6.ip))


def flap(lab: Lab, name: str, seconds: float = 0.2) -> Callable[[], float]:
    def blow() -> float:
        lab.gateway("ip", "link", "set", name, "down")
        time.sleep(seconds)
        lab.gateway("ip", "link", "set", name, "up")
        links_again(lab)
        return time.monotonic()

    return blow


def recreate_lan(lab: Lab) -> Callable[[], float]:
    """The phones' bridge is deleted and made anew, with the same ports."""

    def blow() -> float:
        ports = [line.split(":")[1].strip().split("@")[0] for line in lab.gateway("ip", "-o", "link", "show", "master", "lan0").stdout.splitlines()]
        plug = "".join(f"ip link set {port} master lan0 up; bridge link set dev {port} isolated on; " for port in ports)
        lab.gateway("sh", "-c", f"ip link del lan0; ip link add lan0 address {BRIDGE} type bridge; {plug} ip link set lan0 up")
        links_again(lab)
        return time.monotonic()

    return blow


def flood(lab: Lab, kind: str, rate: int, seconds: float, say: Callable[[str], None] = lambda _: None) -> Callable[[], float]:
    """By phone1 (flood.py)."""

    def blow() -> float:
        process = as_phone(lab, "phone1", "flood.py", kind, rate, seconds, stdout=subprocess.PIPE)
        sent = int(process.communicate(timeout=seconds + 60)[0])
        say(f"{kind}: {sent} sent")
        if sent < 0.5 * rate * seconds:
            raise TooLate(f"{kind}: only {sent} sent")
        return time.monotonic()

    return blow


def fill_conntrack(lab: Lab, seconds: float) -> Callable[[], float]:
    """The connection table is really full for so long."""

    def blow() -> float:
        process = on_gateway(lab, sys.executable, str(HELPERS / "fill_conntrack.py"))
        assert process.stdout is not None
        there, most = map(int, process.stdout.readline().split())
        assert there >= most
        time.sleep(seconds)
        out, err = process.communicate("\n", timeout=60)
        assert process.returncode == 0, err
        assert int(out) < 100_000
        return time.monotonic()

    return blow


def starve(lab: Lab, group: Path) -> Callable[[], float]:
    """In this memory group, with a hog: the kernel kills the gateway."""

    def blow() -> float:
        pid = gateway_pid(lab)
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
        for one in (pid, os.getpid()):
            (group / "cgroup.procs").write_text(str(one))
        hog = subprocess.Popen([sys.executable, "-c", "x = [bytearray(1 << 20) for _ in range(200)]"], stderr=subprocess.DEVNULL)
        (group.parent / "cgroup.procs").write_text(str(os.getpid()))
        wait_for(lambda: not Path(f"/proc/{pid}").exists(), 20)
        hog.kill()
        hog.wait()
        return time.monotonic()

    return blow


@contextmanager
def memory_group() -> Iterator[Path | None]:
    """One of 48 MiB; None where none can be made."""
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(root, f"ck-{os.getpid()}")
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(48 << 20))
        except OSError:
            group.rmdir()
            continue
        try:
            yield group
        finally:
            wait_for(lambda there=group / "cgroup.procs": not there.read_text().strip(), 10)
            group.rmdir()
        return
    yield None


def hard_of_hearing(lab: Lab) -> int:
    """The sockets on which the kernel tells the gateway of changes get the smallest buffer there is: how many."""
    pid, done = gateway_pid(lab), 0
    pidfd = os.pidfd_open(pid)
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        if not os.readlink(fd).startswith("socket:"):
            continue
        with socket.socket(fileno=ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, pidfd, int(fd.name), 0)) as theirs:
            if theirs.family == socket.AF_NETLINK and theirs.getsockopt(socket.SOL_SOCKET, SO_PROTOCOL) == NETFILTER and theirs.getsockopt(SOL_NETLINK, MEMBERSHIPS):
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
                done += 1
    os.close(pidfd)
    return done


def too_much_to_hear(lab: Lab) -> Callable[[], None]:
    """Another program makes so many changes at once that what tells of them is lost (ENOBUFS); one is a rule before ours."""
    many = ", ".join(f"172.16.{n // 256}.{n % 256}" for n in range(5_000))
    text = f"table ip noise {{ set much {{ type ipv4_addr; elements = {{ {many} }}; }}; }}\ninsert rule inet consentry decide accept\n"

    def blow() -> None:
        command = ["ip", "netns", "exec", lab.namespaces["gateway"], "nft", "-f", "-"]
        subprocess.run(command, input=text, text=True, check=True, timeout=60)
        lab.gateway("nft", "delete table ip noise")

    return blow
