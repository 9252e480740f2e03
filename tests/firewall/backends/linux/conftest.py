from __future__ import annotations

from collections.abc import Iterator

import pytest
from box import namespaces


@pytest.fixture
def box() -> Iterator[tuple[str, str]]:
    with namespaces() as names:
        yield names
