"""The files of `consentry setup`: written, told to whoever manages networks here, and taken away again."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from firewall.box.machine import PLAN
from firewall.box.plan import ONE_ARMED, Plan, render
from firewall.settings import write_atomically

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

MARK: Final = "# Consentry: the phones' side is the gate's"  # the first line of what is ours; nothing else is removed
NETWORK_MANAGER: Final = Path("/etc/NetworkManager/conf.d/90-consentry.conf")
NETWORKD: Final = Path("/etc/systemd/network/05-consentry.network")
RFKILL: Final = "rfkill-before"  # in the state directory: switches of radios that were off
_RADIOS: Final = Path("/sys/class/net")
_RELOAD: Final = {
    NETWORK_MANAGER: (("nmcli", "general", "reload", "conf"),),
    NETWORKD: (("networkctl", "reload"),),
}


class File(NamedTuple):
    path: Path
    text: str
    mode: int = 0o644


def files(plan: Plan, managers: Collection[str], plan_file: Path = PLAN) -> list[File]:
    """What setup writes. Whoever manages networks here is told to leave the phones' side alone."""
    ours = [plan.lan] if plan.mode == ONE_ARMED else [plan.lan, plan.port]
    written = [File(plan_file, render(plan), 0o600)]
    if "NetworkManager" in managers:
        written.append(File(NETWORK_MANAGER, _unmanaged(ours)))
    if "systemd-networkd" in managers:
        written.append(File(NETWORKD, f"{MARK}\n[Match]\nName={' '.join(ours)}\n\n[Link]\nUnmanaged=yes\n"))
    return written


def _unmanaged(ours: list[str]) -> str:
    """NetworkManager.conf(5). A plain `=` ends the list of its owner or the distribution: all of it is taken.

    Where that list says `except:type:wifi` (Ubuntu) a radio needs the section of devices, which is read when an
    interface appears.
    """
    names = ";".join(f"interface-name:{name}" for name in ours)
    device = f"[device-90-consentry]\nmatch-device={names}\nmanaged=0\n"
    return f"{MARK}\n[keyfile]\nunmanaged-devices+={names}\n\n{device}"


def write(wanted: Iterable[File]) -> None:
    """Raises OSError."""
    for file in wanted:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file.path, file.text, file.mode)
        _reload(file.path)


def remove(plan_file: Path = PLAN) -> list[Path]:
    """Take away what `write` wrote, and nothing that is not ours. What was there, for whoever wants to say it."""
    gone = []
    for path in (NETWORK_MANAGER, NETWORKD):
        with suppress(OSError):
            if path.read_text().startswith(MARK):
                path.unlink()
                _reload(path)
                gone.append(path)
    with suppress(OSError):
        plan_file.unlink()
        gone.append(plan_file)
        plan_file.parent.rmdir()  # only if nobody keeps anything else there
    return gone


def unblock(plan: Plan, state_dir: Path) -> str:
    """Switch the radio on where a program has switched it off (rfkill), and remember that; what was done, or ""."""
    switched = [
        switch for switch in _RADIOS.glob(f"{plan.port}/phy80211/rfkill*/soft") if plan.wifi and _word(switch) == "1"
    ]
    for switch in switched:
        with suppress(OSError):
            state_dir.mkdir(parents=True, exist_ok=True)
            switch.write_text("0")
            with (state_dir / RFKILL).open("a") as remembered:
                remembered.write(f"{switch}\n")
    return f"radio {plan.port}: it was switched off (rfkill), and is switched on now" if switched else ""


def block_again(state_dir: Path) -> None:
    """As `unblock` has found it."""
    with suppress(OSError):
        for line in (state_dir / RFKILL).read_text().splitlines():
            with suppress(OSError):  # unplugged meanwhile
                Path(line).write_text("1")
        (state_dir / RFKILL).unlink()


def _word(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _reload(path: Path) -> None:
    for words in _RELOAD.get(path, ()):
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
