"""Promise: new connections, each judged by its Host, come about nearly as fast as through plain NAT. wrk and nginx."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from pairs import Case, Figures, compare
from topology import PHONE, inside, serving

NEEDS = {"wrk": "wrk", "nginx": "nginx"}
CASES = (Case(4, offloads=True), Case(6, offloads=True))
FLOOR = 0.75
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


def measure(pairs: int, seconds: int) -> dict[str, Figures]:
    return {str(case): compare(case, lambda family: rate(family, seconds), pairs, "connections/s") for case in CASES}


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
