"""`make bench-check` must be able to fail."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

BENCH = Path(__file__).parents[2] / "bench"
PROMISED = [
    {"name": "bulk", "case": "ipv4", "says": "one upload", "goal": ">= 0.97", "floor": 0.9},
    {"name": "decide", "case": "new", "says": "a decision", "goal": "<= 15 us", "ceiling": 15},
]


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCH)
    return importlib.import_module("check")


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCH)
    return importlib.import_module("table")


def results(bulk: float = 0.95, decide: float = 9.0) -> dict[str, Any]:
    return {
        "machine": {
            "commit": "abc", "kernel": "6.18.0-x", "python": "3.11.7", "cpus": 2, "at": 0, "load": {"median": 1, "most": 2},
        },
        "pairs": 3,
        "skipped": {},
        "bulk": {"ipv4": {"value": bulk, "unit": "of plain NAT", "range": [0.9, 1.0], "runs": {"gate": [1.0]}}},
        "decide": {"new": {"value": decide, "unit": "us", "range": [8.0, 10.0], "runs": {"new": [9.0]}}},
    }


def test_kept_promises_need_no_words(check: ModuleType) -> None:
    assert check.broken_promises(results(), PROMISED) == []


@pytest.mark.parametrize(("measured", "said"), [
    ({"bulk": 0.89}, "bulk, ipv4: 0.89 of plain NAT, the floor is 0.9"),
    ({"decide": 15.1}, "decide, new: 15.1 us, the ceiling is 15"),
])
def test_a_broken_promise_is_named(check: ModuleType, measured: dict[str, float], said: str) -> None:
    assert check.broken_promises(results(**measured), PROMISED) == [said]


def test_what_was_not_measured_is_not_kept(check: ModuleType) -> None:
    assert check.broken_promises({"skipped": {"bulk": "iperf3 is missing"}}, PROMISED) == [
        "bulk, ipv4: was not measured (iperf3 is missing)", "decide, new: was not measured (not asked for)",
    ]


def test_the_newest_result_counts(check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "RESULTS", tmp_path)
    monkeypatch.setattr(check, "promises", lambda: PROMISED)
    assert check.main() == 1
    (tmp_path / "20260101T000000-a.json").write_text(json.dumps(results(bulk=0.1)))
    assert check.main() == 1
    (tmp_path / "20260102T000000-b.json").write_text(json.dumps(results()))
    assert check.main() == 0


def test_every_promise_has_one_limit_and_a_measurement(check: ModuleType) -> None:
    """Else it could not be broken, or would never be kept."""
    for promise in check.promises():
        assert ("floor" in promise) is not ("ceiling" in promise), promise
        assert (BENCH / f"{promise['name']}.py").exists(), promise


def test_the_table_stands_between_its_marks(table: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "promises", lambda: [*PROMISED, {"name": "x", "case": "y", "says": "more", "goal": "1"}])
    made = table.table(table.summary(results()))
    assert "| one upload | >= 0.97 | **0.95** of plain NAT (0.9, 1) |" in made
    assert "| more | 1 | not measured |" in made
    once = table.replaced(f"before {table.BEGIN} old {table.END} after", made)
    assert once.startswith("before ") and once.endswith(" after") and " old " not in once
    assert table.replaced(once, made) == once
    with pytest.raises(ValueError):
        table.replaced("no marks", made)
