"""Starting and ending the keeper, and the settings of the gateway beside it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from firewall.box.children import FAILED, UP
from firewall.box.machine import there
from firewall.box.places import CHILDREN, CONFIGS, CONTROL, IN_FORCE, PID
from firewall.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from firewall.box.plan import Plan

READY_SECONDS: Final = 15.0
END_SECONDS: Final = 8.0


class NoNetworkError(Exception):
    """The phones' side does not come up; the reason and the remedy."""


def settings_of(plan: Plan, plan_file: Path, run_dir: Path, state_dir: Path, **more: Any) -> Settings:  # noqa: ANN401
    """`more`: rules, upstreams, and ssh, as they are said at the command line."""
    more["ssh"] = more.get("ssh", False) or plan.ssh
    return Settings(
        lan=plan.lan, wan=plan.wan, run_dir=str(run_dir), state_dir=str(state_dir), plan=str(plan_file), **more
    )


def start(settings: Settings, lan: str) -> None:
    """A keeper in a session of its own, if none runs, and wait until the phones' interface is there.

    Raises NoNetworkError.
    """
    run_dir, state_dir = Path(settings.run_dir), Path(settings.state_dir)
    state_dir.mkdir(parents=True, exist_ok=True)
    if not pid_of(run_dir):
        with (state_dir / "keeper.log").open("ab") as log:
            subprocess.Popen(
                [sys.executable, "-P", "-m", "firewall.box.keeper", settings.plan, str(run_dir), str(state_dir)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        told = children(run_dir) if pid_of(run_dir) else {}
        if there(lan) and told.get("bridge", {}).get("state") == UP:
            return
        if told.get("bridge", {}).get("state") == FAILED:
            raise NoNetworkError(f"{told['bridge']['reason']}; {told['bridge']['remedy']}")
        time.sleep(0.05)
    raise NoNetworkError(f"{lan} does not come up; the keeper's log: {state_dir / 'keeper.log'}")


def settled(run_dir: Path, seconds: float, tell: Callable[[str], None]) -> bool:
    """Wait until every child is up or has failed, and say it. Whether all that run are up."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        told = children(run_dir)
        if told and not any(child["state"] == "starting" for child in told.values()):
            break
        time.sleep(0.1)
    for name, child in children(run_dir).items():
        why = f": {child['reason']}\n         {child['remedy']}" if child["reason"] else ""
        if child["state"] != "off":
            tell(f"{name:<8} {child['state']}{why}")
    return all(child["state"] in {UP, "off"} for child in children(run_dir).values())


def tidy(run_dir: Path) -> None:
    """What a keeper that has ended leaves in the run directory."""
    for name in (CHILDREN, PID, IN_FORCE, *CONFIGS):
        (run_dir / name).unlink(missing_ok=True)
    with suppress(OSError):
        (run_dir / CONTROL).rmdir()


def pid_of(run_dir: Path) -> int:
    """The keeper's; 0 if none runs. A service sees no other's processes in /proc, but can tell that there is one."""
    try:
        pid = int((run_dir / PID).read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return 0
    try:
        return pid if b"firewall.box.keeper" in Path(f"/proc/{pid}/cmdline").read_bytes() else 0
    except OSError:
        return pid


def children(run_dir: Path) -> dict[str, Any]:
    """What the keeper says; nothing while it says nothing."""
    try:
        told: dict[str, Any] = json.loads((run_dir / CHILDREN).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return told


def end(run_dir: Path) -> bool:
    """End the keeper and with it hostapd and dnsmasq. What it made stays. False if none was running."""
    try:
        pid = pid_of(run_dir)
        keeper = os.pidfd_open(pid) if pid else -1
    except OSError:
        keeper = -1
    if keeper < 0:
        return False
    try:
        signal.pidfd_send_signal(keeper, signal.SIGTERM)
        select.select([keeper], [], [], END_SECONDS)
    finally:
        os.close(keeper)
    return True
