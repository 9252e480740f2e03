"""The phones' side in a network of its own: only what we have made is ours to change, and to take away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

SCRIPT = """
import subprocess, sys
from dataclasses import replace
from pathlib import Path
from firewall.box.machine import BoxError, Network, there
from plans import INLINE

run = lambda words: subprocess.run(words.split(), check=True)
run("mount -t sysfs none /sys")
run("ip link add eth1 type veth peer name far1")
run("ip link add br0 type bridge")
run("ip addr add 10.5.0.1/24 dev br0")
theirs = Network(replace(INLINE, lan="br0"), Path(sys.argv[1]))
try:
    theirs.stand()
except BoxError as error:
    print(error)
theirs.remove()
print(there("br0"), "10.5.0.1" in subprocess.run(["ip", "addr", "show", "br0"], capture_output=True, text=True).stdout)
ours = Network(INLINE, Path(sys.argv[1]))
print(ours.stand(), ours.stand(), ours.ports())
ours.remove()
print(there("consentry0"), there("eth1"))
"""


TABLES = """
import subprocess, sys
from pathlib import Path
from firewall.box.machine import RULE_LOOKS, Network
from plans import ONE_ARMED

run = lambda words: subprocess.run(words.split(), check=True, capture_output=True, text=True).stdout
box = Network(ONE_ARMED, Path(sys.argv[1]))
for words in ("list tables", "delete table inet consentry_box", "delete table arp consentry_box", "flush ruleset"):
    run(f"nft {words}")
    for _ in range(RULE_LOOKS):
        box._rule()
    print(run("nft list tables").splitlines())
"""


def in_a_network(script: str, folder: Path) -> list[str]:
    """What it says there."""
    helpers = Path(__file__).parents[2] / "helpers"
    done = subprocess.run(
        ["unshare", "-n", "-m", sys.executable, "-c", script, folder], capture_output=True, text=True, timeout=60, check=False,
        env={"PYTHONPATH": str(helpers), "PATH": "/usr/bin:/usr/sbin:/bin:/sbin"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_an_interface_of_somebody_else_is_left_alone_whatever_the_plan_calls_it(tmp_path: Path) -> None:
    assert in_a_network(SCRIPT, tmp_path) == [
        "there is another interface br0 already, which is not ours to take", "True True",
        "['consentry0', 'eth1'] [] ['eth1']", "False True",
    ]


def test_each_of_our_small_tables_comes_back(tmp_path: Path) -> None:
    assert in_a_network(TABLES, tmp_path) == ["['table arp consentry_box', 'table inet consentry_box']"] * 4
