from __future__ import annotations

import re
import subprocess
import sys

import pytest

from firewall.backends import BackendError
from firewall.backends.linux import marks, nftables
from firewall.backends.linux.nftables import Held, Ruleset
from firewall.commands import KernelState

MAC = bytes.fromhex("020000000101")
SPAN4 = (bytes([42, 62, 48, 0]), bytes([42, 62, 48, 255]))
ONE6 = (bytes(15) + b"\x07", bytes(15) + b"\x07")


@pytest.fixture
def rules(monkeypatch) -> Ruleset:
    monkeypatch.setattr(Ruleset, "_find_queue", lambda _: ("nft queue", ()))
    monkeypatch.setattr(Ruleset, "_find_misplaced", lambda _: "")
    monkeypatch.setattr(nftables, "accepted", lambda _: False)
    return Ruleset("lan0", "wan0", 66, ssh=False)


def state(**more) -> KernelState:
    return KernelState(**({"generation": 5, "locked": False, "refused4": (SPAN4,), "refused6": (ONE6,), "keep_learned": True} | more))


def test_elements_and_generation_are_in_the_same_text(rules: Ruleset) -> None:
    text = rules.render(state(exempt=(3,)), Held({(MAC, bytes([1, 2, 3, 4])): 60}, {(MAC, bytes([10, 77, 0, 10])): 1, (MAC, bytes(15) + b"\x09"): 1023}, [4]), masquerade6=False)
    assert "add element inet consentry generation { 5 }" in text
    assert "flush set inet consentry refused4\nadd element inet consentry refused4 { 42.62.48.0-42.62.48.255 }" in text
    assert "add element inet consentry refused6 { ::7 }" in text
    assert "add element inet consentry learned4 { 02:00:00:00:01:01 . 1.2.3.4 timeout 60s }" in text
    assert "flush map inet consentry slots4\nadd element inet consentry slots4 { 02:00:00:00:01:01 . 10.77.0.10 : 0x00004000 }" in text
    assert "flush set inet consentry owned6\nadd element inet consentry owned6 { ::9 }" in text
    assert "slots6 { 02:00:00:00:01:01 . ::9 : 0x00ffc000 }" in text
    assert "flush set inet consentry exempt\nadd element inet consentry exempt { 0x0000c000 }" in text
    assert "add element inet consentry sides { 4 }" in text
    assert "flush set inet consentry learned4" not in text
    assert "flush set inet consentry learned4" in rules.render(state(keep_learned=False), Held(), masquerade6=False)


def test_nothing_is_left_to_fill_in_and_nothing_bypasses(rules: Ruleset) -> None:
    text = rules.render(state(), Held(), masquerade6=True)
    assert "$" not in text
    assert not re.search(r"\bbypass\b", text.replace("# Behind", ""))
    assert "queue num 66" in text
    assert text.count("masquerade") == 2
    assert f"0x{marks.PERMIT:08x}" in text


def test_teredo_where_the_rules_allow_the_short_cut(rules: Ruleset) -> None:
    plain, more = (rules.render(state(teredo=on), Held(), masquerade6=False) for on in (False, True))
    assert ("2001::/32" in plain, "2001::/32" in more) == (False, True)


def test_locked_asks_nobody(rules: Ruleset) -> None:
    open_, locked = (rules.render(state(locked=on), Held(), masquerade6=False) for on in (False, True))
    assert "\t\tgoto undecided\n" in open_
    assert "\t\tgoto undecided\n" not in locked


@pytest.mark.parametrize("able", [True, False])
def test_no_kernel_lets_multipath_tcp_pass(monkeypatch, rules: Ruleset, able: bool) -> None:
    monkeypatch.setattr(nftables, "accepted", lambda _: able)
    monkeypatch.setattr(nftables.offload, "words", lambda *_, **__: {"bulk": "", "through": "accept"})
    text = Ruleset("lan0", "wan0", 66, ssh=False).render(state(), Held(), masquerade6=False)
    drops = text.index("\t\ttcp option 30 exists drop\n")
    assert 0 < text.find("\t\treset tcp option 30\n") < drops if able else "reset tcp option" not in text


def test_ssh_only_if_wanted(monkeypatch, rules: Ruleset) -> None:
    assert "dport 22" not in rules.render(state(), Held(), masquerade6=False)
    assert "tcp dport 22 accept" in Ruleset("a", "b", 1, ssh=True).render(state(), Held(), masquerade6=False)


@pytest.mark.parametrize("name", ['a"; flush ruleset; "', "", "x" * 16, "a b", "a/b"])
def test_names_that_no_interface_has_never_reach_nft(monkeypatch, name: str) -> None:
    monkeypatch.setattr(Ruleset, "_find_queue", lambda _: ("nft queue", ()))
    with pytest.raises(BackendError):
        Ruleset(name, "wan0", 66, ssh=False)


def test_what_is_not_installed_is_said(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BackendError, match="nft is not installed"):
        nftables.run("nft")


KERNEL = """
import socket, time
from firewall.backends.linux.nftables import Held, Ruleset, run, table_stands
from firewall.commands import KernelState
rules = Ruleset("lan0", "wan0", 66, ssh=True)
assert not table_stands() and rules.fingerprint() == ""
four = tuple((bytes([n, 1, 0, 0]), bytes([n, 1, 255, 255])) for n in range(1, 200))
pair = (bytes.fromhex("020000000101"), socket.inet_aton("1.2.3.4"))
rules.load(KernelState(1, True, (), (), True), Held(), masquerade6=True)
rules.load(KernelState(2, False, four, ((bytes(16), bytes(15) + b"\\xff"),), True), Held({pair: 90}, {pair: 7}, [1, 9]), masquerade6=False)
one = rules.fingerprint()
assert one and table_stands()
assert run("nft", "list", "set", "inet", "consentry", "refused4").stdout.count(".1.0.0/16") == 199
rules.load(KernelState(3, False, four[:5], (), True), Held(), masquerade6=False)
assert rules.fingerprint() == one, "elements are no change of the rules"
assert run("nft", "list", "set", "inet", "consentry", "refused4").stdout.count(".1.0.0/16") == 5
assert 80 <= rules.learned()[pair] <= 90
assert rules.pairs() == {}
rules.load(KernelState(3, False, four[:5], (), True), Held({}, {pair: 7, (pair[0], bytes(15) + b"\\x07"): 1023}), masquerade6=False)
assert rules.pairs() == {pair: 7, (pair[0], bytes(15) + b"\\x07"): 1023}
rules.load(KernelState(4, False, (), (), False), Held(), masquerade6=False)
assert rules.learned() == {}
run("nft", "flush", "chain", "inet", "consentry", "seal")
assert rules.fingerprint() != one
rules.load(KernelState(5, False, (), (), True), Held(), masquerade6=False)
assert rules.fingerprint() == one
if "xtables" in rules.kind or "through" in rules.kind:
    run("ip6tables-nft", "-t", "mangle", "-F")
    assert rules.fingerprint() == ""
    rules.load(KernelState(6, False, (), (), True), Held(), masquerade6=False)
    assert rules.fingerprint() == one
rules.remove()
assert not table_stands()
assert "NFQUEUE" not in run("iptables-nft", "-t", "mangle", "-S").stdout
print("all of it")
"""


@pytest.mark.lab
def test_the_kernel_takes_it() -> None:
    done = subprocess.run(["unshare", "-n", sys.executable, "-c", KERNEL], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "all of it\n", done.stderr[-2000:]
