from __future__ import annotations

from collections.abc import Iterator

import pytest
from judge import ALLOW_ALL, Lab, lab_up


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
