"""A scenario played live and captured at the phone, then played again from the recording: the same decisions."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from judge import Lab, TooLate, consentry, lines, wait_for

pytestmark = pytest.mark.lab

SCENARIO = "redmi-1s-2014"


@contextmanager
def recording(lab: Lab, file: Path) -> Iterator[None]:
    """What crosses the phone's own interface."""
    dump = subprocess.Popen(
        ["ip", "netns", "exec", lab.namespaces["phones"][0], "tcpdump", "--immediate-mode", "-Z", "root", "-U", "-B", "65536", "-n", "-i", "eth0", "-w", str(file)],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )
    try:
        assert dump.stderr is not None
        for line in dump.stderr:
            if "listening on" in line:
                break
        yield
        size = -1
        while size != (size := file.stat().st_size):  # what is still on its way to the file
            time.sleep(1.0)
    finally:
        dump.send_signal(signal.SIGINT)
        said = dump.communicate(timeout=10)[1]
        assert "0 packets dropped by kernel" in said, said


def decisions(rows: list[dict]) -> Counter:
    """What was decided about what, and by which rule, with how often. A DNS question that was refused is no flow."""
    found: Counter = Counter()
    for row in rows:
        kind = "question" if row["proto"] == "dns" else "flow"
        place = row["name"] or (row["dst"], row["dport"], row["proto"])
        found[kind, place, row["via"], row["verdict"], row["rule"]] += row.get("count", 1)
    return found


def by_the_kernel(decision: tuple) -> bool:
    """Refused with its first packet, before it could say a name. Live, the kernel tells some of these a second."""
    kind, _, via, verdict, _ = decision
    return kind == "flow" and verdict in {"ask", "block"} and via in {"dns", "none", "ambiguous"}


def test_a_recording_of_the_scenario_gets_the_same_decisions(lab: Lab, tmp_path: Path) -> None:
    began = time.time()
    with recording(lab, tmp_path / "phone.pcap"):
        steps = lab.play(SCENARIO)
    assert len(steps) > 200
    rules = tmp_path / "none.toml"
    rules.write_text("")
    mac = next(row["macs"][0] for row in lines(lab.consentry("phones", "list", "--json").stdout) if row["name"] == "phone1")
    done = consentry("replay", str(tmp_path / "phone.pcap"), "--rules", str(rules), "--phone", f"{mac}=phone1", "--json", lab=lab.name)
    replayed = []
    for row in map(json.loads, done.stdout.splitlines()):
        if row["dport"] == 53:
            replayed += [row | {"proto": "dns"}] if row["verdict"] == "block" else []
        elif row["rule"]:  # else only a handshake: live nothing is asked then either
            replayed.append(row)
    again = decisions(replayed)
    judged = {decision: count for decision, count in again.items() if not by_the_kernel(decision)}

    def live() -> Counter:
        return decisions([row for row in lab.history("phone:phone1 last:1h") if row["first"] >= began - 1])

    def live_judged() -> dict:
        return {decision: count for decision, count in live().items() if not by_the_kernel(decision)}

    with suppress(TooLate):
        wait_for(lambda: live_judged() == judged, 5)
    assert live_judged() == judged
    told = live()
    assert all(count <= again[decision] for decision, count in told.items())
    assert sum(map(by_the_kernel, told)) >= 2
    assert len(judged) >= 8
    assert {"allow", "ask"} <= {verdict for _, _, _, verdict, _ in told}
