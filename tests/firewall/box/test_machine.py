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


def test_an_interface_of_somebody_else_is_left_alone_whatever_the_plan_calls_it(tmp_path: Path) -> None:
    helpers = Path(__file__).parents[2] / "helpers"
    done = subprocess.run(
        ["unshare", "-n", "-m", sys.executable, "-c", SCRIPT, tmp_path], capture_output=True, text=True, timeout=60, check=False,
        env={"PYTHONPATH": str(helpers), "PATH": "/usr/bin:/usr/sbin:/bin:/sbin"},
    )
    assert done.stdout.splitlines() == [
        "there is another interface br0 already, which is not ours to take", "True True",
        "['consentry0', 'eth1'] [] ['eth1']", "False True",
    ], done.stderr
