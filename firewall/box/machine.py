"""The box's network put into the kernel, looked at, and taken out again so that everything is as it was."""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from firewall.backends.linux.links import is_own
from firewall.box import bridge
from firewall.box.plan import INLINE, ONE_ARMED, Plan, PlanError, parse
from firewall.settings import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable

PLAN: Final = Path("/etc/consentry/gateway.toml")
_NET: Final = Path("/proc/sys/net")
_LINKS: Final = Path("/sys/class/net")
IFF_UP: Final = 1  # netdevice(7)
RULE_LOOKS: Final = 30  # looks at interfaces for one at the rules
_HAD: Final = ("local", "broadcast", "label", "scope", "prefixlen")  # of an address; lifetimes are its giver's


class BoxError(Exception):
    """What the kernel or a program refused, and its words."""


def read_plan(path: Path) -> Plan:
    """Raises PlanError, also if there is no such file."""
    try:
        return parse(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"{path}: {error}") from None


class Network:
    """The phones' side as the plan has it. `run_dir` keeps what was there before, until the next boot."""

    def __init__(self, plan: Plan, run_dir: Path) -> None:
        self.plan = plan
        self._memory = run_dir / "box-before.json"
        self._looks = 0

    def stand(self) -> list[str]:
        """Make what is missing. Returns what that was, in words. Raises BoxError."""
        plan, made = self.plan, []
        if plan.mode != "ap" and not there(plan.port):
            raise BoxError(f"the interface {plan.port} is not there")
        if self.is_strange():
            raise BoxError(f"there is another interface {plan.lan} already, which is not ours to take")
        if there(plan.lan) and Path(_LINKS, plan.lan, "bridge").exists() == (plan.mode == ONE_ARMED):
            ip(bridge.remove(plan), patient=True)  # of another mode
        if not there(plan.lan):
            self._remember()
            ip(bridge.make(plan))
            made.append(plan.lan)
        elif not self._sound():
            ip([f"addr flush dev {plan.lan} scope global", *bridge.address(plan)], patient=True)
            made.append(f"the addresses of {plan.lan}")
        self._switch()
        if plan.mode == INLINE and not Path(_LINKS, plan.lan, "brif", plan.port).exists():
            self._remember()
            ip([f"addr flush dev {plan.port}"], patient=True)
            ip(bridge.plug_in(plan, plan.port))
            made.append(plan.port)
        for port in self.ports():
            with suppress(OSError):  # it is gone again
                if Path(_LINKS, port, "brport/isolated").read_text().strip() != "1":
                    ip(bridge.isolate(port), patient=True)
        self._rule()
        return made

    def is_strange(self) -> bool:
        """Whether an interface that somebody else has made bears the name of the phones' one."""
        return there(self.plan.lan) and not self._ours()

    def ports(self) -> list[str]:
        """What is plugged into the bridge; none in one-armed mode."""
        with suppress(OSError):
            return sorted(entry.name for entry in Path(_LINKS, self.plan.lan, "brif").iterdir())
        return []

    def remove(self) -> None:
        """What `stand` made goes, and what was there before comes back. Nothing to do is fine."""
        nft(bridge.no_table(), patient=True)
        if self._ours():
            ip(bridge.remove(self.plan), patient=True)
        before = self._before()
        for name, value in before.get("switches", {}).items():
            with suppress(OSError):
                (_NET / name).write_text(value)
        if before.get("port") == self.plan.port and there(self.plan.port):
            ip([f"link set {self.plan.port} {'up' if before['up'] else 'down'}"], patient=True)
            ip([_address(self.plan.port, one) for one in before["addresses"]], patient=True)
            ip(before["routes"], patient=True)
        self._memory.unlink(missing_ok=True)

    def _ours(self) -> bool:
        """Whether the phones' interface is one that we have made: nobody else's has this address."""
        with suppress(OSError):
            return Path(_LINKS, self.plan.lan, "address").read_text().strip() == bridge.mac(self.plan)
        return False

    def _sound(self) -> bool:
        """Up, with its addresses."""
        ours = self.plan.address4, self.plan.address6
        return is_up(self.plan.lan) and all(is_own(one.ip.packed, 0) for one in ours)

    def _rule(self) -> None:
        """Our own small tables: loaded at first, then looked for now and then, for others flush rulesets."""
        rules = bridge.table(self.plan)
        if self._looks % RULE_LOOKS == 0:
            stand = _run(["nft", "list", "tables"]).stdout.splitlines() if self._looks else []
            if any(line.startswith("table ") and line.removesuffix(" {") not in stand for line in rules.splitlines()):
                nft(rules)
        self._looks += 1

    def _switch(self) -> None:
        before = self._before()
        known = len(before.setdefault("switches", {}))
        for name, value in bridge.switches(self.plan).items():
            path = _NET / name
            try:
                was = path.read_text().strip()
                if was == str(value):
                    continue
                if f"/{self.plan.lan}/" not in name:
                    before["switches"].setdefault(name, was)
                    if len(before["switches"]) > known:
                        self._keep(before)
                path.write_text(str(value))
            except OSError as error:
                if path.exists() and there(name.split("/")[2]):
                    raise BoxError(f"{path} cannot be set to {value}: {error.strerror}") from None

    def _remember(self) -> None:
        """The port's addresses and routes, before it has none."""
        before = self._before()
        if "port" in before or not there(self.plan.port) or self.plan.mode == ONE_ARMED:
            return
        port = self.plan.port
        link = next(iter(shown("addr", "show", "dev", port)), None)
        if link is None:
            raise BoxError(f"the interface {port} is gone again")
        self._keep(before | {
            "port": port,
            "up": "UP" in link["flags"],
            "addresses": [
                {word: one[word] for word in _HAD if word in one}
                for one in link["addr_info"] if one["scope"] != "link"
            ],
            "routes": [
                _route(family, port, one)
                for family in ("-4", "-6")
                for one in shown(family, "route", "show", "dev", port)
                if one.get("protocol") != "kernel"  # that comes by itself with the address
            ],
        })

    def _before(self) -> dict[str, Any]:
        try:
            known: dict[str, Any] = json.loads(self._memory.read_text())
        except (OSError, ValueError):
            return {}
        return known

    def _keep(self, before: dict[str, Any]) -> None:
        self._memory.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._memory, json.dumps(before))


def there(interface: str) -> bool:
    return Path(_LINKS, interface).exists()


def is_up(interface: str) -> bool:
    try:
        return bool(int(Path(_LINKS, interface, "flags").read_text(), 16) & IFF_UP)
    except OSError:
        return False


def carries(interface: str) -> bool:
    """Whether it has a carrier: a cable, or an access point that is on the air."""
    try:
        return Path(_LINKS, interface, "carrier").read_text().strip() == "1"
    except OSError:  # it is down, or gone
        return False


def blocked(radio: str) -> str:
    """Whether rfkill(8) holds it: "hard" (a switch on the box), "soft" (a program), or ""."""
    kinds = []
    for switch in Path(_LINKS, radio, "phy80211").glob("rfkill*"):
        for kind in ("hard", "soft"):
            with suppress(OSError):
                kinds += [kind] if (switch / kind).read_text().strip() == "1" else []
    return min(kinds, default="")


def shown(*words: str) -> list[dict[str, Any]]:
    """What ip(8) says in JSON; nothing where it refuses."""
    done = _run(["ip", "-j", *words])
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]") if done.returncode == 0 else []
    return [row for row in found if row]


def ip(lines: Iterable[str], *, patient: bool = False) -> None:
    """Run a batch of commands. `patient`: what fails is passed over. Raises BoxError."""
    text = "\n".join(lines)
    done = _run(["ip", *(["-force"] if patient else []), "-batch", "-"], text + "\n")
    if done.returncode and not patient:
        raise BoxError(f"ip: {' '.join(done.stderr.split())[:300]} ({text.splitlines()[0]} ...)")


def nft(text: str, *, patient: bool = False) -> None:
    done = _run(["nft", "-f", "-"], text)
    if done.returncode and not patient:
        raise BoxError(f"nft: {' '.join(done.stderr.split())[:300]}")


def _run(words: list[str], given: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(words, input=given, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        raise BoxError(f"{words[0]} is not installed: apt-get install iproute2 nftables") from None
    except subprocess.TimeoutExpired:
        raise BoxError(f"{words[0]} has not answered for 30 s") from None


def _address(port: str, one: dict[str, Any]) -> str:
    broadcast = f" brd {one['broadcast']}" if "broadcast" in one else ""
    nodad = " nodad" if ":" in one["local"] else ""
    return f"addr add {one['local']}/{one['prefixlen']}{broadcast} dev {port} scope {one['scope']}{nodad}"


def _route(family: str, port: str, one: dict[str, Any]) -> str:
    """A line that adds it again; those that come by themselves with an address are there already then."""
    words = ["route add", "::/0" if family == "-6" and one["dst"] == "default" else one["dst"]]
    said = {"gateway": "via", "metric": "metric", "prefsrc": "src", "scope": "scope", "protocol": "proto"}
    for word, value in one.items():
        if word in said:
            words += [said[word], str(value)]
    return " ".join([*words, "dev", port])
