"""The box around the gate: its clock, its disk, who may do what, and that our Python is ours."""

from __future__ import annotations

import grp
import os
import stat
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import firewall
import rules
from firewall.control import CHANGERS, READERS
from firewall.doctor.finding import FAIL, PASS, WARN, Finding, unknown
from firewall.history.retention import LARGEST
from firewall.trust import kernel_is_synchronised

if TYPE_CHECKING:
    from collections.abc import Iterator

    from firewall.doctor.world import World

MADE: Final = datetime(2026, 11, 1, tzinfo=UTC).timestamp()  # no clock of a box that runs this is earlier
SCARCE, GONE = 256 << 20, 16 << 20  # bytes that are left on the disk
MEGA: Final = 1 << 20
PYTHON: Final = (3, 11)
FOUND: Final = "import firewall, rules; print(firewall.__file__); print(rules.__file__)"


def clock(world: World) -> Iterator[Finding]:
    name = "clock"
    now = time.strftime("%d %b %Y %H:%M", time.localtime())
    if time.time() < MADE:
        remedy = "sudo timedatectl set-ntp true; or by hand, like: sudo date -s '2026-12-31 18:00'"
        yield Finding(name, FAIL, f"{now}: it is wrong", remedy)
    elif kernel_is_synchronised():
        yield Finding(name, PASS, f"{now}, synchronised")
    elif (world.status or {}).get("clock"):
        yield Finding(name, PASS, f"{now}, and its owner says that it is right")
    else:
        says = f"{now}, not synchronised: consents with an end wait until it is"
        remedy = "sudo timedatectl set-ntp true; if the clock is right: sudo consentry clock trust"
        yield Finding(name, WARN, says, remedy)


def disk(world: World) -> Iterator[Finding]:
    """Room for the history, and how large it has become."""
    name, where = "disk", world.state_dir
    there = next(folder for folder in (where, *where.parents) if folder.exists())
    try:
        room = os.statvfs(there)
        used = sum(file.stat().st_size for file in where.glob("history.db*")) if where.is_dir() else 0
    except PermissionError:
        yield unknown(name)
        return
    left = room.f_bavail * room.f_frsize
    says = f"{left // MEGA} MB are left at {there}; the history has {used // MEGA} of at most {LARGEST // MEGA} MB"
    remedy = f"make room at {there}; the gate goes on without, the history does not"
    if left < GONE or (room.f_files and not room.f_favail):
        yield Finding(name, FAIL, says, remedy)
    else:
        yield Finding(name, WARN if left < SCARCE else PASS, says, remedy if left < SCARCE else "")


def rights(world: World) -> Iterator[Finding]:
    """Who else could write what we believe: the rules, the state, the plan with the passphrase in it."""
    name, wrong = "rights", []
    where, settings, plan = world.state_dir, world.settings, world.plan_file
    for path in (where, where / "state.db", settings.rules_file if settings else where / "rules.toml"):
        mode = _mode(path)
        if mode is not None and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            wrong.append((f"{path} can be written by everybody", f"sudo chmod o-w {path}"))
    mode = _mode(plan)
    if mode is not None and mode & (stat.S_IRWXG | stat.S_IRWXO):
        wrong.append((f"{plan} holds the passphrase and can be read by others", f"sudo chmod 600 {plan}"))
    mode = _mode(world.run_dir / "gateway.sock")
    if mode is not None and mode & stat.S_IRWXO:
        wrong.append((f"everybody may talk to {world.run_dir}/gateway.sock", "sudo consentry stop; sudo consentry run"))
    for says, remedy in wrong:
        yield Finding(name, FAIL, says, remedy)
    if not wrong:
        yield Finding(name, PASS, "rules, state and socket are written by those who may")


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except OSError:
        return None


def groups(world: World) -> Iterator[Finding]:
    """Who may look and who may change without being root (docs/control-protocol.md)."""
    name = "groups"
    there = {}
    for group in (READERS, CHANGERS):
        try:
            there[group] = grp.getgrnam(group)
        except KeyError:
            yield Finding(name, WARN, f"there is no group {group}: only root may", f"sudo groupadd --system {group}")
    mine = {*os.getgroups(), os.getegid()}
    if not world.root and READERS in there and there[READERS].gr_gid not in mine:
        yield Finding(name, WARN, "you may not look at the gate", f"sudo usermod -aG {READERS} $USER, and log in again")
    elif len(there) == 2:
        who = sorted(there[CHANGERS].gr_mem)
        yield Finding(name, PASS, f"root{' and ' + ', '.join(who) if who else ''} may change the gate")


def python(world: World) -> Iterator[Finding]:
    """Firewalld has a package `firewall` too, and a stranger's `rules` may stand in the way (architecture 2)."""
    name = "python"
    ours = Path(rules.__file__).parent.parent
    version = ".".join(map(str, sys.version_info[:3]))
    found = world.run(sys.executable, "-P", "-c", FOUND)
    places = {str(Path(line).parent.parent) for line in (found.out.splitlines() if found else ())}
    mixed = {str(Path(firewall.__file__).parent.parent), *places} - {str(ours)}
    if sys.version_info < PYTHON:
        yield Finding(name, FAIL, f"{version}; 3.11 or newer is needed", "sudo apt-get install python3.11")
    elif mixed or not (Path(firewall.__file__).parent / "backends").is_dir():
        says = f"`firewall` is found in {', '.join(sorted(mixed)) or 'another package'}, not in {ours}"
        yield Finding(name, FAIL, says, "install Consentry by itself: pipx install consentry")
    elif sys.prefix == sys.base_prefix:
        says = f"{version}, among the system's own packages, where firewalld has a `firewall` too"
        yield Finding(name, WARN, says, "install Consentry by itself: pipx install consentry")
    else:
        yield Finding(name, PASS, f"{version} in a place of its own; firewall is ours ({ours})")
