"""Fail closed, judged from outside: while the gate is hurt, uploads go on being tried, and not one token gets out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import families
import pytest
from judge import ALLOW_ALL, Lab, TooLate, consentry, fresh_name, lab_up, wait_for, wires_up

pytestmark = pytest.mark.lab

MOST_SECONDS = 60.0  # a storm ends when its test is done
RATE = 100  # new flows a second; 10 of 14 of them must be refused, of each half over IPv6
START = "from firewall import start; from firewall.lab.cli import *; start.start(settings_of(Lab()), Lab().gateway_argv([]))"
FEW = 20  # attempts that must fall into a fault's window, or the test has proved nothing


def results(file: Path) -> list[dict]:
    """Of what has ended; one more may just be written."""
    return [json.loads(line) for line in file.read_text().rpartition("\n")[0].splitlines()]


def judge(lab: Lab, tried: list[dict], pcap: Path) -> None:
    """No token of a refused kind was received by anyone or seen on the outer link."""
    payloads = "\n".join(row["payload"] for row in lab.sinks())
    raw = pcap.read_bytes()
    evil = [row for row in tried if not row["good"]]
    assert evil
    leaked = [row for row in evil if row["token"] in payloads or row["token"].encode() in raw]
    assert not leaked, f"{len(leaked)} of {len(evil)} got out: {leaked[:5]}"
    good = [row for row in tried if row["good"] and row["ok"]]
    assert good
    assert all(row["token"] in payloads for row in good)
    assert any(row["token"].encode() in raw for row in good)  # the capture does see what passes


def within(tried: list[dict], begin: float, end: float, *, good: bool) -> list[dict]:
    return [row for row in tried if row["good"] is good and begin <= row["time"] <= end]


def halves(tried: list[dict]) -> tuple[list[dict], list[dict]]:
    """Over IPv4, over IPv6."""
    return tuple([row for row in tried if row["kind"].endswith(family)] for family in "46")


def works_again(out: Path, since: float) -> bool:
    """By itself: of what may pass, the last of those begun since then did, over IPv4 and over IPv6."""
    last = [half[-FEW // 4 :] for half in halves(within(results(out), since, time.time(), good=True))]
    return all(len(rows) == FEW // 4 and all(row["ok"] for row in rows) for rows in last)


def hurt(lab: Lab, tmp_path: Path, blows: int, blow, healed) -> None:
    """Strike `blows` times under load; each window lasts from the blow until `healed()`, and at least half a second."""
    out, pcap = tmp_path / "storm.jsonl", tmp_path / "wan.pcap"
    windows = []
    with lab.capture(pcap):
        storm = lab.storm(MOST_SECONDS, RATE, out)
        wait_for(lambda: out.exists() and out.read_text().count("\n") > RATE)
        for _ in range(blows):
            began = time.time()
            blow()
            time.sleep(0.5)
            wait_for(healed, 15)
            windows.append((began, time.time()))
            wait_for(lambda: works_again(out, windows[-1][1]), 15)
        lab.calm(storm)
    tried = results(out)
    judge(lab, tried, pcap)
    for begin, end in windows:
        if min(map(len, halves(within(tried, begin, end, good=False)))) < FEW // 2:
            raise TooLate("nearly nothing was tried while it was hurt")


def test_the_storm_is_a_real_one(tmp_path: Path) -> None:
    """The positive control: where everything is allowed, every token of every kind arrives."""
    rules = tmp_path / "rules.toml"
    rules.write_text(ALLOW_ALL)
    with lab_up(rules) as lab:
        out = tmp_path / "storm.jsonl"
        assert lab.storm(1.0, 56, out).wait(timeout=30) == 0
        tried = results(out)
        payloads = "\n".join(row["payload"] for row in lab.sinks())
        assert len(tried) == 56
        if missing := [row for row in tried if row["token"] not in payloads]:
            raise TooLate(missing)


def test_kill_9_of_the_gateway(lab: Lab, tmp_path: Path) -> None:
    def kill() -> None:
        os.kill(lab.status["gateway_pid"], signal.SIGKILL)

    hurt(lab, tmp_path, 3, kill, lambda: lab.state_is("ENFORCING"))


def test_nft_flush_ruleset(lab: Lab, tmp_path: Path) -> None:
    def healed() -> bool:
        return "masquerade" in lab.gateway("nft", "list", "ruleset").stdout

    hurt(lab, tmp_path, 3, lambda: lab.gateway("nft", "flush", "ruleset"), healed)
    assert "put right" in json.loads(lab.consentry("status", "--json").stdout)["trouble"]


def test_the_queue_rule_deleted(lab: Lab, tmp_path: Path) -> None:
    def queued() -> str:
        both = lab.gateway("iptables-nft", "-t", "mangle", "-S", check=False).stdout + lab.gateway("nft", "list", "ruleset").stdout
        return both

    def delete() -> None:
        for tool in ("iptables-nft", "ip6tables-nft"):
            lab.gateway(tool, "-t", "mangle", "-F", check=False)

    hurt(lab, tmp_path, 1, delete, lambda: "NFQUEUE" in queued() or "queue" in queued())


def flushed_under(lab: Lab, tmp_path: Path, names: tuple[str, ...], modes: tuple[int, ...]) -> None:
    """The ruleset is flushed once under each mode of these sysctls."""
    left = iter(modes)

    def blow() -> None:
        mode = next(left)
        for name in names:
            lab.gateway("sysctl", "-qw", f"{name}={mode}")
        lab.gateway("nft", "flush", "ruleset")

    hurt(lab, tmp_path, len(modes), blow, lambda: lab.state_is("ENFORCING"))


def test_rp_filter(lab: Lab, tmp_path: Path) -> None:
    flushed_under(lab, tmp_path, tuple(f"net.ipv4.conf.{where}.rp_filter" for where in ("all", "wan0", "lan0")), (1, 2, 0))


def test_bridge_nf_call_iptables(lab: Lab, tmp_path: Path) -> None:
    flushed_under(lab, tmp_path, tuple(f"net.bridge.bridge-nf-call-{what}" for what in ("iptables", "ip6tables")), (1, 0))


def test_nothing_passes_before_the_rules_are_loaded(tmp_path: Path) -> None:
    """Phones are at it while the gate is still being built."""
    with wires_up() as wires:
        lab, out, pcap = Lab(wires.name), tmp_path / "storm.jsonl", tmp_path / "wan.pcap"
        with lab.capture(pcap):
            storm = lab.storm(MOST_SECONDS, RATE, out)
            wait_for(lambda: out.exists() and out.read_text().count("\n") > RATE // 2)
            began = time.time()
            subprocess.run([sys.executable, "-c", START], check=True, env=os.environ | {"CONSENTRY_LAB": wires.name})
            ready = time.time()
            time.sleep(0.5)
            lab.calm(storm)
        tried = results(out)
        assert len(within(tried, 0, ready, good=False)) >= FEW
        assert not any(row["ok"] for row in within(tried, 0, began - 2.1, good=True))  # the way is closed before
        judge(lab, tried, pcap)


def test_broken_rules_at_the_start_lock(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\naction = "allow"\nmatch = "nam:x"\n')
    name = fresh_name()
    up = consentry("lab", "up", "--rules", str(rules), lab=name, check=False)
    families.watch([f"{name}-phone1"])
    try:
        assert up.returncode == 1
        assert "LOCKED" in up.stderr + up.stdout
        assert "rules.toml:3" in up.stderr + up.stdout
        lab, out, pcap = Lab(name), tmp_path / "storm.jsonl", tmp_path / "wan.pcap"
        with lab.capture(pcap):
            assert lab.storm(2.0, RATE, out).wait(timeout=30) == 0
        tried = results(out)
        assert len(tried) == 2 * RATE
        assert not any(row["ok"] for row in tried)
        assert lab.sinks() == []
        rules.write_text("")
        wait_for(lambda: lab.state_is("ENFORCING"))
        assert lab.fetch("http://example.com/") == {True}
    finally:
        families.leave([f"{name}-phone1"])
        consentry("lab", "down", lab=name)


def test_broken_rules_at_reload_keep_the_last_good_ones(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\naction = "block"\nmatch = "name:forbidden.example"\n')
    with lab_up(rules) as lab:

        def break_them() -> None:
            rules.write_text("[[rule]\n")

        hurt(lab, tmp_path, 1, break_them, lambda: lab.state_is("DEGRADED"))
        assert lab.fetch("http://forbidden.example/") == {False}
        told = json.loads(lab.consentry("status", "--json").stdout)
        assert "rules.toml:1" in told["reason"]
        rules.write_text("")
        wait_for(lambda: lab.state_is("ENFORCING"))
