"""Promise: new connections, each judged by its Host, come about nearly as fast as through plain NAT, and much faster
than through mitmproxy. wrk and nginx.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pairs import Figure, cpu_seconds, figure, ratio, take_turns
from topology import PHONE, gate, inside, mitmproxy, plain_nat, serving, topology

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

NEEDS = {"wrk": "wrk", "nginx": "nginx"}
PORT = 80
AT_ONCE = 16

NGINX = """
daemon off; pid {folder}/pid; user root; worker_processes 1; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_timeout 0;
    server {{ listen {port} backlog=4096; listen [::]:{port} backlog=4096; return 200 "fine\\n"; }}
}}
"""
HOSTS = """
local number = 0
function request()
    number = number % 100 + 1
    return wrk.format("GET", "/", {["Host"] = "host" .. number .. ".example.com", ["Connection"] = "close"})
end
"""  # a hundred names, so that no single remembered decision answers for all


def measure(pairs: int, seconds: int) -> dict[str, Figure]:
    costs: list[float] = []  # microseconds of Python for each connection through the gate

    def through(way: Callable[[], AbstractContextManager[int]], family: int) -> float:
        with topology(offloads=True), way() as process:
            before = cpu_seconds(process) if process else 0.0
            found = rate(family, seconds)
            if way is gate and family == 4:
                costs.append((cpu_seconds(process) - before) * 1e6 / (found * seconds))
            return found

    runs4 = take_turns({
        "gate": lambda: through(gate, 4),
        "mitmproxy": lambda: through(mitmproxy, 4),
        "plain NAT": lambda: through(plain_nat, 4),
    }, pairs)
    runs6 = take_turns({"gate": lambda: through(gate, 6), "plain NAT": lambda: through(plain_nat, 6)}, pairs)
    return {
        "ipv4": ratio(runs4, "gate", "plain NAT", "of plain NAT"),
        "ipv6": ratio(runs6, "gate", "plain NAT", "of plain NAT"),
        "mitmproxy": ratio(runs4, "gate", "mitmproxy", "x mitmproxy"),
        "cpu": figure(costs, "us of the gateway a connection"),
    }


def rate(family: int, seconds: int) -> float:
    """Answered requests per second, each on a connection of its own. Raises if some got no answer."""
    with tempfile.TemporaryDirectory(prefix="ckbench-") as folder:
        script, config = Path(folder, "hosts.lua"), Path(folder, "nginx.conf")
        script.write_text(HOSTS)
        config.write_text(NGINX.format(folder=folder, port=PORT))
        with serving(family, PORT, "nginx", "-c", str(config)) as server:
            url = f"http://[{server}]/" if ":" in server else f"http://{server}/"
            wrk = ("wrk", "-t", "1", "-c", str(AT_ONCE), "-d", f"{seconds}s", "-s", str(script), url)
            done = subprocess.run(inside(PHONE, *wrk), text=True, capture_output=True, check=True, timeout=seconds + 30)
    if trouble := re.search(r"Non-2xx.*|Socket errors: (?!connect 0, read 0, write 0, timeout 0).*", done.stdout):
        raise RuntimeError(trouble[0])
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert found, done.stdout
    return float(found[1])
