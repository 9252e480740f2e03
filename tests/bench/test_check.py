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


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCH)
    return importlib.import_module("check")


def results(bulk: float = 0.95, connections: float = 0.8, decide: float = 9.0) -> dict[str, Any]:
    return {
        "bulk": {"ipv4, offloads off": {"ratio": 0.97}, "ipv6, offloads on": {"ratio": bulk}},
        "connections": {"ipv4, offloads on": {"ratio": connections}},
        "decide": {"decide, new": {"microseconds": decide}, "client_hello": {"microseconds": 4.0}},
    }


def test_kept_promises_need_no_words(check: ModuleType) -> None:
    assert check.broken_promises(results()) == []


@pytest.mark.parametrize(("measured", "said"), [
    ({"bulk": 0.89}, "bulk, ipv6, offloads on: 0.89 of plain NAT, promised 0.9"),
    ({"connections": 0.5}, "connections, ipv4, offloads on: 0.50 of plain NAT, promised 0.75"),
    ({"decide": 15.1}, "decide, new: 15.1 us, promised 15.0"),
])
def test_a_broken_promise_is_named(check: ModuleType, measured: dict[str, float], said: str) -> None:
    assert check.broken_promises(results(**measured)) == [said]


def test_what_was_not_measured_is_not_kept(check: ModuleType) -> None:
    assert check.broken_promises({}) == [
        "bulk was not measured", "connections was not measured", "decide, new was not measured", "client_hello was not measured",
    ]


def test_the_newest_result_counts(check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "RESULTS", tmp_path)
    assert check.main() == 1
    (tmp_path / "20260101T000000-a.json").write_text('{"bulk": {"x": {"ratio": 0.1}}}')
    assert check.main() == 1
    (tmp_path / "20260102T000000-b.json").write_text(json.dumps(results()))
    assert check.main() == 0
