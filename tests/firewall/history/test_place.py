from __future__ import annotations

from pathlib import Path

import pytest

from firewall.history import place

NOW = 1_795_000_000.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a[b]*.db"
    path.write_bytes(b"x" * 4096)
    return path


def test_what_became_of_it(file: Path) -> None:
    before = place.opened(file)
    assert place.became(file, before) == ""
    file.write_bytes(b"y")  # what is in it is the database's business
    assert place.became(file, before) == ""
    file.write_bytes(b"")
    assert place.became(file, before) == "was emptied"
    file.rename(file.with_name("kept"))
    assert place.became(file, before) == "was removed"
    file.write_bytes(b"x")
    assert place.became(file, before) == "was replaced by another"


def test_a_damaged_one_is_kept_alone_and_for_its_time(file: Path) -> None:
    for name in ("-wal", "-shm", ".corrupt-7", ".corrupt-nonsense"):
        file.with_name(file.name + name).write_bytes(b"old")
    aside = place.put_aside(file, NOW)
    assert [path.name for path in file.parent.iterdir()] == [aside.name] == [f"{file.name}.corrupt-{int(NOW)}"]
    place.clear_aside(file, NOW + 99, 100)
    assert aside.exists()
    place.clear_aside(file, NOW + 101, 100)
    assert not aside.exists()


def test_what_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    place.clear(tmp_path / "none.db")
    place.clear_aside(tmp_path / "none" / "none.db")
    with pytest.raises(OSError, match="none"):
        place.opened(tmp_path / "none.db")
