"""The box in the guest: its access point, its gateway, and what of them can be seen from outside."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from world import LOGS, PATIENCE, RADIO, begin, run

from firewall import control

SSID, PASSPHRASE, SUBNET, RESOLVER = "consentry guest", "correct horse battery", "10.77.0.0/24", "10.77.0.1"
RUN, STATE = Path("/run/consentry"), Path("/var/lib/consentry")
RULES = STATE / "rules.toml"


def set_up() -> str:
    """By the command, as its owner types it; the parts are started one by one, for each takes its time here."""
    return run(
        sys.executable, "-P", "-m", "firewall.cli", "setup", "--yes", "--no-start", "--enforce", "--country", "DE",
        "--ssid", SSID, "--passphrase", PASSPHRASE, "--channel", "1", "--subnet", SUBNET,
    )  # fmt: skip


def start_keeper() -> None:
    begin("keeper", sys.executable, "-P", "-m", "firewall.box.keeper")


def children() -> dict[str, str]:
    """Name -> state, and why if it has failed."""
    with suppress(OSError, ValueError):
        told = json.loads((RUN / "children.json").read_text())
        return {name: f"{child['state']} {child['reason']}".strip() for name, child in told.items()}
    return {}


def is_up() -> bool:
    told = children()
    return bool(told) and set(told.values()) == {"up"}


def throw_out(mac: str) -> str:
    """hostapd's answer."""
    here = Path(f"/run/ask-{os.getpid()}")
    here.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(here))
        s.settimeout(PATIENCE)
        s.connect(str(RUN / "hostapd" / RADIO))
        s.send(f"DEAUTHENTICATE {mac}".encode())
        return s.recv(4096).decode().strip()


def start_gateway() -> subprocess.Popen[bytes]:
    return begin("gateway", sys.executable, "-P", "-m", "firewall.cli", "run", "--headless")


def ask(verb: str, **args: Any) -> Any:
    """One question over the control socket: its items, or what it ended with. Raises Refused, NoGateway."""
    with control.connect(RUN / "gateway.sock") as client:
        reply = client.ask(verb, **args)
    return reply.items or reply.done


def state() -> str:
    with suppress(control.NoGateway, control.Refused):
        return str(ask("status")["state"])
    return ""


def remembered() -> str:
    """What a next gateway will know of live flows (memory.py); it is written every few seconds."""
    with suppress(OSError):
        return (RUN / "live.json").read_text()
    return ""


def consentry(*words: str) -> tuple[int, list[dict[str, Any]]]:
    """What a command of ours ends with, and the JSON that it prints, a line each."""
    done = subprocess.run([sys.executable, "-P", "-m", "firewall.cli", *words], capture_output=True, text=True, check=False)
    (LOGS / words[0]).write_text(done.stdout + done.stderr)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def traces() -> dict[str, str]:
    """What a gateway leaves in a kernel, as text."""
    switches = ("ipv4/ip_forward", "ipv6/conf/all/forwarding", "netfilter/nf_conntrack_acct",
                "netfilter/nf_conntrack_tcp_loose", "ipv4/conf/wan0/src_valid_mark", "ipv6/conf/wan0/accept_ra")
    return {
        "ruleset": run("nft", "list", "ruleset"),
        "rules": run("ip", "rule") + run("ip", "-6", "rule"),
        "links": "\n".join(sorted(run("ip", "-br", "link").splitlines())),
        "files": run("find", "/etc/consentry", "/etc/NetworkManager", "/etc/systemd", "-newer", "/run/logs", may_fail=True),
        "pinned": run("ip", "neigh", "show", "nud", "permanent"),
        **{name: path.read_text() for name in switches if (path := Path("/proc/sys/net", name)).exists()},
    }


def keep(name: str, text: str) -> None:
    """For whoever looks at the host afterwards."""
    (LOGS / name).write_text(text)
