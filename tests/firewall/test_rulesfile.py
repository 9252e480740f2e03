from __future__ import annotations

import random
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from firewall import rulesfile
from firewall.rulesfile import ChangedMeanwhile, RulesFile


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_is_replaced_with_its_mode_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_bytes(b"old")
    path.chmod(0o640)
    file = RulesFile(path)
    assert file.replace(b"old", b"new") == file.fingerprint()
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert names(tmp_path) == ["rules.toml"]


def test_a_first_file_and_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "rules.toml").symlink_to(tmp_path / "etc" / "mine.toml")
    file = RulesFile(tmp_path / "rules.toml")
    file.replace(b"", b"first")
    file.replace(b"first", b"second")
    assert (tmp_path / "rules.toml").is_symlink()
    assert (tmp_path / "etc" / "mine.toml").read_bytes() == b"second"
    assert names(tmp_path / "etc") == ["mine.toml"]


@pytest.mark.parametrize("exchanges", [True, False])
def test_what_somebody_else_wrote_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool) -> None:
    if not exchanges:
        monkeypatch.setattr(rulesfile, "_exchange", lambda *_: False)
    path = tmp_path / "rules.toml"
    path.write_bytes(b"theirs")
    with pytest.raises(ChangedMeanwhile):
        RulesFile(path).replace(b"old", b"ours")
    assert path.read_bytes() == b"theirs"
    path.unlink()
    with pytest.raises(ChangedMeanwhile):
        RulesFile(path).replace(b"old", b"ours")
    path.write_bytes(b"theirs")
    with pytest.raises(ChangedMeanwhile):
        RulesFile(path).replace(b"", b"ours")
    assert names(tmp_path) == ["rules.toml"]


def test_a_program_that_has_the_old_file_open_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_bytes(b"old")
    other = path.open("ab")

    def write_late() -> None:
        time.sleep(0.1)
        other.write(b" and more")
        other.close()

    thread = threading.Thread(target=write_late)
    thread.start()
    try:
        with pytest.raises(ChangedMeanwhile):
            RulesFile(path).replace(b"old", b"ours")
    finally:
        thread.join()
    assert path.read_bytes() == b"old and more"


def test_rejected_ones_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_bytes(b"")
    file = RulesFile(tmp_path / "rules.toml")
    assert [file.reject(b"one"), file.reject(b"two")] == ["rules.toml.rej-1", "rules.toml.rej-2"]
    assert (tmp_path / "rules.toml.rej-2").read_bytes() == b"two"


def test_the_lock_is_the_directorys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rulesfile, "LOCK_SECONDS", 0.1)
    file = RulesFile(tmp_path / "rules.toml")
    with file.locked(), pytest.raises(BlockingIOError), file.locked():
        pass
    with file.locked():
        assert subprocess.run(["flock", "-n", str(tmp_path), "true"], check=False).returncode == 1
    assert subprocess.run(["flock", "-n", str(tmp_path), "true"], check=False).returncode == 0


def test_somebody_who_saves_at_the_same_moment_200_times_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_bytes(b"theirs 0\n")
    file = RulesFile(path)
    refused = 0

    def save(number: int) -> None:  # a new file, renamed over the old one, as sed -i and most editors do
        time.sleep(random.random() * 0.004)
        new = path.with_name("new")
        new.write_bytes(f"theirs {number}\n".encode())
        new.rename(path)

    for number in range(1, 201):
        before = file.read()
        thread = threading.Thread(target=save, args=(number,))
        thread.start()
        for _ in range(8):  # edits one after the other, each made from what was there
            try:
                file.replace(before, before + b"ours\n")
                before += b"ours\n"
            except ChangedMeanwhile:
                refused += 1
                break
        thread.join()
        assert path.read_bytes() == f"theirs {number}\n".encode()  # whole, and not undone by an edit that did not know it
    assert refused > 20, "they hardly met: the test shows nothing"
    assert names(tmp_path) == ["rules.toml"]
    assert path.stat().st_nlink == 1
