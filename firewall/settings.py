"""What a gateway needs to know before it starts: written once by whoever starts it, read by the gateway's process."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

RUN: Final = Path("/run/consentry")
STATE: Final = Path("/var/lib/consentry")
DNS_PORT: Final = 5300  # port 53 is redirected there: 53 may be the machine's own resolver's, 5353 is mDNS's


@dataclass(frozen=True, slots=True)
class Settings:
    """Paths as text, so that the file is plain JSON."""

    lan: str  # interface of the phones
    wan: str  # interface to the internet
    run_dir: str = str(RUN)  # sockets, pids: gone after a reboot
    state_dir: str = str(STATE)  # rules and history: stay
    rules: str = ""  # "" = rules.toml in state_dir
    upstreams: tuple[str, ...] = ()  # resolvers to ask; empty: those of /etc/resolv.conf
    phones: dict[str, str] = field(default_factory=dict)  # MAC -> name that somebody gave
    lab: bool = False
    ssh: bool = False  # the phones' side may reach this box's ssh
    plan: str = ""  # gateway.toml of `consentry setup`, whose keeper holds the phones' network up; "" without

    @property
    def socket(self) -> Path:
        return Path(self.run_dir, "gateway.sock")

    @property
    def rules_file(self) -> Path:
        return Path(self.rules) if self.rules else Path(self.state_dir, "rules.toml")

    @property
    def history_file(self) -> Path:
        return Path(self.state_dir, "history.db")

    @property
    def log_file(self) -> Path:
        return Path(self.state_dir, "gateway.log")

    @property
    def memory_file(self) -> Path:
        """What the next process has to know of live flows (memory.py)."""
        return Path(self.run_dir, "live.json")

    @property
    def supervisor_pid_file(self) -> Path:
        return Path(self.run_dir, "supervisor.pid")

    @property
    def locked_file(self) -> Path:
        """There while the gate is LOCKED until its owner says `resume`; what stands in it is the reason."""
        return Path(self.state_dir, "locked")

    def upstream_addresses(self) -> tuple[tuple[str, int], ...]:
        """(address, port) of the resolvers that true answers come from."""
        chosen = self.upstreams or tuple(resolv_conf(Path("/etc/resolv.conf")))
        return tuple((address, 53) for address in chosen)

    def write(self) -> Path:
        """Into run_dir, atomically. The file's path is what a gateway is started with."""
        Path(self.run_dir).mkdir(parents=True, exist_ok=True)
        path = Path(self.run_dir, "settings.json")
        write_atomically(path, json.dumps(asdict(self), indent=1))
        return path

    @classmethod
    def read(cls, path: Path) -> Settings:
        values = json.loads(path.read_text("utf-8"))
        values["upstreams"] = tuple(values["upstreams"])
        return cls(**values)


def typed_as_root() -> str:
    """The command line as its owner would type it with root's rights, from a checkout as well."""
    return " ".join(["sudo", os.environ.get("CONSENTRY_COMMAND", "consentry"), *sys.argv[1:]])


def resolv_conf(path: Path) -> list[str]:
    """The `nameserver` lines of a resolv.conf(5); link-local addresses, which need a zone, are left out."""
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
    words = (line.split() for line in lines)
    return [w[1] for w in words if len(w) > 1 and w[0] == "nameserver" and not w[1].lower().startswith("fe80")]


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """The old file or the new one, never half of one, also after a power cut (rename(2), fsync(2))."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
