"""Ways on which a name went unread, one test each. The internet's sinks are the judge, and everything arrives where all is allowed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from judge import Lab, wait_for

pytestmark = pytest.mark.lab

HELPERS = Path(__file__).parents[1] / "helpers"


def run(lab: Lab, code: str, *words: str) -> str:
    """A phone's program that knows the helpers."""
    path = f"import sys; sys.path.insert(0, {str(HELPERS)!r}); sys.argv[1:] = {list(words)!r}\n"
    return lab.phone(sys.executable, "-c", path + code).stdout


# -- multipath TCP -------------------------------------------------------------------------------------------------------


def test_multipath_tcp_leaves_as_plain_tcp(lab: Lab, tmp_path: Path) -> None:
    """Its bytes have a second order (DSS): what the gate reads first, the server may throw away as a repeat."""
    code = """
import hostile
hostile.deaf()
for family in (4, 6):
    c = hostile.Raw(family, 8443)
    assert c.open(options=b"\\2\\4\\5\\xb4\\x1e\\x04\\x01\\x01")
    c.send(0, hostile.hello("friendly.example", f"multipath{family}"))
    assert c.answer(9)
    c.close()
"""
    with lab.capture(tmp_path / "outer.pcap") as file:
        run(lab, code)
        for family in (4, 6):
            wait_for(lambda family=family: lab.arrived(f"multipath{family}"))
    seen = subprocess.run(["tcpdump", "-n", "-v", "-r", str(file), "port 8443"], capture_output=True, text=True, check=True).stdout
    assert seen.count("Flags [S]") == 2
    assert "mptcp" not in seen
    assert "mss 1460" in seen, "the other options stay"
