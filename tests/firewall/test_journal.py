from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from firewall import journal
from firewall.events import FlowDecided, OwnerActed, PolicyChanged, State, StateChanged, Trouble
from firewall.inputs import Author
from rules.observation import Name, Observation, Source
from rules.verdict import Decision, Verdict

ANNA = Author("anna", 1000)


def test_one_line_each_with_its_level_and_no_flows() -> None:
    seen = Observation("phone1", "tcp", bytes(4), 443, said=(Name("private.example", Source.SNI),))
    told = list(journal.lines([
        FlowDecided(1.0, bytes(4), None, seen, Decision(Verdict.ALLOW, "default", "nothing says otherwise", "", 1)),
        StateChanged(1.0, State.ENFORCING, ""),
        StateChanged(1.0, State.LOCKED, "stopped by anna"),
        Trouble(1.0, "the disk is full"),
        PolicyChanged(1.0, 7, 12, ANNA),
        OwnerActed(1.0, "mode", "watch", ANNA),
        OwnerActed(1.0, "phone", "private.example is what the child calls it", ANNA),
    ]))
    assert told == [
        (5, "state=ENFORCING"), (3, "state=LOCKED stopped by anna"), (4, "trouble the disk is full"), (5, "rules revision=7 by=anna"), (5, "mode watch by=anna"),
    ]


@pytest.mark.parametrize("in_journal", [False, True])
def test_a_line_is_one_line_and_under_systemd_carries_its_level(in_journal: bool) -> None:
    env = {"JOURNAL_STREAM": "8:1"} if in_journal else {}
    done = subprocess.run(
        [sys.executable, "-c", "from firewall import journal; journal.say('a\\nb', journal.WARNING)"], capture_output=True, text=True, check=True, env=env, timeout=30
    )
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("<4>a‹U+000A›b") if in_journal else done.stderr[:2] == "20"


def test_a_log_that_is_a_file_keeps_its_end(tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    code = "import sys; from firewall import journal; journal.MOST = 5_000; journal.KEPT = 500\nfor n in range(1_000): journal.say(f'line {n} '); journal.cut()"
    with log.open("ab") as file:
        subprocess.run([sys.executable, "-c", code], stderr=file, check=True, timeout=30)
    said = log.read_text().splitlines()
    assert log.stat().st_size <= 5_100
    assert said[-1].endswith("line 999 ")
    assert all("line" in line for line in said)  # whole lines
