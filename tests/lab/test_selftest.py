"""`consentry selftest`: a sound gate passes it, and each way of spoiling one is found, in the row that is about it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from judge import Lab, lines, wait_for, wires_up

from firewall.backends.linux.marks import PASS
from firewall.lab.cli import settings_of
from firewall.selftest.verdict import DECIDED

pytestmark = pytest.mark.lab

PASSES_ALL = f"""
table inet somebody {{
    chain c {{ type filter hook prerouting priority mangle + 20; iifname "lan0" meta mark set meta mark | {PASS}; }}
}}
"""
# A gateway that does not put right what somebody takes from it.
UNMENDED = """
import sys
from firewall import app
from firewall.backends.linux.backend import LinuxBackend
LinuxBackend._mend = lambda self, touched: []
sys.exit(app.main(sys.argv[1]))
"""


def selftest(lab: Lab, *words: str) -> tuple[int, dict[tuple[str, int], dict]]:
    done = lab.consentry("selftest", "--json", *words, check=False, timeout=120)
    assert done.stdout, done.stderr
    return done.returncode, {(row["name"], row["family"]): row for row in lines(done.stdout)}


def through(rows: dict[tuple[str, int], dict]) -> set[tuple[str, int]]:
    return {key for key, row in rows.items() if row["state"] == "through"}


def traces(lab: Lab) -> tuple[str, ...]:
    links = [link["ifname"] for link in json.loads(lab.gateway("ip", "-j", "link").stdout)]
    here = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    phones = [row["name"] for row in lines(lab.consentry("phones", "list", "--json").stdout)]
    return (*links, *phones, lab.consentry("asks", "--all").stdout, *sorted(line for line in here.splitlines() if lab.name in line))


def test_a_sound_gate_holds_everything_also_while_it_is_hurt(lab: Lab) -> None:
    before = traces(lab)
    status, rows = selftest(lab)
    assert {key: row["says"] for key, row in rows.items() if row["state"] not in {"held", "seen"}} == {}
    assert status == 0
    assert {rows[name, family]["state"] for name in ("control", "ears") for family in (4, 6)} == {"seen"}  # who judges does see and hear
    assert {name for (name, _), row in rows.items() if re.search(r"\([a-z-]+/\d+\)$", row["says"])} == DECIDED  # and the gate says so, too
    assert rows["routed", 6]["says"] == "not received (baseline/3)"
    assert {("dns", 4), ("dot", 6), ("doh", 4), ("quic", 6), ("bare", 4), ("neighbour", 4), ("routed", 6), ("spoof", 4), ("tls", 6)} <= rows.keys()
    assert "our resolver answered" in rows["dns", 4]["says"]
    assert all("handshake only" in rows[name, 4]["says"] for name in ("tls", "http", "bare", "doh"))  # it came so far, and no further
    assert {"killed", "queue", "flushed"} <= {name for name, _ in rows}
    assert traces(lab) == before
    assert lab.history("phone:selftest verdict:refused")


def test_packets_that_somebody_marks_as_passed_and_ports_that_are_open_to_each_other(lab: Lab) -> None:
    lab.gateway("nft", PASSES_ALL)
    for port in ("port1", "port2"):
        lab.gateway("bridge", "link", "set", "dev", port, "isolated", "off")
    try:
        status, rows = selftest(lab, "--no-disrupt")
    finally:
        lab.gateway("nft", "delete", "table", "inet", "somebody")
        for port in ("port1", "port2"):
            lab.gateway("bridge", "link", "set", "dev", port, "isolated", "on")
    assert status == 1
    assert {("bare-udp", 4), ("bare-udp", 6), ("quic", 4), ("tls", 4), ("http", 6), ("dot", 4), ("ping", 4)} <= through(rows)
    assert {("neighbour", 4), ("neighbour", 6)} <= through(rows)
    assert rows["dns", 4]["state"] == "held"


def test_rules_that_allow_everything(lab: Lab) -> None:
    """Without a way out over IPv6, too: phones need none for each other."""
    way = json.loads(lab.gateway("ip", "-j", "-6", "route", "show", "default").stdout)[0]["gateway"]
    lab.consentry("rules", "add", "allow")
    lab.gateway("ip", "-6", "route", "del", "default")
    try:
        status, rows = selftest(lab, "--no-disrupt")
    finally:
        lab.gateway("ip", "-6", "route", "add", "default", "via", way)
        lab.consentry("rules", "undo")
    assert (status, through(rows)) == (1, {("rules", 0)})
    assert {rows[name, 4]["state"] for name in ("tls", "bare-udp", "routed")} == {rows["routed", 6]["state"]} == {"open"}
    assert (rows["control", 6]["state"], rows["neighbour", 6]["state"], ("tls", 6) in rows) == ("void", "held", False)


@pytest.fixture
def unmended() -> Iterator[Lab]:
    with wires_up(1) as wires:
        settings = settings_of(wires).write()
        Path(settings_of(wires).state_dir).mkdir()
        other = subprocess.Popen(wires.gateway_argv([sys.executable, "-P", "-c", UNMENDED, str(settings)]), stdin=subprocess.DEVNULL)
        try:
            lab = Lab(wires.name)
            wait_for(lambda: lab.state_is("ENFORCING"))
            yield lab
        finally:
            other.kill()
            other.wait()


@contextmanager
def again_and_again(lab: Lab, script: str) -> Iterator[None]:
    """What the gateway loads anew when it is told something is spoilt at once."""
    words = ["ip", "netns", "exec", lab.namespaces["gateway"], "sh", "-c", f"while :; do {script}; sleep 0.05; done"]
    loop = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        loop.kill()
        loop.wait()


def test_its_last_chains_and_its_queue_gone_for_good(unmended: Lab) -> None:
    chains = "; ".join(f"nft flush chain inet consentry {chain}" for chain in ("seal", "last", "queued"))
    with again_and_again(unmended, f"{chains}; iptables-nft -w -t mangle -F FORWARD; ip6tables-nft -w -t mangle -F FORWARD"):
        status, rows = selftest(unmended, "--no-disrupt")
    assert status == 1
    assert {("bare-udp", 4), ("bare-udp", 6), ("tls", 4), ("http", 6)} <= through(rows)
    assert rows["bare-udp", 4]["says"].endswith("left by wan0")


def test_every_rule_flushed_for_good_with_the_one_of_routing(unmended: Lab) -> None:
    rule = "rule del pref 0 iif lan0"
    with again_and_again(unmended, f"nft flush ruleset; ip -4 {rule}; ip -6 {rule}"):
        status, rows = selftest(unmended, "--no-disrupt")
    assert status == 1
    assert {("bare-udp", 4), ("bare-udp", 6), ("dns", 4), ("gre", 4)} <= through(rows)  # without NAT: seen nevertheless
    assert rows["joined", 0]["state"] == "blind"
