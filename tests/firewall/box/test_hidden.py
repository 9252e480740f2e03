"""To the gateway's service other services' processes are hidden (ProtectProc=invisible): the keeper is known nevertheless."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os, subprocess, sys
from pathlib import Path
from firewall.box.starting import pid_of
run = Path(sys.argv[1])
keeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "firewall.box.keeper"], stdout=subprocess.DEVNULL)
while b"keeper" not in Path(f"/proc/{keeper.pid}/cmdline").read_bytes():
    pass  # it is just being started
(run / "keeper.pid").write_text(f"{keeper.pid}\\n")
assert pid_of(run) == keeper.pid
subprocess.run(["mount", "-t", "tmpfs", "hidden", f"/proc/{keeper.pid}"], check=True)
assert not Path(f"/proc/{keeper.pid}/cmdline").exists()
assert pid_of(run) == keeper.pid
keeper.kill()
keeper.wait()
assert pid_of(run) == 0
print("kept")
"""


@pytest.mark.lab
def test_a_keeper_that_is_hidden_runs_and_one_that_died_does_not(tmp_path: Path) -> None:
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--mount-proc", sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "kept\n", done.stderr
