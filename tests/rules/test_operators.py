from __future__ import annotations

import re
from pathlib import Path

import pytest

from rules.operators import OPERATORS, operator_of


def test_a_number_belongs_to_one_operator() -> None:
    numbers = [asn for operator in OPERATORS.values() for asn in operator.asns]
    assert len(numbers) == len(set(numbers))
    assert all(operator.id == id_ and operator.title and operator.source and len(operator.date) == 10 for id_, operator in OPERATORS.items())


@pytest.mark.parametrize(("asn", "id_"), [(24406, "cnnic"), (45102, "alibaba"), (63855, "xiaomi"), (16509, "amazon"), (138699, "bytedance"), (0, ""), (None, "")])
def test_who_it_is(asn, id_: str) -> None:
    assert operator_of(asn) == id_


@pytest.mark.parametrize("asn", [18245, 4611, 24405, 151284, 151300, 213215, 23724])
def test_names_that_mislead(asn: int) -> None:
    """Called CNNIC, or like Xiaomi, and somebody else's (endpoints.md 2.3)."""
    assert operator_of(asn) == ""


def test_the_documentation_lists_them() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "rules.md").read_text("utf-8")
    listed = re.search(r"^Operators: `([^`]*)`", docs, re.MULTILINE)
    assert listed and listed[1].split() == list(OPERATORS)
