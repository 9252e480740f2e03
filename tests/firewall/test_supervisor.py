from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from firewall.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    return Settings("lan0", "wan0", run_dir=str(tmp_path), state_dir=str(tmp_path)).write()


def supervise(settings: Path, gateway: str) -> subprocess.Popen[str]:
    """The real supervisor over a gateway that is a line of Python."""
    code = f"""
import sys; from pathlib import Path; from firewall import supervisor
s = supervisor.Supervisor(Path({str(settings)!r})); s._command = [sys.executable, "-c", {gateway!r}]
sys.exit(s.run())
"""
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)


def lives(file: Path) -> list[int]:
    return [int(pid) for pid in file.read_text().split()] if file.exists() else []


def until(what, seconds: float = 10.0):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_a_gateway_that_dies_is_started_again_until_the_end_is_asked_for(settings: Path, tmp_path: Path) -> None:
    born = tmp_path / "born"
    process = supervise(settings, f"import os, time; open({str(born)!r}, 'a').write(f'{{os.getpid()}} '); time.sleep(60)")
    first = until(lambda: lives(born))[0]
    os.kill(first, signal.SIGKILL)
    second = until(lambda: lives(born)[1:])[0]
    assert int((tmp_path / "supervisor.pid").read_text()) == process.pid
    process.terminate()
    said = process.communicate(timeout=10)[1]
    assert process.returncode == 0
    assert "starting it again" in said
    assert not Path(f"/proc/{second}").exists()


def test_what_starting_again_does_not_mend_ends_it(settings: Path) -> None:
    process = supervise(settings, "raise SystemExit(2)")
    process.communicate(timeout=10)
    assert process.returncode == 2


def test_six_deaths_within_a_minute_are_too_many(settings: Path, tmp_path: Path) -> None:
    born = tmp_path / "born"
    process = supervise(settings, f"import os; open({str(born)!r}, 'a').write(f'{{os.getpid()}} '); raise SystemExit(1)")
    assert process.stderr is not None
    for line in process.stderr:
        if "LOCKED" in line:
            break
    assert len(lives(born)) == 6
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == 0
