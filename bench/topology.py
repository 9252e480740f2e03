"""A phone, a gateway and an internet in three network namespaces, made for one measurement and removed after it.

The lab has an internet that answers everything; here nothing may stand in the way but what is measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firewall.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PHONE, GATEWAY, INTERNET = "ckbench-phone", "ckbench-gateway", "ckbench-internet"
SERVERS = {4: "198.51.100.1", 6: "2001:db8:5::1"}
READY_SECONDS = 20.0
PHONES = 200  # that have a name; the one in the phone's namespace is number 0

# (namespace, interface, IPv4, IPv6, default routes through)
ENDS = (
    (PHONE, "eth0", "10.99.0.10/24", "2001:db8:99::10/64", ("10.99.0.1", "2001:db8:99::1")),
    (GATEWAY, "lan0", "10.99.0.1/24", "2001:db8:99::1/64", None),
    (GATEWAY, "wan0", "198.51.100.2/24", "2001:db8:5::2/64", ("198.51.100.1", "2001:db8:5::1")),
    (INTERNET, "eth0", "198.51.100.1/24", "2001:db8:5::1/64", None),
)
MITMDUMP = Path(__file__).parent.parent / ".venv" / "peers" / "bin" / "mitmdump"
PLAIN_NAT = """
table inet plain {
    chain post { type nat hook postrouting priority srcnat; oifname "wan0" masquerade; }
}
"""


REDIRECT = """
table inet plain {{
    chain pre {{ type nat hook prerouting priority dstnat; iifname "lan0" tcp dport {port} redirect to :8080; }}
}}
"""


class NotReadyError(Exception):
    """Something that was started for the measurement did not come up."""


def sh(command: str, stdin: str | None = None) -> str:
    """Run a command line without a shell; it must succeed."""
    return subprocess.run(command.split(), input=stdin, text=True, capture_output=True, check=True).stdout


def mac(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"


def inside(namespace: str, *command: str) -> list[str]:
    return ["ip", "netns", "exec", namespace, *command]


@contextlib.contextmanager
def topology(*, offloads: bool) -> Iterator[None]:
    """The three namespaces with their addresses and routes. Without offloads every packet is one of the wire's size."""
    remove()
    try:
        for namespace in (PHONE, GATEWAY, INTERNET):
            sh(f"ip netns add {namespace}")
            sh(f"ip -n {namespace} link set lo up")
        sh(f"ip link add eth0 netns {PHONE} type veth peer name lan0 netns {GATEWAY}")
        sh(f"ip link add wan0 netns {GATEWAY} type veth peer name eth0 netns {INTERNET}")
        sh(f"ip -n {PHONE} link set eth0 address {mac(0)}")
        for namespace, interface, ipv4, ipv6, _ in ENDS:
            sh(f"ip -n {namespace} address add {ipv4} dev {interface}")
            sh(f"ip -n {namespace} address add {ipv6} dev {interface} nodad")
            sh(f"ip -n {namespace} link set {interface} up")
            if not offloads:
                sh(f"ip netns exec {namespace} ethtool -K {interface} tso off gso off gro off")
        for namespace, _, _, _, gateways in ENDS:
            for gateway in gateways or ():
                sh(f"ip -n {namespace} route add default via {gateway}")
        sysctl(PHONE, "net.ipv4.ip_local_port_range", "1024 65535")
        yield
    finally:
        remove()


def remove() -> None:
    """Also what an earlier, killed measurement left."""
    names = {line.split()[0] for line in sh("ip netns list").splitlines()}
    for namespace in names & {PHONE, GATEWAY, INTERNET}:
        sh(f"ip netns delete {namespace}")


def sysctl(namespace: str, key: str, value: str) -> None:
    subprocess.run(inside(namespace, "sysctl", "-qw", f"{key}={value}"), check=True)


@contextlib.contextmanager
def plain_nat() -> Iterator[int]:
    """What the gate is compared with: the same kernel, forwarding and masquerading. No process: 0."""
    sh(f"ip netns exec {GATEWAY} nft -f -", stdin=PLAIN_NAT)
    sysctl(GATEWAY, "net.ipv4.ip_forward", "1")
    sysctl(GATEWAY, "net.ipv6.conf.all.forwarding", "1")
    sh(f"ip -n {INTERNET} route add 2001:db8:99::/64 via 2001:db8:5::2")
    yield 0


@contextlib.contextmanager
def mitmproxy(port: int = 80) -> Iterator[int]:
    """The other Python program that reads what phones say: transparent, and only looking. Gives its process."""
    if not MITMDUMP.exists():
        raise NotReadyError("mitmproxy is not installed. Type: make bench-peers")
    sysctl(GATEWAY, "net.ipv4.ip_forward", "1")
    sh(f"ip netns exec {GATEWAY} nft -f -", stdin=REDIRECT.format(port=port))
    listening = f"ip netns exec {GATEWAY} ss -Hltn sport = :8080"
    with tempfile.TemporaryDirectory(prefix="ckbench-") as folder:
        command = (str(MITMDUMP), "--mode", "transparent", "--quiet", "--set", f"confdir={folder}/conf")
        with started(inside(GATEWAY, *command), Path(folder, "log")) as process:
            wait(lambda: sh(listening) != "", process, "mitmproxy")
            yield process.pid


@contextlib.contextmanager
def gate(rules: str = "") -> Iterator[int]:
    """Consentry with these rules before the packs that it ships, between lan0 and wan0. Gives the gateway's process.

    Its owner has named the phones: strangers would be asked about everything.
    """
    sh(f"ip -n {INTERNET} route add 2001:db8:99::/64 via 2001:db8:5::2")
    consentry = str(Path(sys.executable).with_name("consentry"))
    with tempfile.TemporaryDirectory(prefix="ckbench-") as folder:
        run_dir, state_dir = Path(folder, "run"), Path(folder, "state")
        state_dir.mkdir()
        Path(state_dir, "rules.toml").write_text(rules)
        settings = Settings(
            lan="lan0", wan="wan0", run_dir=str(run_dir), state_dir=str(state_dir), upstreams=(SERVERS[4],),
            phones={mac(number): f"phone{number}" for number in range(PHONES)},
        )
        command = inside(GATEWAY, sys.executable, "-P", "-m", "firewall.supervisor", str(settings.write()))
        ask = [consentry, "--socket", str(run_dir / "gateway.sock"), "status", "--json"]
        with started(command, Path(folder, "log")) as process:
            wait(lambda: status(ask).get("state") == "ENFORCING", process, "the gate")
            yield int(status(ask)["pid"])


def status(ask: list[str]) -> dict[str, Any]:
    done = subprocess.run(ask, text=True, capture_output=True, check=False)
    found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


@contextlib.contextmanager
def serving(family: int, port: int, *command: str) -> Iterator[str]:
    """A server in the internet, once it listens on the port. Gives its address."""
    look = f"ip netns exec {INTERNET} ss -Hltn sport = :{port}"
    with (
        tempfile.TemporaryDirectory(prefix="ckbench-") as folder,
        started(inside(INTERNET, *command), Path(folder, "log")) as process,
    ):
        wait(lambda: sh(look) != "", process, command[0])
        yield SERVERS[family]


@contextlib.contextmanager
def started(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own group, ended with all of it. Shows what it said if the measurement fails."""
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
    try:
        yield process
    except BaseException:
        sys.stderr.write(log.read_text(errors="replace"))
        raise
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)


def wait(until: Callable[[], bool], process: subprocess.Popen[bytes], what: str) -> None:
    """Poll for at most READY_SECONDS. Raises NotReadyError, at once if the process ends."""
    end = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < end:
        if until():
            return
        time.sleep(0.05)
    raise NotReadyError(f"{what} did not come up")
