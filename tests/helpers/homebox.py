"""A box at home: two phones' cables, two ways to the internet, and an /etc, /run and /var/lib of its own, all in namespaces.

    phone1 eth0 -- port1 [box] up1 -- eth0 [away1] 198.51.100.1, 2001:db8:5e::1
    phone2 eth0 -- port2 [box] up2 -- eth0 [away2] 198.51.100.1, 2001:db8:5e::1
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import families
from judge import fresh_name, wait_for

HELPERS = Path(__file__).parent
SERVERS = "198.51.100.1", "2001:db8:5e::1"  # both ways lead there; what answers says which one it was
KNOCK = """
import errno, socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2)
try: s.connect((sys.argv[1], 9)); s.send(b"anybody?"); s.recv(1); print("answered")
except TimeoutError: print("nothing")
except OSError as error: print(errno.errorcode[error.errno])
"""
_HOUSE = """
mount -t tmpfs none /run && mkdir -p /run/NetworkManager /run/systemd/netif/links /run/lock
mount --bind $1/etc /etc && mount --bind $1/lib /var/lib
echo ready; exec sleep infinity
"""


class HomeBox:
    def __init__(self, name: str, folder: Path) -> None:
        self.name, self._folder = name, folder
        self._house: subprocess.Popen[str] | None = None

    def up(self) -> None:
        script = ["set -e"]
        for role in ("box", "phone1", "phone2", "away1", "away2"):
            script += [f"ip netns add {self.name}-{role}", f"ip -n {self.name}-{role} link set lo up"]
        for n in (1, 2):
            phone, away, box = f"{self.name}-phone{n}", f"{self.name}-away{n}", f"{self.name}-box"
            script += [
                f"ip link add eth0 netns {phone} address 02:00:00:00:01:0{n} type veth peer name port{n} netns {box}",
                f"ip link add eth0 netns {away} type veth peer name up{n} netns {box}",
                f"ip -n {phone} link set eth0 up; ip -n {away} link set eth0 up",
                f"ip -n {box} link set port{n} up; ip -n {box} link set up{n} up",
                f"ip -n {away} addr add 10.{n}.0.1/24 dev eth0; ip -n {box} addr add 10.{n}.0.2/24 dev up{n}",
                f"ip -n {away} addr add 2001:db8:{n}::1/64 dev eth0 nodad; ip -n {box} addr add 2001:db8:{n}::2/64 dev up{n} nodad",
                *(f"ip -n {away} addr add {server} dev lo" for server in SERVERS),
            ]
        script += [f"ip -n {self.name}-box addr add 10.9.0.2/24 dev port1", f"ip -n {self.name}-box route add 10.99.0.0/24 via 10.9.0.1"]
        # Not what other labs keep there: it comes and goes.
        script += [f"tar -C / -c --exclude=etc/netns etc | tar -C {self._folder} -x", f"mkdir {self._folder}/lib"]
        subprocess.run(["sh", "-c", "\n".join(script)], check=True, capture_output=True)
        self._house = subprocess.Popen(
            ["ip", "netns", "exec", f"{self.name}-box", "unshare", "-m", "--propagation", "private", "sh", "-ec", _HOUSE, "sh", str(self._folder)],
            stdout=subprocess.PIPE, text=True,
        )
        assert self._house.stdout is not None
        assert self._house.stdout.readline() == "ready\n"
        families.watch(self._phones)

    @property
    def _phones(self) -> list[str]:
        return [f"{self.name}-phone{number}" for number in (1, 2)]

    def down(self) -> None:
        """A supervisor may start another gateway meanwhile, so until none is left."""
        families.leave(self._phones)
        roles = [f"{self.name}-{role}" for role in ("box", "phone1", "phone2", "away1", "away2")]
        for role in roles:
            while pids := subprocess.run(["ip", "netns", "pids", role], capture_output=True, text=True, check=False).stdout.split():
                subprocess.run(["kill", "-9", *pids], check=False, capture_output=True)
        if self._house:
            self._house.wait()
            assert self._house.stdout is not None
            self._house.stdout.close()
        for role in roles:
            subprocess.run(["ip", "netns", "del", role], check=False)

    def argv(self, *words: str) -> list[str]:
        first = sys.executable if words[0] == "python" else words[0]
        assert self._house is not None
        return ["nsenter", "-t", str(self._house.pid), "-n", "-m", f"--wd={os.getcwd()}", first, *words[1:]]

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(self.argv(*words), capture_output=True, text=True, timeout=90, check=False, stdin=subprocess.DEVNULL)
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A program beside the test, and no longer."""
        with subprocess.Popen(self.argv(*words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def consentry(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("python", "-m", "firewall.cli", *words, check=check)

    def at(self, role: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        first = sys.executable if words[0] == "python" else words[0]
        argv = ["ip", "netns", "exec", f"{self.name}-{role}", first, *words[1:]]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=check, stdin=subprocess.DEVNULL)

    @contextmanager
    def started(self, role: str, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A program there, until the block ends."""
        with subprocess.Popen(["ip", "netns", "exec", f"{self.name}-{role}", *words], stdout=subprocess.PIPE, text=True) as program:
            try:
                yield program
            finally:
                program.kill()

    def knock(self, phone: str, to: str) -> str:
        """A datagram to a closed port: ECONNREFUSED, it got there; EHOSTUNREACH or EACCES, somebody on the way said no."""
        return self.at(phone, "python3", "-c", KNOCK, to).stdout.strip()

    def shown(self, *words: str) -> Any:
        return json.loads(self.run("ip", "-j", *words).stdout or "[]")

    @property
    def status(self) -> dict[str, Any]:
        return json.loads(self.consentry("status", "--json").stdout)

    @property
    def children(self) -> dict[str, Any]:
        try:
            return json.loads(self.file("/run/consentry/children.json").read_text())
        except (OSError, ValueError):
            return {}

    def file(self, path: str) -> Path:
        """As the box sees it."""
        assert self._house is not None
        return Path(f"/proc/{self._house.pid}/root{path}")

    def child(self, name: str, state: str, seconds: float = 10) -> dict[str, Any]:
        """Wait until a child is in this state."""
        return wait_for(lambda: (told := self.children.get(name, {})).get("state") == state and told, seconds)

    @contextmanager
    def dialled(self, way: int, near: tuple[str, str], far: tuple[str, str]) -> Iterator[subprocess.Popen[str]]:
        """A line by PPP over this way: ppp0 at both ends, which have these addresses (IPv4, IPv6) and no MAC; it has the default route."""
        ends = [f"{self.name}-box", f"{self.name}-away{way}"]
        with subprocess.Popen([sys.executable, str(HELPERS / "ppp.py"), *ends], stdout=subprocess.PIPE, text=True) as line:
            try:
                assert line.stdout is not None
                assert line.stdout.readline() == "up\n"
                for end, mine, its in zip(ends, (near, far), (far, near), strict=True):
                    subprocess.run(["ip", "-n", end, "-batch", "-"], check=True, text=True, input=f"""
                        link set ppp0 up
                        addr add {mine[0]} peer {its[0]} dev ppp0
                        addr add {mine[1]} peer {its[1]} dev ppp0 nodad
                    """)
                self.run("sh", "-ec", "ip route replace default dev ppp0; ip -6 route replace default dev ppp0")
                yield line
            finally:
                line.kill()  # the interfaces go with it, and their addresses and routes with them

    def share_the_wire(self) -> None:
        """The first way to the internet is a switch, and phone2 is plugged into it."""
        away, phone = f"{self.name}-away1", f"{self.name}-phone2"
        subprocess.run(["sh", "-ec", f"""
            ip -n {phone} link del eth0
            ip -n {away} link add sw0 type bridge forward_delay 0
            ip -n {away} link set sw0 up
            ip -n {away} addr flush dev eth0
            ip -n {away} link set eth0 master sw0
            ip -n {away} addr add 10.1.0.1/24 dev sw0
            ip -n {away} addr add 2001:db8:1::1/64 dev sw0 nodad
            ip link add eth0 netns {phone} address 02:00:00:00:01:02 type veth peer name p2 netns {away}
            ip -n {away} link set p2 master sw0 up
            ip -n {phone} link set eth0 up
            ip netns exec {away} sh -c 'for f in /proc/sys/net/bridge/bridge-nf-call-*; do echo 0 >$f; done'
        """], check=True)
        families.leave([phone])
        families.watch([phone])

    def lease(self, phone: str, host: str = "") -> dict[str, str]:
        """Come in, ask for an address as a phone does, and use it."""
        self.at(phone, "sh", "-c", "ip link set eth0 down; ip -4 addr flush dev eth0; ip link set eth0 up")  # asks for a router too
        told = json.loads(self.at(phone, "python", str(HELPERS / "dhcp.py"), "eth0", host).stdout)
        self.at(phone, "sh", "-c", f"ip addr flush dev eth0 scope global; ip addr add {told['address']}/24 dev eth0; ip route replace default via {told['router']}")
        return told


@contextmanager
def home_box() -> Iterator[HomeBox]:
    with tempfile.TemporaryDirectory(prefix="ck-home-") as folder:
        box = HomeBox(fresh_name(), Path(folder))
        try:
            box.up()
            yield box
        finally:
            box.down()
