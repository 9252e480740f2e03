"""What the doctor looks at: files, programs, the gateway's own word. Reads only; what cannot be read is "" or None."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from firewall import control, spaces
from firewall.backends.linux.uplink import AUTO, default_route
from firewall.settings import RUN, STATE, Settings

PLAN: Final = Path("/etc/consentry/gateway.toml")  # what `consentry setup` has written
PATIENCE: Final = 10.0  # seconds for a program


@dataclass(frozen=True, slots=True)
class Ran:
    """A program's end."""

    status: int
    out: str
    err: str


@dataclass
class World:
    """A box, with or without a gateway on it."""

    run_dir: Path = RUN
    plan_file: Path = PLAN
    status: dict[str, Any] | None = None  # the gateway's; None: none answers
    closed_to_us: str = ""  # why the gateway does not talk to us
    root: bool = field(default_factory=lambda: os.geteuid() == 0)

    @classmethod
    def found(cls, socket: Path | None = None, run_dir: Path | None = None) -> World:
        """Where the gateway lives, if there is one and we may go there; else where this process does."""
        socket = socket or (run_dir / "gateway.sock" if run_dir else control.default_socket())
        world = cls(run_dir or (socket.parent if socket.parent.exists() else RUN))
        try:
            with control.connect(socket) as client:
                world.status = client.ask("status").done
        except control.NoGateway:
            pass
        except control.Refused as error:
            world.closed_to_us = str(error)
        if world.status and world.root:
            with suppress(OSError):
                spaces.join(world.status["pid"])
        return world

    @cached_property
    def settings(self) -> Settings | None:
        """What the gateway was started with last."""
        try:
            return Settings.read(self.run_dir / "settings.json")
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What `setup` wrote; {} without. Only root may read it, for the passphrase is in it."""
        if self.status and self.status.get("lab"):
            return {}
        with suppress(OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
            return tomllib.loads(self.plan_file.read_text("utf-8"))
        return {}

    @property
    def lan(self) -> str:
        """The phones' interface; "" while nobody has said which."""
        return self._side("lan")

    @property
    def wan(self) -> str:
        """The interface to the internet; where nobody has named one, whoever has the default route."""
        return self._side("wan") or (default_route(self.lan) if self.lan else "")

    @property
    def state_dir(self) -> Path:
        return Path(self.settings.state_dir) if self.settings else STATE

    def _side(self, word: str) -> str:
        told = (self.status or {}).get(word) or getattr(self.settings, word, "") or self.plan.get(word, "")
        return "" if told == AUTO else str(told)

    # -- reading -----------------------------------------------------------------------------------------------------

    def read(self, path: str | Path) -> str:
        try:
            return Path(path).read_text("utf-8", errors="replace").strip()
        except OSError:
            return ""

    def there(self, path: str) -> bool:
        return Path(path).exists()

    def sysctl(self, name: str) -> str:
        """Its value as it stands in /proc/sys/net; "" if this kernel has none such."""
        return self.read(f"/proc/sys/net/{name}")

    def run(self, *words: str, given: str = "") -> Ran | None:
        """None: there is no such program, or it did not end."""
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        try:
            done = subprocess.run(
                words, input=given, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False,
                env=os.environ | {"LC_ALL": "C", "PATH": path},
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return Ran(done.returncode, done.stdout, done.stderr)

    def rows(self, *words: str) -> list[dict[str, Any]]:
        """A program's JSON list; [] if it has none to give."""
        done = self.run(*words)
        with suppress(ValueError):
            told = json.loads(done.out) if done and not done.status else []
            return told if isinstance(told, list) else []
        return []
