"""Programs that live, and do not do what they are there for."""

from __future__ import annotations

from collections.abc import Callable

from judge import wait_for

from firewall.box import children
from firewall.box.children import FAILED, STARTING, UP, Child

SAYS = """
echo "wlan0: AP-ENABLED"; sleep 0.3
printf 'wlan0: DFS-RADAR-DETECTED freq=5260 \\033[31m\\nwlan0: interface state ENABLED->DISABLED\\nwlan0: AP-DISABLED\\n'
sleep 60
"""


def kept(child: Child, script: str, until: Callable[[], bool]) -> None:
    try:
        wait_for(lambda: child.keep(["sh", "-c", script]) or until())
    finally:
        child.end()


def test_an_access_point_that_is_switched_off_is_not_up_though_its_program_lives() -> None:
    told: list[str] = []
    states: list[str] = []
    child = Child("hostapd", lambda line: "AP-ENABLED" in line, told.append, port="wlan0", lan="consentry0")
    kept(child, SAYS, lambda: (states.append(child.state), child.state == FAILED)[1] and "radar" in child.fault.reason)
    assert UP in states
    assert any("DFS-RADAR" in line for line in told)
    assert not any("\x1b" in line for line in told)  # nothing of it is done to whoever reads the log


def test_one_that_does_not_come_up_says_what_it_said_last(monkeypatch) -> None:
    monkeypatch.setattr(children, "SLOW_SECONDS", 0.2)
    child = Child("hostapd", lambda line: "AP-ENABLED" in line, [].append, port="wlan0", lan="consentry0")
    seen: list[str] = []
    script = "echo 'wlan0: interface state COUNTRY_UPDATE->DFS'; sleep 60"
    kept(child, script, lambda: bool(child.fault.reason) and not seen.append(f"{child.state}: {child.fault.reason}"))
    assert seen == [f"{STARTING}: hostapd takes its time; it said: wlan0: interface state COUNTRY_UPDATE->DFS"]
