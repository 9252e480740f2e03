"""A consent's end is the kernel's business: uploads that run through one stop, whoever is dead. The judge is outside."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from judge import Lab, TooLate, in_time, lab_up, lines, wait_for

from firewall.dissect import NOT_MINE, ip
from firewall.inputs import WORDS

pytestmark = pytest.mark.lab

UPLOADS = Path(__file__).parents[1] / "helpers" / "uploads.py"
FAR = ("198.51.100.77", "2001:db8:feed::77")
HOST = "api.account.xiaomi.com"
BEFORE = 12  # s from the leap of time to the end: enough for the uploads to begin
SOON = 5.0  # s; the goal is 1, and what is measured stands in the output


@contextmanager
def talking(lab: Lab) -> Iterator[None]:
    """TCP and UDP, IPv4 and IPv6, and requests in cleartext."""
    what = [(proto, addr, "8443") for proto in ("tcp", "udp") for addr in FAR] + [(proto, HOST, "80") for proto in ("http", "http6")]
    command = ["ip", "netns", "exec", lab.namespaces["phones"][0], sys.executable, str(UPLOADS), "send"]
    senders = [
        subprocess.Popen([*command, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for words in what
    ]
    try:
        yield
    finally:
        for sender in senders:
            sender.kill()
            sender.wait()


def arrivals(pcap: Path) -> dict[str, list[float]]:
    """Epoch seconds of each packet with payload that left for one of the three, by transport, family and port."""
    raw, at = pcap.read_bytes(), 24
    found = defaultdict(list)
    while at + 16 <= len(raw):
        seconds, micros, there, _ = struct.unpack_from("<IIII", raw, at)
        packet = ip.parse(raw[at + 30 : at + 16 + there])  # behind the Ethernet header
        at += 16 + there
        if packet is not NOT_MINE and packet.dport in {80, 8443} and packet.end > packet.payload:
            name = f"{WORDS[packet.proto]}{4 if len(packet.dst) == 4 else 6}:{packet.dport}"
            found[name].append(seconds + micros / 1e6)
    return found


def grant(lab: Lab) -> None:
    for addr in FAR:
        if addr not in lab.consentry("rules", "list").stdout:
            lab.consentry("rules", "add", f"ask addr:{addr}")
            lab.phone("curl", "-s", "-m", "2", f"http://{addr if '.' in addr else f'[{addr}]'}:8443/", check=False)  # it asks
    for subject in (*(f"addr:{addr}" for addr in FAR), f"name:{HOST}"):
        lab.consentry("consents", "grant", "phone1", subject, "--for", "15m")


def given(lab: Lab) -> list[dict[str, Any]]:
    return [row for row in lines(lab.consentry("consents", "list", "--json").stdout) if row["state"] == "active"]


def ends(lab: Lab) -> dict[str, float]:
    """When each upload has to be over by what the kernel says, in epoch seconds."""
    told = lab.gateway("nft", "list", "table", "inet", "consentry").stdout
    ways = re.findall(r"0x\w+ \. (\S+) \. (\d+) timeout \S+ expires (?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?", told)
    found = {}
    for addr, port, m, s, ms in ways:
        end = time.time() + int(m or 0) * 60 + int(s or 0) + int(ms or 0) / 1_000
        family = 6 if ":" in addr else 4
        found |= {f"{proto}{family}:{port}": end for proto in (("tcp", "udp") if port == "8443" else ("tcp",))}
    return found


def judged(pcap: Path, end: dict[str, float], what: str) -> dict[str, float]:
    """How long after its end the last token of each upload arrived; the control: all six had been running."""
    late = {name: round(max(times) - end[name], 3) for name, times in sorted(arrivals(pcap).items())}
    print(f"\n{what}: last token after the end, s: {late}")
    assert set(late) == {"tcp4:8443", "tcp6:8443", "udp4:8443", "udp6:8443", "tcp4:80", "tcp6:80"}, late
    assert max(late.values()) < SOON, late
    return late


def strike(lab: Lab, how: str) -> list[int]:
    """Returns who has to be woken."""
    gateway = lab.status["gateway_pid"]
    supervisor = int(Path("/run/consentry", lab.name, "supervisor.pid").read_text())
    if how == "restarted":
        os.kill(gateway, signal.SIGKILL)
        return []
    os.kill(supervisor, signal.SIGSTOP)
    if how == "stopped":
        os.kill(gateway, signal.SIGSTOP)
        return [gateway, supervisor]
    for pid in (gateway, supervisor):
        os.kill(pid, signal.SIGKILL)
    return []


@pytest.mark.parametrize("how", ["killed", "stopped", "restarted"])
def test_a_consent_ends_whoever_is_dead(tmp_path: Path, how: str) -> None:
    with lab_up(phones=1) as lab, lab.capture(tmp_path / "wan.pcap") as pcap:
        grant(lab)
        most = min(row["left"] for row in given(lab))
        lab.consentry("lab", "time", f"+{int(most) - BEFORE}s")
        with talking(lab):
            wait_for(lambda: len(arrivals(pcap)) == 6)
            time.sleep(3)  # until what passes is remembered for a next process
            end = ends(lab)
            asleep = strike(lab, how)
            struck = time.time()
            if min(end.values()) - struck < 2:
                raise TooLate("its time was up before it was struck")
            time.sleep(max(end.values()) + 1 - time.time())
            for pid in asleep:
                os.kill(pid, signal.SIGCONT)
            time.sleep(1)
        late = judged(pcap, end, how)
    for name, seconds in late.items():
        if not name.endswith(":80"):
            in_time(-seconds, 1)  # it was the end that stopped it
        elif how != "restarted":
            assert end[name] + seconds < struck + 0.5, "each request of it waits for its verdict"


def test_a_revocation_and_the_end_of_its_time_stop_what_runs(tmp_path: Path) -> None:
    with lab_up(phones=1) as lab:
        for what, words in (("revoked", None), ("time is up", ("lab", "time", "+15m"))):
            with lab.capture(tmp_path / f"{what}.pcap") as pcap:
                grant(lab)
                with talking(lab):
                    wait_for(lambda: len(arrivals(pcap)) == 6)
                    end = time.time()
                    if words:
                        lab.consentry(*words)
                    else:
                        for row in given(lab):
                            lab.consentry("consents", "revoke", str(row["id"]))
                    end, began = time.time(), end
                    time.sleep(2.5)
                late = judged(pcap, dict.fromkeys(arrivals(pcap), end), what)
                in_time(began - min(late.values()) - end, 0.5)
            assert "expires" not in lab.gateway("nft", "list", "set", "inet", "consentry", "consents4").stdout
