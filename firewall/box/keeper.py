"""The keeper: a process of its own beside the gateway, which holds the phones' network up and says how it does.

It makes the bridge, starts hostapd and dnsmasq and starts them again, and writes `children.json`. The gateway does not
depend on it: when it dies, the gate stays as it is.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import sys
import time
from contextlib import suppress
from ipaddress import ip_interface
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from firewall.backends.linux.uplink import default_route
from firewall.box import dnsmasq, hostapd
from firewall.box.children import FAILED, UP, Child
from firewall.box.found import serves
from firewall.box.machine import PLAN, BoxError, Network, blocked, carries, is_up, read_plan, shown, there
from firewall.box.places import CHILDREN, CONTROL, IN_FORCE, LEASES, PID
from firewall.box.plan import AP, AUTO, Plan, PlanError, render
from firewall.box.subnets import collides
from firewall.box.words import Fault, fault
from firewall.notify import message, notify
from firewall.settings import RUN, STATE, write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

LONGEST_LOG: Final = 1 << 20  # bytes
STEP: Final = 0.25  # seconds
LOOK_STEPS: Final = 4  # steps between looks at interfaces and routes


class Keeper:
    """Runs until SIGTERM. What it made stays then: `consentry off --remove` takes it away."""

    def __init__(self, plan: Plan, run_dir: Path, state_dir: Path) -> None:
        self.plan = plan
        self.network = Network(plan, run_dir)
        self._run, self._state = run_dir, state_dir
        places = {"port": plan.port, "lan": plan.lan}
        self.hostapd = Child("hostapd", lambda line: "AP-ENABLED" in line, say, **places)
        self.dnsmasq = Child("dnsmasq", lambda line: "DHCP, IP range" in line, say, **places)
        self.uplink: dict[str, Any] = {"state": FAILED, "reason": "", "remedy": "", "since": time.time(), "pid": 0}
        self.bridge: dict[str, Any] = dict(self.uplink)
        self._on_air = False  # what hostapd is not told of (nl80211's STOP_AP), the radio's carrier tells
        self._ending = False
        self._told = ""
        self._said_ready = False

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)
        self._prepare()
        steps = 0
        try:
            while not self._ending:
                self.step(look=steps % LOOK_STEPS == 0)
                steps += 1
                time.sleep(STEP)
        finally:
            self.hostapd.end()
            self.dnsmasq.end()
            self._tell()
        return 0

    def step(self, *, look: bool) -> None:
        """Look at everything once, mend what can be mended, and say what changed."""
        if look:
            self._look()
        self._keep_children()
        self._tell()
        if not self._said_ready and self.bridge["state"] == UP:
            self._said_ready = True
            notify(message(READY=1))

    def _prepare(self) -> None:
        """What the children read. It is written anew each time: the plan is the truth."""
        self._run.mkdir(parents=True, exist_ok=True)
        self._state.mkdir(parents=True, exist_ok=True)
        Path(self._run, CONTROL).mkdir(mode=0o750, exist_ok=True)
        for name, text in configs(self.plan, self._run, self._state).items():
            write_atomically(Path(name), text, mode=0o600)

    def _look(self) -> None:
        if self.hostapd.pid and self.network.is_strange():
            self.hostapd.end()  # it found no bridge when it began and made one of its own, which goes with it
        try:
            made = self.network.stand()
        except (BoxError, OSError) as error:  # an interface may go between two looks at it
            self.bridge = _changed(self.bridge, FAILED, str(error), "plug it in, or: sudo consentry setup")
        else:
            if made:
                say(f"made {', '.join(made)}")
            if self.plan.lan in made and self.dnsmasq.pid:
                self.dnsmasq.end()  # its sockets are bound to the one that is gone
            self.bridge = _changed(self.bridge, UP)
        self._look_at_the_uplink()

    def _look_at_the_uplink(self) -> None:
        wan = default_route(self.plan.lan) if self.plan.wan == AUTO else self.plan.wan
        if not wan or not there(wan):
            said = f"the interface {wan} is not there" if wan else "there is no way to the internet (no default route)"
            self.uplink = _changed(self.uplink, FAILED, said, "connect the uplink; the gate follows by itself")
            return
        try:
            taken = [address for link in shown("addr", "show", "dev", wan) for address in networks(link)]
        except BoxError:  # ip(8) hangs: known from elsewhere by now
            return
        hit = collides(self.plan.subnet4, taken) or collides(self.plan.subnet6, taken)
        if hit:
            said = f"the network of {wan} is {hit}, and the phones' is {self.plan.subnet4}: they collide"
            self.uplink = _changed(self.uplink, FAILED, said, "sudo consentry setup --subnet auto")
        else:
            self.uplink = _changed(self.uplink, UP) | {"interface": wan}

    def _keep_children(self) -> None:
        if self.bridge["state"] != UP:
            lacking = Fault(f"{self.plan.lan} is not there: {self.bridge['reason']}", self.bridge["remedy"])
            self.dnsmasq.lack(lacking)
        elif self.plan.dhcp:
            self.dnsmasq.keep(["dnsmasq", "--no-daemon", f"--conf-file={self._run / 'dnsmasq.conf'}"])
        if self.plan.mode == AP:
            self._keep_hostapd(self.plan.port)

    def _keep_hostapd(self, radio: str) -> None:
        """It does not end when its radio is taken from it, so that is looked for here."""
        if not there(radio):
            self.hostapd.lack(Fault(f"the radio {radio} is not there", "plug it in; it is used at once"))
        elif kind := blocked(radio):
            self.hostapd.lack(fault("hostapd", [f"rfkill: WLAN {kind} blocked"], port=radio, lan=self.plan.lan))
        elif self.hostapd.state == FAILED and not serves(radio):
            self.hostapd.lack(fault("hostapd", ["Driver does not support AP"], port=radio, lan=self.plan.lan))
        else:
            on_air, self._on_air = self._on_air, self.hostapd.state == UP and carries(radio)
            if self.hostapd.state == UP and not (radio in self.network.ports() and is_up(radio)):
                self.hostapd.end()  # it puts the radio up and into the bridge when it begins
            elif self.hostapd.state == UP and on_air and not self._on_air:
                say(f"the kernel has stopped the access point at {radio}, as it does when the box sleeps")
                self.hostapd.end()
            self.hostapd.keep(["hostapd", str(self._run / "hostapd.conf")])

    def _tell(self) -> None:
        told = json.dumps({
            "bridge": self.bridge, "uplink": self.uplink,
            "hostapd": self.hostapd.told(), "dnsmasq": self.dnsmasq.told(),
        })
        if told != self._told:
            with suppress(OSError):  # a full disk: the next time
                write_atomically(self._run / CHILDREN, told)
                self._told = told

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._ending = True


def configs(plan: Plan, run_dir: Path, state_dir: Path) -> dict[str, str]:
    """Path -> text of the files that the children read."""
    found = {str(run_dir / "dnsmasq.conf"): dnsmasq.config(plan, str(state_dir / LEASES))} if plan.dhcp else {}
    if plan.mode == AP:
        found[str(run_dir / "hostapd.conf")] = hostapd.config(plan, str(run_dir / CONTROL))
    return found


def networks(link: dict[str, Any]) -> list[Any]:
    """Those that an interface of `ip -j addr` is in."""
    near = (one for one in link.get("addr_info", ()) if one["scope"] != "link")
    return [ip_interface(f"{one['local']}/{one['prefixlen']}").network for one in near]


def _changed(told: dict[str, Any], state: str, reason: str = "", remedy: str = "") -> dict[str, Any]:
    if (told["state"], told["reason"]) == (state, reason):
        return told
    if reason:
        say(f"{reason}; {remedy}")
    return {"state": state, "reason": reason, "remedy": remedy, "since": time.time(), "pid": 0}


def say(text: str) -> None:
    """To whoever started it. A log file begins anew when it has grown: nobody rotates it."""
    with suppress(OSError):
        told = os.fstat(2)
        if stat.S_ISREG(told.st_mode) and told.st_size > LONGEST_LOG:
            os.ftruncate(2, 0)
    sys.stderr.write(f"{time.strftime('%F %T')} {text}\n")
    sys.stderr.flush()


def main(words: Sequence[str]) -> int:
    """`keeper [PLAN [RUN_DIR [STATE_DIR]]]`. Exit status 2: the plan cannot be read, or another keeper runs."""
    plan_file, run_dir, state_dir = map(Path, (*words, *(str(PLAN), str(RUN), str(STATE))[len(words):]))
    try:
        plan = read_plan(plan_file)
    except PlanError as error:
        say(str(error))
        return 2
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / PID).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(f"another keeper runs already: {lock.name} is locked")
            return 2
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        (run_dir / CHILDREN).unlink(missing_ok=True)  # of one that is gone
        _succeed(plan, run_dir)
        return Keeper(plan, run_dir, state_dir).run()


def _succeed(plan: Plan, run_dir: Path) -> None:
    """What another plan has made goes before this one stands, and what was there before it comes back."""
    try:
        before = read_plan(run_dir / IN_FORCE)
    except PlanError:
        before = plan
    if before.network != plan.network:
        say("the plan is another one: what was made by the one before is taken away")
        Network(before, run_dir).remove()
    write_atomically(run_dir / IN_FORCE, render(plan), mode=0o600)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
