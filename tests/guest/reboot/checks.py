"""The box is switched off in the middle and on again: the lock first, then a gate that refuses what it refused before.

systemd runs this in each of two boots of one disk (run.sh --reboot). In the first nothing of ours is there at first: the
quick phone's token gets out, or the second boot's silence would prove nothing.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import socket
from contextlib import suppress

import box
from world import LOGS, check, inside, run, till, verdict

OUT = Path("/mnt/out")
KEPT = Path("/var/lib/guest")
COMMAND = "/root/consentry/.venv/bin/consentry"
RULES = '[[rule]]\naction = "block"\nmatch = "port:7777"\n\n[[rule]]\naction = "allow"\nmatch = ""\n'


def got_out() -> int:
    """Packets of the phone's that had reached the internet before the gate was there."""
    return int(Path("/run/early").read_text().split()[1])


def journal(unit: str) -> str:
    return run("journalctl", "--no-pager", "-o", "cat", "-u", unit, may_fail=True)[-800:]


def enforces() -> bool:
    return bool(till(lambda: box.state() == "ENFORCING"))


def first() -> None:
    check("without us the quick phone's token gets out", got_out() > 0, got_out())
    run("ip", "addr", "flush", "dev", "phone0")
    keep = run(COMMAND, "setup", "--yes", "--mode", "inline", "--radio", "phone0", "--uplink", "wan0", "--enforce",
               "--subnet", "10.77.0.0/24", "--no-start")  # fmt: skip
    run(COMMAND, "service", "install")
    check("the units are there, and the gate enforces", enforces(), f"{keep} {journal('consentry')}")
    Path("/var/lib/consentry/rules.toml").write_text(RULES)
    box.ask("reload")
    before = len(box.ask("rules"))
    (KEPT / "rules").write_text(str(before))
    check("the owner's rules are in force", before > 2, before)
    os.sync()
    (OUT / "first").write_text(f"{verdict()}\n")
    os.sync()
    Path("/proc/sysrq-trigger").write_text("b")  # the power goes


def phone_reaches(port: int) -> bool:
    """Whether something that a phone says over UDP reaches the internet."""
    with inside("internet"):
        far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with inside("phone"):
        near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with far, near:
        far.bind(("203.0.113.254", port))
        far.settimeout(1)
        for _ in range(6):
            with suppress(OSError):
                near.sendto(b"token", ("203.0.113.254", port))
                return far.recv(100) == b"token"
    return False


def second() -> None:
    check("all was well before the power cut", (OUT / "first").read_text() == "0\n")
    check("after the power cut: not one packet before the gate", got_out() == 0, got_out())
    lock, wires, gate = (
        int(run("systemctl", "show", "-P", "ActiveEnterTimestampMonotonic", unit))
        for unit in ("consentry-lock.service", "network-pre.target", "consentry.service")
    )
    check("the lock stood before the network", 0 < lock <= wires or (lock and not wires), (lock, wires))
    check("the gate enforces again", enforces(), journal("consentry"))
    gate = int(run("systemctl", "show", "-P", "ActiveEnterTimestampMonotonic", "consentry.service"))
    check("... and came after the lock", lock < gate or not gate, (lock, gate))
    told = len(box.ask("rules"))
    check("... by the rules of before", str(told) == (KEPT / "rules").read_text(), told)
    run("ip", "-n", "phone", "route", "replace", "default", "via", "10.77.0.1")
    check("what the rules refuse is refused", not phone_reaches(7777))
    names = till(lambda: [row["name"] for row in box.ask("phones")])
    check("... of a phone that is known now", names, names)
    check("what they allow arrives", till(lambda: phone_reaches(7778)))
    run(COMMAND, "off", "--remove")
    left = [str(path) for path in Path("/etc/systemd/system").rglob("consentry*")]
    check("off --remove: no unit is left", not left, left)
    check("... and no rule", not run("nft", "list", "ruleset").strip(), run("nft", "list", "ruleset")[:300])
    (OUT / "second").write_text("on\n")


def main() -> None:
    LOGS.mkdir(exist_ok=True)
    turn = second if (OUT / "first").exists() else first
    try:
        turn()
    except Exception:  # noqa: BLE001  whatever it is: the machine is about to go, and it has to be told before
        check("nothing unforeseen", False, traceback.format_exc())  # noqa: FBT003
    finally:
        (OUT / "journal").write_text(run("journalctl", "--no-pager", "-o", "short-monotonic", may_fail=True))
        (OUT / "status").write_text(f"{verdict()}\n")
        os.sync()
        Path("/proc/sysrq-trigger").write_text("o" if turn is second else "b")


if __name__ == "__main__":
    main()
