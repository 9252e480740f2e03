"""A lab as one object: up, down, who is where, run something there, play a scenario, read the sinks.

The gateway's own program is not this file's business: whoever wants one starts it with `gateway_argv`.
"""

from __future__ import annotations

import json
import math
import os
import queue
import select
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from firewall import shift
from firewall.lab import scenario as scenarios
from firewall.lab import sinks
from firewall.lab.topology import (
    GATEWAY4,
    GATEWAY6,
    LAN4,
    LAN6,
    LAN_IF,
    OUTER_IF,
    RESOLVERS,
    RUN,
    SOCKET,
    WAN_IF,
    LabError,
    Topology,
    default_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import ModuleType

ENDLESS_SECONDS: Final = 60.0  # that a scenario without an end is played
READY_SECONDS: Final = 20.0
EVERYDAY: Final = "everyday"
NOT_UP: Final = "the lab {!r} is not up (start it with: consentry lab up)"
OF_THE_HOST: Final = frozenset(
    {"ssl_cert_dir", "curl_ca_bundle", "requests_ca_bundle", "http_proxy", "https_proxy", "all_proxy", "no_proxy"}
)  # environment that would lead a phone's programs around the lab; the case of proxies' names varies

Row = dict[str, Any]  # one object of a JSON line


class Lab:
    """The lab of a name ($CONSENTRY_LAB, else "consentry"), up or not. Needs root; errors are LabError."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name or default_name()
        self.run_dir = Topology(self.name).run_dir
        self.ca = self.run_dir / "ca.pem"
        self._children: list[subprocess.Popen[bytes]] = []

    # -- up and down ---------------------------------------------------------------------------------------------------

    def up(self, phones: int = 2, *, locked: bool = True) -> None:
        """Build it afresh, and wait until its internet answers. The gateway forwards nothing yet.

        Not `locked`: the phones share one wire, and each can send with any MAC.
        """
        topology = Topology.of(self.name, phones)
        self.down()
        self.run_dir.mkdir(parents=True)
        try:
            _wiring().build(topology, locked=locked)
            pid = self._start_internet(topology)
        except BaseException:
            self.down()
            raise
        self._lab_file.write_text(json.dumps({"phones": phones, "internet_pid": pid}))

    def down(self) -> None:
        """Remove every namespace, process and file of it; nothing to do is fine."""
        for child in self._children:
            child.kill()  # it may not have entered its namespace yet, where `remove` would find it
        _wiring().remove(Topology(self.name))
        for child in self._children:
            child.wait()
        self._children.clear()
        shutil.rmtree(self.run_dir, ignore_errors=True)
        with suppress(OSError):  # others may be at home there
            RUN.rmdir()

    def is_up(self) -> bool:
        return self._lab_file.exists() and _wiring().standing(Topology(self.name))

    @property
    def topology(self) -> Topology:
        """Raises LabError if the lab is not up."""
        return Topology.of(self.name, self._state()["phones"])

    def status(self) -> Row:
        """Who and what is where: an interface of its own (`lab status --json`)."""
        if not self.is_up():
            return {"name": self.name, "up": False}
        topology = self.topology
        roles = {role: topology.namespace(role) for role in ("gateway", "router", "internet")}
        return {
            "name": self.name,
            "up": True,
            "namespaces": {"phones": [topology.namespace(phone.name) for phone in topology.phones], **roles},
            "lan_if": LAN_IF,
            "wan_if": WAN_IF,
            "outer_if": OUTER_IF,
            "ca": str(self.ca),
            "internet_pid": self._state()["internet_pid"],
            "addresses": {
                "lan": [str(LAN4), str(LAN6)],
                "wan": [str(GATEWAY4), str(GATEWAY6)],
                **{phone.name: [str(phone.ipv4.ip), str(phone.ipv6.ip)] for phone in topology.phones},
            },
            "phones": self.phone_names,
            "upstreams": list(RESOLVERS),
        }

    @property
    def phone_names(self) -> dict[str, str]:
        """MAC address -> name."""
        return {phone.mac: phone.name for phone in self.topology.phones}

    def time(self, step: str | None, *, wall_only: bool = False) -> shift.Shift:
        """How far the gateway's clocks are ahead of the machine's, after `step`; see shift.tell. Raises ValueError.

        When it returns, the gateway goes by it.
        """
        if not self.is_up():
            raise LabError(NOT_UP.format(self.name))
        file = self.run_dir / shift.FILE
        if step is None:
            return shift.read(file)
        told = shift.tell(file, step, wall_only=wall_only)
        time.sleep(shift.LOOK_SECONDS)
        return told

    # -- running things in it ------------------------------------------------------------------------------------------

    def exec_argv(self, phone: str, argv: Sequence[str]) -> list[str]:
        """A command line that runs `argv` as a phone: root, the host's files, the phone's own name resolution.

        Give it `environment()`. Streams and exit status pass through.
        """
        if phone not in self.phone_names.values():
            raise LabError(f"no {phone!r} in this lab, only {', '.join(self.phone_names.values())}")
        return self._inside(phone, argv)

    def gateway_argv(self, argv: Sequence[str]) -> list[str]:
        """A command line that runs `argv` on the gateway."""
        return self._inside("gateway", argv)

    def environment(self) -> dict[str, str]:
        """What this process has, without its proxies, and with trust in the lab's certificates only."""
        kept = {key: value for key, value in os.environ.items() if key.lower() not in OF_THE_HOST}
        return kept | {"SSL_CERT_FILE": str(self.ca)}

    def _inside(self, role: str, argv: Sequence[str]) -> list[str]:
        return ["ip", "netns", "exec", self.topology.namespace(role), *argv]

    # -- scenarios -----------------------------------------------------------------------------------------------------

    def play(self, name: str, *, on_result: Callable[[Row], None], seconds: float = ENDLESS_SECONDS) -> Row:
        """Play a shipped scenario, or a file, to its end, and return a summary. Raises LabError if a player dies.

        One that has no end is played for `seconds`.
        """
        path = scenarios.find(name)
        scenario = scenarios.load(path)
        began = time.monotonic()
        players = self._start_players(path, scenario, seconds)
        results: queue.SimpleQueue[Row | None] = queue.SimpleQueue()
        rows: list[Row] = []
        try:
            readers = [threading.Thread(target=_read_lines, args=(player, results), daemon=True) for player in players]
            for reader in readers:
                reader.start()
            for _ in players:
                while (row := results.get()) is not None:
                    rows.append(row)
                    on_result(row)
            for player in players:
                if player.wait():
                    raise LabError(f"a player of {name} died with status {player.returncode}")
        finally:
            for player in players:
                player.kill()
                player.wait()
            if scenario.moved:
                self.move(moved=False)
        return _summary(scenario.name, rows, time.monotonic() - began)

    def start_everyday(self) -> None:
        """Let the phones act by themselves, for ever: mild traffic, some of it refused."""
        path = scenarios.find(EVERYDAY)
        self._children += self._start_players(path, scenarios.load(path), math.inf, quiet=True)

    def _start_players(
        self, path: Path, scenario: scenarios.Scenario, seconds: float, *, quiet: bool = False
    ) -> list[subprocess.Popen[bytes]]:
        player = [sys.executable, "-P", "-m", "firewall.lab.player", str(path.resolve())]
        commands = [self.exec_argv(phone, [*player, phone, str(seconds)]) for phone in scenario.phones]
        self.move(moved=scenario.moved)
        out = subprocess.DEVNULL if quiet else subprocess.PIPE
        error = subprocess.DEVNULL if quiet else None
        nothing, env = subprocess.DEVNULL, self.environment()
        return [
            subprocess.Popen(command, stdin=nothing, stdout=out, stderr=error, env=env, start_new_session=quiet)
            for command in commands
        ]

    # -- the internet --------------------------------------------------------------------------------------------------

    def sinks(self, *, follow: bool = False) -> Iterator[Row]:
        """What reached the internet: each record as it stands, oldest first; with `follow` again when it changes."""
        return sinks.read(self.run_dir / SOCKET, follow=follow)

    def move(self, *, moved: bool) -> None:
        """Let the services that once moved to Singapore be there, or not yet."""
        list(sinks.ask(self.run_dir / SOCKET, do="move", moved=moved))

    def _start_internet(self, topology: Topology) -> int:
        command = [sys.executable, "-P", "-m", "firewall.lab.internet", str(self.run_dir)]
        log = self.run_dir / "internet.log"
        with log.open("wb") as errors:
            internet = subprocess.Popen(
                ["ip", "netns", "exec", topology.namespace("internet"), *command],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
            )
        self._children.append(internet)
        assert internet.stdout is not None
        with internet.stdout as said:
            ready, _, _ = select.select([said], [], [], READY_SECONDS)
            if not ready or said.readline() != b"ready\n":
                last = log.read_text(errors="replace").strip().splitlines()[-1:]
                raise LabError("the lab's internet did not start: " + "".join(last or ["it says nothing"]))
        return internet.pid

    @property
    def _lab_file(self) -> Path:
        return self.run_dir / "lab.json"

    def _state(self) -> Row:
        try:
            state: Row = json.loads(self._lab_file.read_text())
        except FileNotFoundError:
            raise LabError(NOT_UP.format(self.name)) from None
        return state


def _wiring() -> ModuleType:
    """pyroute2 takes a quarter of a second to load: only who builds a lab waits for it, and not every command."""
    from firewall.lab import wiring  # noqa: PLC0415

    return wiring


def _read_lines(player: subprocess.Popen[bytes], results: queue.SimpleQueue[Row | None]) -> None:
    assert player.stdout is not None
    with player.stdout as lines:
        for line in lines:
            results.put(json.loads(line))
    results.put(None)


def _summary(scenario: str, rows: Sequence[Row], seconds: float) -> Row:
    uploads = [row for row in rows if row["upload"]]
    ordinary = len(rows) - len(uploads)
    return {
        "scenario": scenario,
        "uploads": len(uploads),
        "uploads_ok": sum(row["ok"] for row in uploads),
        "ordinary": ordinary,
        "ordinary_ok": sum(row["ok"] for row in rows if not row["upload"]),
        "seconds": round(seconds, 1),
    }
