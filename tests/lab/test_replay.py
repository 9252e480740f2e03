"""A scenario played live and captured at the phone, then played again from the recording: the same decisions."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from judge import Lab, consentry, lines, wait_for

pytestmark = pytest.mark.lab

SCENARIO = "redmi-1s-2014"


@contextmanager
def recording(lab: Lab, file: Path) -> Iterator[None]:
    """What crosses the phone's own interface."""
    dump = subprocess.Popen(
        ["ip", "netns", "exec", lab.namespaces["phones"][0], "tcpdump", "-Z", "root", "-U", "-B", "65536", "-n", "-i", "eth0", "-w", str(file)],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )
    try:
        assert dump.stderr is not None
        for line in dump.stderr:
            if "listening on" in line:
                break
        yield
        time.sleep(0.5)  # what is still on its way to the file
    finally:
        dump.send_signal(signal.SIGINT)
        said = dump.communicate(timeout=10)[1]
        assert "0 packets dropped by kernel" in said, said


def decisions(rows: list[dict]) -> Counter:
    """What was decided of whom and why, with how often. A DNS question that was refused is no flow."""
    found: Counter = Counter()
    for row in rows:
        dns = row["proto"] == "dns"
        place = () if dns or row["name"] else (row["dst"], row["dport"], row["proto"])
        names = frozenset((name["name"], name["source"]) for name in row["names"])
        found["dns" if dns else "flow", row["name"], place, names, row["via"], row["verdict"], row["rule"], row["reason"]] += row.get("count", 1)
    return found


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

    def live() -> Counter:
        return decisions([row for row in lab.history("phone:phone1 last:1h") if row["first"] >= began - 1])

    wait_for(lambda: set(live()) >= set(again) or None, 5)
    told = live()
    assert set(told) == set(again)
    # the kernel tells of its own refusals so many a second; everything else is told once a flow
    judged = {key: count for key, count in told.items() if key[4] in {"sni", "http"}}
    assert judged == {key: again[key] for key in judged}
    assert {"allow", "ask"} <= {key[5] for key in told}
