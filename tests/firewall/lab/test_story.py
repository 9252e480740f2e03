from __future__ import annotations

from pathlib import Path

import pytest

from firewall.lab import scenario, story
from firewall.lab.scenario import ScenarioError


@pytest.mark.parametrize("name", story.names())
def test_what_is_shipped_can_be_told(name: str) -> None:
    told = story.load(name)
    assert told.title
    assert len(told.chapters) > 1
    assert not set(story.names()) & set(scenario.names())  # `lab play NAME` is about one of them


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("title = ", "mine.toml: "),
        ('title = "t"', "mine.toml: has no [[chapter]]"),
        ('title = "t"\n[[chapter]]\n', "mine.toml: name: a text is needed"),
        ('title = "t"\n[[chapter]]\nname = "a"\nplays = "x"\n', "mine.toml, chapter 'a': unknown: plays"),
        ('title = "t"\n[[chapter]]\nname = "a"\nplay = "nothing"\n', "no scenario 'nothing'"),
        ('title = "t"\n[[chapter]]\nname = "a"\nowner = 7\n', "mine.toml, chapter 'a': owner: a text or a list"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, error: str) -> None:
    monkeypatch.setattr(story, "SHIPPED", tmp_path)
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ScenarioError) as raised:
        story.load("mine")
    assert str(raised.value).startswith(error)
