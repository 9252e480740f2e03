"""The lock and the units on this machine: put there, and taken away without a trace. Used by the command line, by
`setup`, and by the Debian package's own scripts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from firewall.backends.linux import marks
from firewall.box import units
from firewall.box.plan import BRIDGE
from firewall.settings import STATE, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ETC: Final = Path("etc/systemd/system")
PACKAGED: Final = Path("usr/lib/systemd/system")  # where a Debian package has put the same texts already
PATIENCE: Final = 240.0  # seconds for systemctl: the gate of a small box that has just booted takes a minute
STEP: Final = 0.2  # seconds


class ServiceError(Exception):
    """What this machine refused, and what would help."""


class Service:
    """On the machine whose files are below `root`. Each step is told before it is done."""

    def __init__(self, tell: Callable[[str], None], root: Path = Path("/"), command: str = "") -> None:
        self._tell = tell
        self._root = root
        self._command = command or str(Path(sys.prefix, "bin", "consentry"))

    def install(self, lan: str, ports: Sequence[str] = (), *, start: bool) -> None:
        """The lock at once and at every boot; with `start` the gate and its network too. Raises ServiceError."""
        if shutil.which("systemctl") is None:
            raise ServiceError("this machine has no systemd. `sudo consentry run` works without; nothing was changed")
        _, before = self._closed
        (script, text, mode), *texts = self.files(lan, ports)
        self._write(script, text, mode)
        self._run(units.unlock_ports(set(before) - set(ports)))  # else it stays closed, also as the way to the internet
        for path, text, _ in texts:
            packaged = self._root / PACKAGED / path.name
            if packaged.exists() and packaged.read_text("utf-8") == text:
                path.unlink(missing_ok=True)  # of a checkout, before there was a package
            else:
                self._write(path, text)
        self._systemctl("enable", *(units.UNITS if start else [units.LOCK]))
        if not self._booted:
            self._tell("systemd does not run here: the units are enabled, and begin with the next boot")
            return
        self._systemctl("daemon-reload")
        self._systemctl("restart", *(units.UNITS if start else [units.LOCK]))

    def files(self, lan: str, ports: Sequence[str] = ()) -> list[tuple[Path, str, int]]:
        """(path, text, mode) of what is installed: the lock's script, then the units."""
        texts = units.units(self._command).items()
        return [
            (self._script, units.lock(marks.PERMIT, lan, ports), 0o755),
            *((self._root / ETC / name, text, 0o644) for name, text in texts),
        ]

    def remove(self) -> None:
        """Stop and forget them, then open the lock: the phones' side is unfiltered after this.

        What is locked stands in the lock's own script, whatever has become of the plan.
        """
        there = [name for name in units.UNITS if self._is_there(name)]
        if there and shutil.which("systemctl"):
            self._systemctl("disable", *(["--now"] if self._booted else []), *reversed(there))
        for name in units.UNITS:
            (self._root / ETC / name).unlink(missing_ok=True)
        if there and self._booted:
            self._systemctl("daemon-reload")
        lan, ports = self._closed
        self._script.unlink(missing_ok=True)
        with suppress(OSError):  # a plan is the owner's
            self._script.parent.rmdir()
        self._run(units.unlock(marks.PERMIT, lan, ports))
        self._tell(f"the units and the lock of {lan} are gone")

    @property
    def installed(self) -> bool:
        return self._script.exists()

    @property
    def _script(self) -> Path:
        return self._root / units.SCRIPT.lstrip("/")

    @property
    def _booted(self) -> bool:
        """sd_booted(3), of the machine that runs this."""
        return self._root == Path("/") and os.path.isdir("/run/systemd/system")  # noqa: PTH112

    @property
    def _closed(self) -> tuple[str, list[str]]:
        """What the lock that is installed closes."""
        try:
            lan, ports = units.closed(self._script.read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            lan, ports = "", []
        return lan or BRIDGE, ports

    def _run(self, commands: list[list[str]]) -> None:
        for words in commands if self._root == Path("/") else ():
            with suppress(FileNotFoundError):
                subprocess.run(words, capture_output=True, check=False, timeout=30)

    def _is_there(self, name: str) -> bool:
        return any((self._root / place / name).exists() for place in (ETC, PACKAGED))

    def _write(self, path: Path, text: str, mode: int = 0o644) -> None:
        if path.exists() and path.read_text("utf-8") == text:
            return
        self._tell(f"writing {path}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text, mode)
            path.chmod(mode)
        except OSError as error:
            raise ServiceError(f"{path}: {error.strerror}") from None

    def _systemctl(self, *words: str) -> None:
        where = [] if self._root == Path("/") else [f"--root={self._root}"]
        self._tell(f"systemctl {' '.join(words)}")
        more = f"More: journalctl -u {words[-1]}"
        starts = words[0] == "restart" and units.GATE in words and not self._locked
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(["systemctl", *where, *words], stdout=subprocess.DEVNULL, stderr=said)
            until = time.monotonic() + PATIENCE
            while process.poll() is None:
                lost = f"the gate does not start: {self._locked}" if starts and self._locked else ""
                if lost or time.monotonic() > until:
                    process.kill()  # systemd itself goes on trying
                    process.wait()
                    raise ServiceError(f"systemctl {words[0]}: {lost or f'no end within {PATIENCE:.0f} s'}. {more}")
                time.sleep(STEP)
            if process.returncode:
                said.seek(0)
                last = (said.read().strip().splitlines() or [f"exit status {process.returncode}"])[-1]
                raise ServiceError(f"systemctl {words[0]}: {last}. {more}")

    @property
    def _locked(self) -> str:
        """Why the supervisor, or the owner, has locked the gate; "": it is not locked."""
        try:
            return (self._root / str(STATE).lstrip("/") / "locked").read_text("utf-8").strip() or "it is locked"
        except (OSError, UnicodeDecodeError):
            return ""
