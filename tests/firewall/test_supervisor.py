from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from judge import TooLate

from firewall import supervisor
from firewall.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    return Settings("lan0", "wan0", run_dir=str(tmp_path), state_dir=str(tmp_path)).write()


def supervise(settings: Path, gateway: str, before: str = "") -> subprocess.Popen[str]:
    """The real supervisor over a gateway that is a line of Python."""
    code = f"""
import sys; from pathlib import Path; from firewall import supervisor; {before}
s = supervisor.Supervisor(Path({str(settings)!r})); s._command = [sys.executable, "-c", {gateway!r}]
sys.exit(s.run())
"""
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)


def lives(file: Path) -> list[int]:
    return [int(pid) for pid in file.read_text().split()] if file.exists() else []


def until(what, seconds: float = 30.0):
    end = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > end:
            raise TooLate
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


def test_the_sixth_death_within_a_minute_locks_and_the_next_one_is_waited_out(settings: Path, tmp_path: Path) -> None:
    """The seventh process is told to be LOCKED; if that one dies too, a minute goes by."""
    born, locked = tmp_path / "born", tmp_path / "locked"
    process = supervise(settings, f"import os; open({str(born)!r}, 'a').write(f'{{os.getpid()}} '); raise SystemExit(1)")
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if "next try" in line:
            break
    assert len(lives(born)) == 7
    assert locked.read_text() == "the gateway died 6 times within a minute; the last time it ended with status 1"
    assert said.count("LOCKED") == 2
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == 0


def test_the_next_one_is_told_how_the_last_one_died(settings: Path, tmp_path: Path) -> None:
    told = tmp_path / "told"
    process = supervise(settings, f"import os, sys; f = open({str(told)!r}, 'a'); f.write(sys.argv[2] + '|'); f.close(); os.kill(os.getpid(), 9)")
    until(lambda: told.exists() and told.read_text().count("|") >= 2)
    process.terminate()
    process.communicate(timeout=10)
    assert told.read_text().split("|")[:2] == ["", "was killed by SIGKILL"]


def test_one_that_hangs_is_killed_and_one_that_gives_signs_is_not(settings: Path, tmp_path: Path) -> None:
    told = tmp_path / "told"
    gateway = f"""
import os, sys, time
f = open({str(told)!r}, "a"); f.write(f"{{sys.argv[2]}}|"); f.close()
for _ in range(10): os.write(int(sys.argv[1]), b"."); time.sleep(0.1)
time.sleep(60)
"""
    process = supervise(settings, gateway, "supervisor.STEP, supervisor.HANGS = 0.1, 4; ")
    began = time.monotonic()
    until(lambda: told.exists() and told.read_text().count("|") >= 2)
    assert time.monotonic() - began > 1.2  # not before it had given its last sign
    process.terminate()
    process.communicate(timeout=10)
    assert told.read_text().split("|")[1] == "did not move for 4 s and was killed"


def test_a_stopped_one_is_killed_too(settings: Path, tmp_path: Path) -> None:
    born = tmp_path / "born"
    gateway = f"import os, sys; open({str(born)!r}, 'a').write(f'{{os.getpid()}} '); [(os.write(int(sys.argv[1]), b'.'), __import__('time').sleep(0.05)) for _ in range(2000)]"
    process = supervise(settings, gateway, "supervisor.STEP, supervisor.HANGS = 0.2, 4; ")
    first = until(lambda: lives(born))[0]
    time.sleep(1.5)
    assert len(lives(born)) == 1
    os.kill(first, signal.SIGSTOP)
    until(lambda: lives(born)[1:])
    process.terminate()
    process.communicate(timeout=10)


def test_a_box_that_naps_longer_than_one_may_hang_wakes_with_the_same_gateway(settings: Path, tmp_path: Path) -> None:
    born, signs = tmp_path / "born", tmp_path / "signs"
    gateway = f"import os, sys, time; open({str(born)!r}, 'a').write(f'{{os.getpid()}} ')\nwhile True: os.write(int(sys.argv[1]), b'.'); open({str(signs)!r}, 'a').write('.'); time.sleep(0.05)"
    process = supervise(settings, gateway, "supervisor.STEP, supervisor.HANGS = 0.5, 6; ")
    (first,) = until(lambda: signs.exists() and lives(born))
    for pid in (first, process.pid):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.2)  # what it has said is heard
    time.sleep(3.5)
    given = signs.stat().st_size
    os.kill(process.pid, signal.SIGCONT)
    time.sleep(0.3)  # it wakes before the other one can have said a word
    os.kill(first, signal.SIGCONT)
    until(lambda: signs.stat().st_size > given + 20)
    assert lives(born) == [first]
    process.terminate()
    process.communicate(timeout=10)


def test_what_the_gateway_says_of_itself_reaches_systemd(settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it comes in pieces; a sign of life without words says nothing."""
    gateway = "import os, sys, time; [(os.write(int(sys.argv[1]), part), time.sleep(0.05)) for part in (b'\\0', b'READY=1\\nSTA', b'TUS=LOCKED\\0\\0', b'WATCHDOG=1\\0')]; time.sleep(60)"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        process = supervise(settings, gateway)
        longest = supervisor.STARTS + supervisor.MINUTE + supervisor.HANGS  # that no gateway may be there
        assert [systemd.recv(999) for _ in range(3)] == [b"WATCHDOG_USEC=%d" % (longest * 1_000_000), b"READY=1\nSTATUS=LOCKED", b"WATCHDOG=1"]
        process.terminate()
        process.communicate(timeout=10)
