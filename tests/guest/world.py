"""The guest's world: a box with an access point, phones with radios, and the lab's internet behind the box.

    phone1 wlan1 )))                                             (WPA2)
                     wlan0 -- consentry0 [box] wan0 -- eth0 [internet]
    phone2 wlan2 )))                                             (WPA3)

The box is the guest itself. The radios are mac80211_hwsim's: everything above them is what a real access point has. A
program costs 50 ms here and a Python two seconds (no KVM), so what can be done in this process is done in it.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dnslib import QTYPE, DNSQuestion, DNSRecord

from firewall.lab import sinks
from firewall.lab.topology import GATEWAY4, GATEWAY6, HOST_IF, RESOLVERS, SOCKET, WAN_IF
from firewall.spaces import inside

LOGS = Path("/run/logs")  # init takes them to the host
LAB = Path("/run/lab")
RADIO = "wlan0"
OUTSIDE4, OUTSIDE6 = "203.0.113.254", "2001:db8:113::254"
PATIENCE = 240.0  # seconds: for what takes two elsewhere, on a machine four times as slow as any seen
DHCP = """#!/bin/sh
# udhcpc's. What it is told of resolvers is what `ip netns exec` shows the phone's programs as /etc/resolv.conf.
[ "$1" = bound ] || exit 0
ip addr replace "$ip/$mask" dev "$interface"
ip route replace default via "$router"
mkdir -p /etc/netns/NAME
for one in $dns; do echo "nameserver $one"; done >/etc/netns/NAME/resolv.conf
echo 'hosts: files dns' >/etc/netns/NAME/nsswitch.conf
"""
_results = {True: 0, False: 0}


def say(text: str) -> None:
    print(f"{Path('/proc/uptime').read_text().split()[0]:>7} {text}", flush=True)


def check(what: str, holds: object, otherwise: object = "") -> None:
    """One line for each; `otherwise` tells more of one that fails."""
    _results[bool(holds)] += 1
    say(f"PASS {what}" if holds else f"FAIL {what}: {otherwise or holds!r}")


def verdict() -> int:
    """The guest's exit status."""
    say(f"{_results[True]} passed, {_results[False]} failed")
    return 1 if _results[False] or not _results[True] else 0


def till(what: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """The first true value, or what it was in the end."""
    until = time.monotonic() + seconds
    while not (value := what()):
        if time.monotonic() > until:
            return what()  # this process may have stood still meanwhile, too
        time.sleep(0.1)
    return value


def run(*words: str, given: str | None = None, may_fail: bool = False) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, input=given or "")
    if done.returncode and not may_fail:
        raise RuntimeError(f"{' '.join(words)}: {done.returncode} {done.stdout}{done.stderr}")
    return done.stdout


def ip(*lines: str, of: str = "") -> None:
    """Commands of ip(8), by one process; in a namespace if one is named."""
    run("ip", *(["-n", of] if of else []), "-batch", "-", given="".join(f"{line}\n" for line in lines))


def begin(name: str, *words: str, of: str = "", **environment: str) -> subprocess.Popen[bytes]:
    """A program in the background. `said` tells what it says."""
    with (LOGS / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [*(["ip", "netns", "exec", of] if of else []), *words],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | environment,
        )


def said(name: str) -> str:
    with suppress(FileNotFoundError):
        return (LOGS / f"{name}.log").read_text(errors="replace")
    return ""


# -- the internet ------------------------------------------------------------------------------------------------------


def build_internet() -> None:
    """Every address is there, and every port answers (firewall.lab.internet). It takes a while to be `ready`."""
    LAB.mkdir()
    ip(
        "netns add internet",
        f"link add {WAN_IF} type veth peer name {HOST_IF} netns internet",
        f"addr add {GATEWAY4} dev {WAN_IF}", f"addr add {GATEWAY6} dev {WAN_IF} nodad",
        f"link set {WAN_IF} up", "link set lo up",
    )
    ip(
        "link set lo up", f"addr add {OUTSIDE4}/24 dev {HOST_IF}", f"addr add {OUTSIDE6}/64 dev {HOST_IF} nodad",
        f"link set {HOST_IF} up", *(f"addr add {address} dev lo" for address in RESOLVERS),
        "route add local 0.0.0.0/0 dev lo table main", "route add local ::/0 dev lo table main", of="internet",
    )
    ip(f"route add default via {OUTSIDE4}", f"route add default via {OUTSIDE6}")
    Path("/etc/resolv.conf").write_text("".join(f"nameserver {one}\n" for one in RESOLVERS))
    begin("internet", sys.executable, "-P", "-m", "firewall.lab.internet", str(LAB), of="internet")


def internet_is_ready() -> bool:
    return "ready" in said("internet")


def arrived() -> list[dict[str, Any]]:
    """What has reached the internet, in any way."""
    return list(sinks.read(LAB / SOCKET, follow=False))


# -- phones ------------------------------------------------------------------------------------------------------------


class Phone:
    """A namespace with radio number `number`. `key` is its key management, `protected` whether frames must be (802.11w)."""

    def __init__(self, number: int, key: str, *, protected: bool) -> None:
        self.name, self.radio, self.mac = f"phone{number}", f"wlan{number}", f"02:00:00:00:{number:02x}:00"
        self._key, self._protected = key, protected
        ip(f"netns add {self.name}")
        run("iw", "phy", f"phy{number}", "set", "netns", "name", self.name)
        ip("link set lo up", of=self.name)

    def join(self, ssid: str, passphrase: str) -> None:
        """Begin to, and go on trying for ever."""
        config = Path(f"/run/{self.name}.conf")
        config.write_text(
            f'ctrl_interface=/run/{self.name}\nnetwork={{\n\tssid="{ssid}"\n\tpsk="{passphrase}"\n'
            f"\tkey_mgmt={self._key}\n\tieee80211w={2 * self._protected}\n}}\n"
        )
        begin(self.name, "wpa_supplicant", "-i", self.radio, "-c", str(config), of=self.name)

    def joined(self) -> int:
        """How often so far."""
        return said(self.name).count("CTRL-EVENT-CONNECTED")

    def key(self) -> str:
        """By which key management it is on."""
        told = run("wpa_cli", "-p", f"/run/{self.name}", "-i", self.radio, "status", may_fail=True).splitlines()
        return dict(line.split("=", 1) for line in told if "=" in line).get("key_mgmt", "none")

    def ask_for_address(self) -> str:
        """By DHCP, until there is one."""
        script = Path(f"/run/dhcp-{self.name}")
        script.write_text(DHCP.replace("NAME", self.name))
        script.chmod(0o755)
        run("ip", "netns", "exec", self.name, "/run/busybox", "udhcpc", "-i", self.radio, "-n", "-q", "-t", "80", "-T",
            "3", "-s", str(script), may_fail=True)
        return self.address()

    def address(self, version: int = 4) -> str:
        """Its address; "" if it has none."""
        shown = run("ip", "-n", self.name, f"-{version}", "-o", "addr", "show", "dev", self.radio, "scope", "global")
        words = shown.split()
        tentative = "tentative" in words
        return "" if tentative or len(words) < 4 else words[3].split("/")[0]

    def routed(self) -> bool:
        """Whether it has a way to anywhere over IPv6, which it takes from router advertisements."""
        return "default via" in run("ip", "-n", self.name, "-6", "route", "show", "default")

    def connect(self, address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """Raises OSError."""
        with inside(self.name):
            s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        s.settimeout(PATIENCE)
        s.connect((address, port))
        return s

    def resolve(self, name: str, resolver: str, version: int = 4) -> str:
        """Its first address of that IP version, as the resolver tells it within PATIENCE; "" if it tells none."""
        query = DNSRecord(q=DNSQuestion(name, QTYPE.A if version == 4 else QTYPE.AAAA))
        wanted = query.q.qtype
        with self.connect(resolver, 53, socket.SOCK_DGRAM) as s:
            s.settimeout(5)
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                with suppress(OSError):
                    s.send(bytes(query.pack()))
                    rows = DNSRecord.parse(s.recv(4096)).rr
                    if found := next((str(row.rdata) for row in rows if row.rtype == wanted), ""):
                        return found
                time.sleep(1)  # nobody is there, or a resolver was too slow for ours
        return ""


class Bulk:
    """Bytes without end from a phone to one place, as one TCP connection or datagrams from one port."""

    def __init__(self, phone: Phone, address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> None:
        self.error = ""
        self.socket = phone.connect(address, port, kind)
        self.near, self.far = self.socket.getsockname()[:2], self.socket.getpeername()[:2]
        self._piece = b"x" * (4_096 if kind == socket.SOCK_STREAM else 1_200)
        for work in (self._send, self._drain):
            threading.Thread(target=work, daemon=True).start()

    def _send(self) -> None:
        try:
            while True:
                self.socket.send(self._piece)
                time.sleep(0.05)  # others have to breathe
        except OSError as error:
            self.error = str(error) or type(error).__name__

    def _drain(self) -> None:
        with suppress(OSError):
            while self.socket.recv(1 << 16):
                pass

    def received(self) -> int:
        """By the internet."""
        return sum(row["bytes"] for row in arrived() if (row["dst"], row["dport"]) == self.far)

    def flows(self) -> bool:
        before = self.received()
        return bool(till(lambda: self.received() > before))

    def stands_still(self) -> bool:
        """Whether there is an end of what arrives: three seconds without a byte, where one would come twenty times a second."""
        return bool(till(self._silent))

    def _silent(self) -> bool:
        before = self.received()
        time.sleep(3)
        return self.received() == before

    def offloaded(self) -> bool:
        """As the kernel tells it (/proc/net/nf_conntrack)."""
        ports = f"sport={self.near[1]} dport={self.far[1]} "
        return any(ports in line and "OFFLOAD" in line for line in Path("/proc/net/nf_conntrack").read_text().splitlines())

    def end(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def forge(phone: Phone, flow: Bulk, data: bytes) -> None:
    """A datagram of somebody's flow from another phone: a raw socket sets its source and ports, the radio its MAC."""
    (src, sport), (dst, dport) = flow.near, flow.far
    length = 8 + len(data)
    datagram = struct.pack("!HHHH", sport, dport, length, 0) + data  # no checksum (RFC 768)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + length, 0, 0, 64, socket.IPPROTO_UDP, 0,
                       socket.inet_aton(src), socket.inet_aton(dst))
    with inside(phone.name), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as s:
        s.sendto(head + datagram, (dst, 0))
