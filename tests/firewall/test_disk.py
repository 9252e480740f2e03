from __future__ import annotations

from firewall import disk
from firewall.disk import Disk


def test_what_ends_or_fails_is_not_stuck(monkeypatch) -> None:
    monkeypatch.setattr(disk, "STUCK_SECONDS", 0.0)
    one = Disk()
    assert one.stuck == ""
    try:
        with one.busy():
            assert one.stuck == "the disk has not answered for 0 s"
            raise OSError
    except OSError:
        assert one.stuck == ""


def test_a_moment_is_none(monkeypatch) -> None:
    monkeypatch.setattr(disk, "STUCK_SECONDS", 3_600.0)
    one = Disk()
    with one.busy():
        assert one.stuck == ""
