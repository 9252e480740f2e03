"""What hostapd does not notice of its radio, the keeper does. Radios that are real: tests/guest; the rest: tests/lab/test_home_box.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from plans import PLAN

from firewall.box import keeper
from firewall.box.children import FAILED, OFF, UP
from firewall.box.words import Fault


class Hostapd:
    """One that is up as soon as it is kept."""

    def __init__(self) -> None:
        self.state, self.fault, self.began = OFF, Fault("", ""), 0

    @property
    def pid(self) -> int:
        return int(self.state == UP)

    def keep(self, _argv: list[str]) -> None:
        self.began += self.state != UP
        self.state = UP

    def end(self) -> None:
        self.state = OFF

    def lack(self, fault: Fault) -> None:
        self.state, self.fault = FAILED, fault


@pytest.fixture
def radio(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """As it is seen; a test changes it."""
    seen: dict[str, object] = {"there": True, "blocked": "", "is_up": True, "carries": True, "serves": True}
    for name in tuple(seen):
        monkeypatch.setattr(keeper, name, lambda _radio, name=name: seen[name])
    return seen


@pytest.fixture
def kept(tmp_path: Path, radio: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> keeper.Keeper:
    found = keeper.Keeper(PLAN, tmp_path, tmp_path)
    monkeypatch.setattr(found, "hostapd", Hostapd())
    monkeypatch.setattr(found.network, "ports", lambda: [PLAN.port])
    return found


def looks(kept: keeper.Keeper, times: int = 3) -> Hostapd:
    for _ in range(times):
        kept._keep_hostapd(PLAN.port)
    assert isinstance(kept.hostapd, Hostapd)
    return kept.hostapd


def test_an_access_point_whose_carrier_falls_is_started_again_and_once(kept: keeper.Keeper, radio: dict[str, object]) -> None:
    assert looks(kept).began == 1
    radio["carries"] = False  # the kernel has stopped it, and tells nobody
    assert looks(kept, 9).began == 2
    radio["carries"] = True
    assert looks(kept).began == 2
    radio["carries"] = False
    assert looks(kept).began == 3


def test_a_driver_that_knows_no_carrier_is_left_alone(kept: keeper.Keeper, radio: dict[str, object]) -> None:
    radio["carries"] = False
    assert looks(kept, 9).began == 1


def test_a_driver_without_access_points_is_told_from_a_busy_radio(kept: keeper.Keeper, radio: dict[str, object]) -> None:
    looks(kept).state = FAILED  # hostapd says the same of both
    assert looks(kept).state == UP
    radio["serves"] = False
    assert looks(kept).state == UP  # it serves, whatever iw says
    kept.hostapd.state = FAILED
    assert "cannot be an access point" in looks(kept).fault.reason
    radio["there"] = False
    assert "is not there" in looks(kept).fault.reason
    radio.update(there=True, serves=True)
    assert looks(kept).state == UP


def test_a_bridge_that_hostapd_made_itself_gives_way_to_ours(kept: keeper.Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does when it begins in the moment in which there is none (seen in tests/guest); its own goes when it ends."""
    hostapd, at = looks(kept), []
    monkeypatch.setattr(kept.network, "is_strange", lambda: hostapd.state == UP)
    monkeypatch.setattr(kept.network, "stand", lambda: at.append(hostapd.state) or [])
    monkeypatch.setattr(kept, "_look_at_the_uplink", lambda: None)
    kept._look()
    assert (at, looks(kept).began) == ([OFF], 2)
