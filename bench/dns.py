"""Promise: a DNS answer costs about as much processor time as from servers written in C, with rules and log on.

dnsperf asks, from an address and a MAC that are new for every run: our gateway gives each phone 2,000 questions at once
and then 200 a second. What counts is the server's own time, not how fast it answers on a machine that others share.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pairs import Figure, cpu_seconds, figure, ratio, take_turns
from topology import GATEWAY, INTERNET, PHONE, PHONES, NotReadyError, gate, inside, mac, sh, started, topology, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

NEEDS = {"dnsperf": "dnsperf", "dnsmasq": "dnsmasq", "unbound": "unbound"}
ASKED = 1_900  # questions of a run; a phone that comes home may ask 2,000 at once
AT_ONCE = 20  # without an answer
RULES = 200
NAMES = 100  # of each kind, asked again and again
SERVER = "10.99.0.1"
UPSTREAM = "198.51.100.1"

CACHED = [f"host{n}.example.com" for n in range(NAMES)]
BLOCKED = [f"tracker{n % RULES}.example" for n in range(NAMES)]
GATE_RULES = "".join(f'[[rule]]\naction = "block"\nmatch = "name:tracker{n}.example"\n' for n in range(RULES))
DNSMASQ = """
keep-in-foreground
user=root
no-resolv
no-hosts
pid-file
log-queries
log-facility={folder}/queries
server=198.51.100.1
cache-size=10000
bind-interfaces
listen-address=10.99.0.1
""" + "".join(f"address=/tracker{n}.example/\n" for n in range(RULES))
UNBOUND = """
server:
  interface: 10.99.0.1
  access-control: 10.99.0.0/24 allow
  do-daemonize: no
  chroot: ""
  username: ""
  pidfile: ""
  directory: "{folder}"
  logfile: "{folder}/queries"
  log-queries: yes
  use-syslog: no
  num-threads: 1
  module-config: "iterator"
""" + "".join(f'  local-zone: "tracker{n}.example" always_nxdomain\n' for n in range(RULES)) + """
forward-zone:
  name: "."
  forward-addr: 198.51.100.1
remote-control:
  control-enable: no
"""
_numbers = itertools.count()  # of phones


def measure(pairs: int, _: int) -> dict[str, Figure]:
    servers: dict[str, Callable[[], AbstractContextManager[int]]] = {
        "gate": lambda: gate(GATE_RULES),
        "dnsmasq": lambda: peer(("dnsmasq", "--conf-file={config}"), DNSMASQ),
        "unbound": lambda: peer(("unbound", "-d", "-c", "{config}"), UNBOUND),
    }
    figures: dict[str, Figure] = {}
    for kind, names in (("cached", CACHED), ("blocked", BLOCKED)):
        runs = take_turns({way: _cost(server, names) for way, server in servers.items()}, pairs)
        figures[kind] = figure(runs["gate"], "us of the gateway an answer")
        for way in ("dnsmasq", "unbound"):
            figures[f"{kind}, {way}"] = ratio(runs, "gate", way, f"x {way}")
    return figures


def _cost(server: Callable[[], AbstractContextManager[int]], names: list[str]) -> Callable[[], float]:
    def cost() -> float:
        with topology(offloads=True), upstream(), server() as process:
            ask(names, NAMES * 2)  # so that the measured ones find warm caches
            return cpu_of(process, lambda: ask(names, ASKED)) * 1e6 / ASKED

    return cost


def cpu_of(process: int, work: Callable[[], None]) -> float:
    before = cpu_seconds(process)
    work()
    return cpu_seconds(process) - before


def ask(names: list[str], questions: int) -> None:
    """So many, A and AAAA in turn, from a phone that has not asked yet. Raises if one is not answered."""
    number = next(_numbers) % (PHONES - 1) + 1
    address = f"10.99.0.{number + 20}"
    sh(f"ip -n {PHONE} link set eth0 address {mac(number)}")
    sh(f"ip -n {PHONE} address replace {address}/24 dev eth0")
    sh(f"ip -n {GATEWAY} neighbour flush dev lan0")
    lines = (f"{names[n // 2 % len(names)]} {'AAAA' if n % 2 else 'A'}" for n in range(questions))
    with tempfile.NamedTemporaryFile("w", suffix=".names") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        command = ("dnsperf", "-s", SERVER, "-a", address, "-d", file.name, "-n", "1", "-c", "1", "-q", str(AT_ONCE))
        done = subprocess.run(inside(PHONE, *command), text=True, capture_output=True, check=True, timeout=60)
    found = re.search(r"Queries completed:\s+(\d+)", done.stdout)
    if not found or int(found[1]) < questions * 0.99:
        raise NotReadyError(f"too few answers: {found[0] if found else done.stdout}")


@contextlib.contextmanager
def upstream() -> Iterator[None]:
    """Who knows all addresses."""
    with tempfile.TemporaryDirectory(prefix="ckbench-") as folder:
        command = (
            "dnsmasq", "--keep-in-foreground", "--user=root", "--conf-file=/dev/null", "--pid-file", "--no-resolv",
            "--no-hosts", "--local-ttl=3600", "--address=/example.com/93.184.216.34",
            "--address=/example.com/2606:2800:220:1::1",
        )
        look = f"ip netns exec {INTERNET} ss -Hlun sport = :53"
        with started(inside(INTERNET, *command), Path(folder, "log")) as process:
            wait(lambda: sh(look) != "", process, "the upstream")
            yield


@contextlib.contextmanager
def peer(command: tuple[str, ...], config: str) -> Iterator[int]:
    """Another DNS server where the gateway's would be. Gives its process."""
    look = f"ip netns exec {GATEWAY} ss -Hlun sport = :53"
    with tempfile.TemporaryDirectory(prefix="ckbench-") as folder:
        file = Path(folder, "config")
        file.write_text(config.format(folder=folder))
        words = [word.format(config=file) for word in command]
        with started(inside(GATEWAY, *words), Path(folder, "log")) as process:
            wait(lambda: sh(look) != "", process, command[0])
            yield process.pid
