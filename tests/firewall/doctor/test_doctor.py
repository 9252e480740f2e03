"""Each check looks at a world that was spoilt in earnest: ports, rules, switches, disks of a namespace of their own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from judge import wait_for
from plans import ONE_ARMED

from firewall.backends.linux import backend, marks
from firewall.box import bridge as box_bridge
from firewall.box import units
from firewall.doctor import box, examine, gate, kernel, network, radio, rivals
from firewall.doctor.finding import Finding
from firewall.doctor.world import Ran, World
from firewall.settings import Settings
from firewall.spaces import Space

pytestmark = pytest.mark.lab

PLAN = 'mode = "ap"\nport = "wlan0"\nlan = "lan0"\nsubnet4 = "192.168.77.0/24"\nsubnet6 = "fd77::/64"\n'


def sh(script: str) -> None:
    subprocess.run(["sh", "-ec", script], check=True, stdout=subprocess.DEVNULL)


def states(findings: Iterator[Finding]) -> list[tuple[str, str]]:
    return [(finding.name, finding.state) for finding in findings]


def one(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    return finding


# -- the gate ----------------------------------------------------------------------------------------------------------


def test_a_gateway_says_how_it_is(world: World) -> None:
    assert one(gate.gateway(world)).state == "pass"
    assert world.status
    for change, state, says in (
        ({"mode": "watch"}, "warn", "all passes but phone to phone"), ({"state": "LOCKED", "reason": "stopped by anna"}, "fail", "anna"),
        ({"state": "DEGRADED", "reason": "the rules"}, "warn", "the rules"),
    ):
        world.status |= change
        seen = one(gate.gateway(world))
        assert (seen.state, says in seen.says) == (state, True)
        assert seen.remedy
    world.status |= {"state": "ENFORCING", "mode": "enforce", "trouble": "the history cannot be written: disk I/O error"}
    assert states(gate.gateway(world)) == [("gateway", "pass"), ("history", "warn")]
    world.status["trouble"] = "changed from outside and put right: the ruleset, by nft (pid 7)"
    assert [(seen.name, seen.remedy) for seen in gate.gateway(world)] == [("gateway", ""), ("gateway", "consentry history notes")]  # no room is lacking


def test_no_gateway_is_a_failure_where_one_was_set_up(world: World) -> None:
    world.status = None
    assert one(gate.gateway(world)).state == "warn"
    world.plan_file.write_text(PLAN)
    again = World(world.run_dir, world.plan_file)
    assert one(gate.gateway(again)).state == "fail"
    assert states(gate.children(again)) == [("keeper", "fail")]


def test_what_setup_wrote(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(gate.plan(world)) == []
    world.plan_file.write_text(PLAN.replace('"ap"', '"app"'))
    seen = one(gate.plan(world))
    assert (seen.state, "mode" in seen.says) == ("fail", True)
    world.plan_file.write_text(PLAN.replace('"ap"', '"inline"').replace("wlan0", "eth1"))
    told: list[Ran | None] = [None, Ran(1, "disabled", ""), Ran(0, "enabled", "")]
    monkeypatch.setattr(world, "run", lambda *words: told.pop(0))
    assert [one(gate.plan(world)).state for _ in range(3)] == ["pass", "warn", "pass"]


def test_the_two_locks(world: World) -> None:
    lost = one(gate.closed(world))
    assert lost.state == "fail"
    assert "IPv4" in lost.says
    assert "IPv6" in lost.says
    for family in ("-4", "-6"):
        sh(f"ip {family} rule add pref 0 iif lan0 fwmark 0/0x1000000 blackhole")
    assert "the table" in one(gate.closed(world)).says
    sh("nft add table inet consentry")
    assert one(gate.closed(world)).state == "pass"
    sh("ip -6 rule del pref 0 iif lan0")
    assert one(gate.closed(world)).says == "missing: the policy rule of IPv6"
    world.status = None  # nobody closes it, and it forwards
    assert "unfiltered" in one(gate.closed(world)).says
    sh("sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0")
    assert one(gate.closed(world)).state == "pass"


def test_children_that_failed_say_why(world: World) -> None:
    told = {"hostapd": {"state": "failed", "reason": "rfkill", "remedy": "rfkill unblock wlan", "pid": 0}, "dnsmasq": {"state": "up", "pid": 7}}
    (world.run_dir / "children.json").write_text(json.dumps(told))
    with subprocess.Popen([sys.executable, "-c", "input()", "firewall.box.keeper"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as keeper:
        (world.run_dir / "keeper.pid").write_text(f"{keeper.pid}\n")
        wait_for(lambda: b"keeper" in Path(f"/proc/{keeper.pid}/cmdline").read_bytes())  # it is just being started
        assert list(gate.children(world)) == [Finding("hostapd", "fail", "failed: rfkill", "rfkill unblock wlan"), Finding("keeper", "pass", "dnsmasq up")]
    dead = one(gate.children(world))  # what it said last is true no more
    assert (dead.name, dead.state, "does not run" in dead.says) == ("keeper", "fail", True)
    (world.run_dir / "children.json").write_text('["no object"]')
    assert one(gate.children(world)).state == "fail"


def test_a_queue_that_nobody_reads(world: World) -> None:
    assert one(gate.queue(world)).state == "fail"


def test_databases_that_grew_old(world: World) -> None:
    assert world.status
    world.status["places"] = [{"file": "asn.mmdb", "what": "", "built": 1.0, "age_days": 100, "stale": True, "trouble": ""}]
    old, packs = gate.ages(world)
    assert (old.state, "asn.mmdb 100 days" in old.says, packs.state) == ("warn", True, "pass")
    world.status["places"] = [{"file": "asn.mmdb", "what": "", "built": 0, "age_days": 0, "stale": False, "trouble": "cannot be read"}]
    assert next(gate.ages(world)).state == "fail"


# -- ways of packets -----------------------------------------------------------------------------------------------------


def test_a_way_out_and_somebody_who_answers(world: World) -> None:
    Settings("lan0", "wan0", run_dir=str(world.run_dir), state_dir=str(world.state_dir), upstreams=("203.0.113.7", "203.0.113.1")).write()
    world = World(world.run_dir, world.plan_file, world.status)
    assert "no default route" in one(network.uplink(world)).says
    sh("ip route add default dev wan0")
    silent = one(network.uplink(world))
    assert ("no resolver answers" in silent.says, silent.remedy) == (True, "ping -c1 203.0.113.7; another resolver: sudo consentry run --upstream 9.9.9.9")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind(("203.0.113.1", 53))
        answering = threading.Thread(target=lambda: resolver.sendto(b"answer", resolver.recvfrom(512)[1]))
        answering.start()
        assert one(network.uplink(world)) == Finding("uplink", "pass", "wan0 leads out over IPv4; 203.0.113.1 answers for names")
        answering.join()
    assert world.status
    world.status["wan"] = "auto"
    sh("ip route del default")
    assert "nobody has a default route" in one(network.uplink(World(world.run_dir, world.plan_file, world.status))).says


def test_forwarding_switched_off(world: World) -> None:
    assert one(network.forwarding(world)).state == "pass"
    sh("sysctl -qw net.ipv6.conf.all.forwarding=0")
    assert "IPv6" in one(network.forwarding(world)).says
    assert one(network.forwarding(world)).state == "fail"


def test_rp_filter_that_drops_replies(world: World) -> None:
    sh("sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.wan0.src_valid_mark=0 net.ipv4.conf.all.src_valid_mark=0")
    strict = one(network.reverse_path(world))
    assert (strict.state, strict.remedy) == ("fail", "sudo sysctl net.ipv4.conf.wan0.src_valid_mark=1")
    sh(strict.remedy.replace("sudo sysctl", "sysctl -qw"))
    assert one(network.reverse_path(world)).state == "pass"


@contextmanager
def squatter(addr: str, port: int) -> Iterator[None]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((addr, port))
        yield


def test_who_has_port_53(world: World) -> None:
    assert world.status
    assert one(network.names(world)).state == "fail"  # our resolver does not listen
    world.status["pid"] = os.getpid()
    with squatter("0.0.0.0", 5300):
        assert "free" in one(network.names(world)).says
        with squatter("127.0.0.53", 53):
            local = one(network.names(world))
            assert (local.state, f"(pid {os.getpid()}) serves this box only" in local.says) == ("pass", True)
        with squatter("0.0.0.0", 53):
            assert one(network.names(world)).state == "warn"
        world.status = None
        assert "belongs to" in one(network.names(world)).says  # a gateway could not start


def test_who_gives_addresses(world: World) -> None:
    assert one(network.leases(world)).state == "pass"
    world.plan_file.write_text(PLAN)
    again = World(world.run_dir, world.plan_file, world.status)
    assert one(network.leases(again)).says == "nobody gives the phones addresses"
    with squatter("0.0.0.0", 67):
        rogue = one(network.leases(again))
        assert (rogue.state, f"pid {os.getpid()}" in rogue.says) == ("fail", True)
        (world.run_dir / "children.json").write_text(json.dumps({"dnsmasq": {"state": "up", "pid": os.getpid()}}))
        assert one(network.leases(again)) == Finding("port 67", "pass", "our dnsmasq gives addresses")


def test_another_router_at_the_phones_side(world: World) -> None:
    assert one(network.advertisements(world)).state == "pass"
    with Space() as rogue:
        sh(f"ip link add cstr type veth peer name eth0 netns /proc/{os.getpid()}/fd/{rogue.fd}; ip link set cstr master lan0 up")
        with rogue.inside():
            sh("echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad; ip link set eth0 up")
            index = socket.if_nametoindex("eth0")
            router = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        ended = threading.Event()

        def advertise() -> None:
            while not ended.wait(0.1):
                router.sendto(bytes((134, 0, 0, 0, 64, 0, 7, 8)) + bytes(8), ("ff02::1", 0, 0, index))

        speaker = threading.Thread(target=advertise)
        with router:
            speaker.start()
            try:
                until = time.monotonic() + 20
                while (seen := list(network.advertisements(world)))[0].state != "fail":
                    assert time.monotonic() < until, seen
            finally:
                ended.set()
                speaker.join()
        assert seen[0].says.startswith("fe80::")
        sh("ip link del cstr")
    sh("sysctl -qw net.ipv6.conf.lan0.accept_ra=2")
    assert states(network.advertisements(world))[0] == ("IPv6 router", "warn")


# -- others' rules ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("script", "state", "who", "remedy"), [
    ("iptables-nft -P FORWARD DROP; iptables-nft -N DOCKER-USER; iptables-nft -A FORWARD -j DOCKER-USER", "fail", "Docker", "DOCKER-USER -i lan0"),
    ("nft 'table inet firewalld { chain filter_FORWARD { type filter hook forward priority 10; jump z; }; chain z { reject with icmpx admin-prohibited; }; }'",
     "fail", "firewalld", "--add-interface=lan0"),
    ("iptables-nft -N ufw-user; iptables-nft -A FORWARD -j ufw-user; iptables-nft -P FORWARD DROP", "fail", "ufw", "ufw route allow in on lan0"),
    ("nft 'table ip mine { chain c { type filter hook forward priority 0; tcp dport 443 drop; }; }'", "warn", "the table ip mine", "lan0"),
    ("nft 'table ip dns { chain c { type nat hook prerouting priority -101; udp dport { 53, 853 } dnat to 8.8.8.8; }; }'", "fail", "the table ip dns", "nft -a"),
    ("nft 'table ip vpn { chain c { type filter hook prerouting priority -100; meta mark set meta mark and 0xffff0000 or 0x03000001; }; }'", "fail", "the table ip vpn", "0x00003fff"),
])
def test_rules_of_others_that_stand_in_the_way(world: World, script: str, state: str, who: str, remedy: str) -> None:
    sh(script)
    seen = one(rivals.rivals(world))
    assert (seen.state, who in seen.says, remedy in seen.remedy) == (state, True, True), seen


@pytest.mark.parametrize("script", [
    "true",
    "nft 'table inet firewalld { chain f { type filter hook forward priority 10; jump zones; reject; }; chain zones { iifname \"lan0\" goto trusted; }; chain trusted { jump pre; accept; }; chain pre { }; }'",
    "iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -i lan0 -j ACCEPT; iptables-nft -A FORWARD -o lan0 -j ACCEPT",
    "nft 'table ip t { chain c { type filter hook forward priority 0; iifname \"docker0\" drop; oifname != \"wan0\" ip daddr 10.9.9.9 accept; ct state invalid drop; }; }'",
    "nft 'table ip t { chain c { type nat hook prerouting priority -100; iifname \"docker0\" udp dport 53 dnat to 8.8.8.8; }; }'",
    "nft 'table ip wg { chain c { type filter hook prerouting priority -100; iifname \"lan0\" meta mark set meta mark and 0xffffff00 or 0x51; ct mark set 0xffffffff; }; }'",
    "nft 'table inet consentry { chain c { type filter hook forward priority 0; policy drop; }; }'",
    "nft 'table bridge b { chain c { type filter hook forward priority 0; policy drop; }; }'",
])
def test_rules_of_others_that_are_not_about_phones(world: World, script: str) -> None:
    sh(script)
    seen = one(rivals.rivals(world))
    assert seen.state == "pass", seen


def test_our_own_locks_are_no_rivals(world: World) -> None:
    sh(units.lock(marks.PERMIT, "lan0", ["eth1"]).replace("exit $status", ""))
    plan = replace(ONE_ARMED, lan="lan0", port="wan0")
    subprocess.run(["nft", "-f", "-"], input=box_bridge.table(plan), text=True, check=True)
    assert one(rivals.rivals(world)) == Finding("firewalls", "pass", "nobody else refuses or diverts what phones send")


# -- kernel, bridge, radio -------------------------------------------------------------------------------------------------


def test_the_kernel_is_tried(world: World) -> None:
    assert kernel.QUEUE == backend.QUEUE
    seen = one(kernel.nftables(world))
    assert seen.state == "pass"
    assert "queue" in seen.says.lower()
    world.root = False
    assert one(kernel.nftables(world)).says == "not known without root"


def test_ports_that_reach_each_other(world: World) -> None:
    sh("for i in 1 2; do ip link add p$i type veth peer name q$i; ip link set p$i master lan0 up; bridge link set dev p$i isolated on; done")
    sh("echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables; echo 0 > /proc/sys/net/bridge/bridge-nf-call-ip6tables")
    assert one(kernel.bridge(world)).says == "lan0 has 2 ports, kept from others"
    sh("bridge link set dev p1 isolated off; echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables")
    assert states(kernel.bridge(world)) == [("bridge", "warn"), ("bridge", "fail")]
    sh("ip link set lan0 down")
    assert states(kernel.bridge(world))[0] == ("lan", "fail")
    sh("ip link del lan0")
    assert states(kernel.bridge(world)) == [("lan", "fail")]


IW = """Wiphy phy0
\tSupported Ciphers:
\t\t* CCMP-128 (00-0f-ac:4)
\t\t* CMAC (00-0f-ac:6)
\tSupported interface modes:
\t\t * managed
\t\t * AP
\t\t * AP/VLAN
\t\t * monitor
\tBand 1:
\t\tFrequencies:
\t\t\t* 2412 MHz [1] (18.0 dBm)
\t\t\t* 2437 MHz [6] (18.0 dBm)
Wiphy phy1
\tSupported Ciphers:
\t\t* CCMP-128 (00-0f-ac:4)
\tSupported interface modes:
\t\t * managed
\t\t * AP/VLAN
\tBand 1:
"""
RFKILL = "0: phy0: Wireless LAN\n\tSoft blocked: yes\n\tHard blocked: no\n1: phy1: Wireless LAN\n\tSoft blocked: no\n\tHard blocked: yes\n"


def test_what_radios_can(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What iw prints, for there is no radio here; the guest has real ones."""
    told = {"iw list": IW, "rfkill list wlan": RFKILL, "iw reg get": "global\ncountry 00: DFS-UNSET\n"}
    monkeypatch.setattr(world, "run", lambda *words: Ran(0, told[" ".join(words)], ""))
    assert [(found.state, found.says.split()[0]) for found in radio.radios(world)] == [
        ("pass", "phy0"), ("warn", "phy1"), ("warn", "phy0"), ("warn", "phy1"), ("warn", "no"),
    ]
    told["iw list"] = IW.replace("CMAC", "GMAC").replace("dBm", "dBm) (no IR", 1)
    assert "WPA2 only" in next(radio.radios(world)).says
    told["iw list"] = IW.replace("dBm", "dBm) (no IR")
    assert "no channel" in next(radio.radios(world)).says
    told["iw list"] = ""
    assert one(radio.radios(world)).state == "pass"
    world.plan_file.write_text(PLAN)
    again = World(world.run_dir, world.plan_file)
    monkeypatch.setattr(again, "run", lambda *words: Ran(0, told[" ".join(words)], ""))
    assert one(radio.radios(again)).state == "fail"
    told["iw list"] = IW
    monkeypatch.setattr(again, "there", lambda _: False)
    assert "2.4 GHz only" in [*radio.radios(again)][-1].says
    monkeypatch.setattr(again, "there", lambda _: True)
    assert "2.4 GHz only" not in [*radio.radios(again)][-1].says


# -- the box -----------------------------------------------------------------------------------------------------------------


def test_a_disk_that_is_full(world: World) -> None:
    assert one(box.disk(world)).state == "pass"
    where = world.state_dir
    sh(f"mount -t tmpfs -o size=64m none {where}")
    try:
        assert one(box.disk(world)).state == "warn"
        (where / "history.db").write_bytes(bytes(60 << 20))
        seen = one(box.disk(world))
        assert (seen.state, "60 of at most" in seen.says) == ("fail", True)
    finally:
        sh(f"umount {where}")


def test_files_that_others_could_write(world: World) -> None:
    assert one(box.rights(world)).state == "pass"
    world.plan_file.write_text(PLAN)
    world.plan_file.chmod(0o644)
    world.state_dir.chmod(0o777)
    assert [found.remedy.split()[0:3] for found in box.rights(world)] == [["sudo", "chmod", "o-w"], ["sudo", "chmod", "600"]]


def test_a_clock_that_is_wrong(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 86_400.0)
    assert one(box.clock(world)).state == "fail"


def test_a_firewall_of_somebody_else_s(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(box.python(world)).state == "pass"
    for name in ("firewall", "rules"):
        (tmp_path / "other" / name).mkdir(parents=True)
        (tmp_path / "other" / name / "__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "other"))
    seen = one(box.python(world))
    assert (seen.state, str(tmp_path / "other") in seen.says) == ("fail", True)


def test_one_check_that_breaks_does_not_hide_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "sysctl", lambda name: "not a number")
    found = {finding.name: finding for finding in examine(world)}
    assert "ValueError" in found["reverse_path"].says
    assert {"gateway", "closed", "disk", "python", "firewalls"} <= found.keys()


def test_the_command_looks_where_the_gateway_lives(world: World) -> None:
    """Without a gateway, where it is called; every line JSON, exit status 1 for what fails."""
    sh("nft 'table ip mine { chain c { type filter hook forward priority 0; drop; }; }'")
    words = [sys.executable, "-m", "firewall.cli", "--socket", str(world.run_dir / "none.sock"), "doctor", "--run-dir", str(world.run_dir), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1, done.stderr
    assert all(set(row) == {"name", "state", "says", "remedy"} for row in rows)
    (bad,) = (row for row in rows if row["name"] == "firewalls")
    assert (bad["state"], "lan0" in bad["remedy"]) == ("fail", True)
    assert "\x1b" not in done.stdout
