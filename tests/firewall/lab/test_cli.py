from __future__ import annotations

import subprocess
import sys

FORK = """
import os, signal, time
from firewall.lab.cli import _Leave
signal.signal(signal.SIGTERM, _Leave())
child = os.fork()
if not child:
    print("ready", flush=True)
    try: time.sleep(20)
    finally: print("unwound", flush=True)
time.sleep(1)
os.kill(child, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
try:
    os.kill(os.getpid(), signal.SIGTERM); time.sleep(20)
except KeyboardInterrupt:
    print("left")
"""


def test_a_helper_that_is_ended_takes_no_lab_down() -> None:
    """pyroute2 forks to look into a namespace, and ends its child with SIGTERM."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["ready", "143", "left"]
