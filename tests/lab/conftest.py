from __future__ import annotations

from collections.abc import Iterator

import families
import pytest
from judge import ALLOW_ALL, Lab, lab_up

PASSED = pytest.StashKey[bool]()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_up() as built:
        yield built


@pytest.fixture(scope="module")
def open_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The positive control: everything is allowed."""
    rules = tmp_path_factory.mktemp("rules") / "rules.toml"
    rules.write_text(ALLOW_ALL)
    with lab_up(rules) as built:
        yield built


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> object:
    report = yield
    if call.when == "call":
        item.stash[PASSED] = report.passed
    return report


@pytest.fixture(autouse=True)
def both_families(request: pytest.FixtureRequest) -> Iterator[None]:
    """What crosses the gate over one IP version is tried over the other, too: helpers/families.py says how."""
    yield
    crossed = families.crossed()
    if not crossed or not request.node.stash.get(PASSED, False):
        return
    wanted = {4, 6}
    for mark in request.node.iter_markers("parametrize"):
        if {4, 6} <= {families.named(value) for value in mark.args[1]}:
            wanted = {family for value in request.node.callspec.params.values() if (family := families.named(value))}
    assert crossed >= wanted, f"phones sent through the gate over {crossed} only, and not over {wanted}: see helpers/families.py"
