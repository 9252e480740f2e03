"""What docs/rules.md shows works."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from rules.expression import IN_FILTERS, parse_filter, parse_rule
from rules.problem import RuleError
from rules.store import PACKS, compiled, load

DOCS = (Path(__file__).parents[2] / "docs" / "rules.md").read_text("utf-8")


def test_every_example_can_be_parsed() -> None:
    examples = [line.split(" ", 1) for block in re.findall(r"```rule\n(.*?)```", DOCS, re.S) for line in block.splitlines()]
    assert len(examples) >= 5
    for action, *match in examples:
        assert action in ("allow", "ask", "block")
        parse_rule(match[0] if match else "")
    for block in re.findall(r"```toml\n(.*?)```", DOCS, re.S):
        assert tomllib.loads(block).keys() <= {"rule", "packs"}
        compiled("docs", block, 1)


def test_every_term_and_pack_is_documented() -> None:
    for key in IN_FILTERS:
        example = re.search(rf"\| `({key}:[^`]*)`", DOCS)
        assert example, key
        parse_filter(example[1])
    assert all(f"| `{pack}` |" in DOCS for pack in PACKS)


def test_the_mistake_that_is_shown_is_told_like_that(tmp_path: Path) -> None:
    shown = re.search(r"```text\n(.*?)\n```", DOCS, re.DOTALL)
    assert shown
    (tmp_path / "rules.toml").write_text('[[rule]]\naction = "block"\n\nmatch = "port:80 nam:tracker.example"\n')
    with pytest.raises(RuleError, match=f"^{re.escape(shown[1])}$"):
        load(tmp_path / "rules.toml", 1)
