"""Scenarios are data: what is shipped is sound, and a mistake is told with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from firewall.lab import scenario
from firewall.lab.scenario import Scenario, ScenarioError

if TYPE_CHECKING:
    from pathlib import Path

STEP = '[[group]]\nname = "g"\n[[group.step]]\nname = "s"\n'


def load(tmp_path: Path, text: str, name: str = "mine.toml") -> Scenario:
    file = tmp_path / name
    file.write_text(text)
    return scenario.load(file)


@pytest.mark.parametrize("name", scenario.names())
def test_what_is_shipped_can_be_played(name: str) -> None:
    loaded = scenario.load(scenario.find(name))
    assert loaded.name == name
    assert loaded.title
    assert any(step.upload for step in loaded.steps) is not name.endswith("-updated")
    assert any(not step.upload for step in loaded.steps) is not name.endswith("-upload")
    assert set(loaded.phones) <= {"phone1", "phone2"}


def count(name: str, *, upload: bool) -> int:
    return sum(len(list(step.attempts())) for step in scenario.load(scenario.find(name)).steps if step.upload is upload)


def test_the_first_scenario_stands_beside_200_ordinary_requests_of_every_kind() -> None:
    assert count("redmi-1s-2014", upload=False) == 200
    assert count("redmi-1s-2014", upload=True) >= 20
    attempts = [a for step in scenario.load(scenario.find("redmi-1s-2014")).steps if not step.upload for a in step.attempts()]
    for kind in ("http", "dns", "udp", "tcp"):
        assert {a.ip for a in attempts if a.step.kind == kind} == {4, 6} or kind == "tcp"
    assert {a.step.over for a in attempts if a.step.kind == "dns"} == {"udp", "tcp"}
    assert any(a.to.startswith("https://") for a in attempts)
    assert any("/bytes/" in a.to for a in attempts)


def test_the_moved_one_is_the_same_but_moved() -> None:
    first, moved = (scenario.load(scenario.find(name)) for name in ("redmi-1s-2014", "redmi-1s-2014-moved"))
    assert moved.groups == first.groups
    assert (first.moved, moved.moved) == (False, True)
    assert moved.title != first.title


def test_the_bare_one_asks_no_name_for_an_upload() -> None:
    uploads = [a.to for step in scenario.load(scenario.find("redmi-1s-2014-bare")).steps if step.upload for a in step.attempts()]
    assert uploads
    assert all("42.62.48." in to or "[64:ff9b::2a3e:30" in to for to in uploads)


@pytest.mark.parametrize("name", [name for name in scenario.names() if name != "everyday"])
def test_what_is_uploaded_is_uploaded_over_both_ip_versions(name: str) -> None:
    for step in scenario.load(scenario.find(name)).steps:
        versions = {6 if "[" in a.to else 4 if a.to.split("/")[2 * ("/" in a.to)][0].isdigit() else a.ip for a in step.attempts()}
        assert not step.upload or versions == {4, 6}, step


def test_places_and_versions_are_taken_in_turn(tmp_path: Path) -> None:
    loaded = load(tmp_path, 'title = "t"\n' + STEP + 'kind = "dns"\nto = ["a", "b"]\nip = [4, 6]\ntimes = 5\n')
    (step,) = loaded.steps
    assert [(a.n, a.to, a.ip) for a in step.attempts()] == [(0, "a", 4), (1, "b", 4), (2, "a", 6), (3, "b", 6), (4, "a", 4)]
    loaded = load(tmp_path, 'title = "t"\n' + STEP + 'kind = "dns"\nto = ["a", "b"]\nip = [4, 6]\ntimes = 0\n')
    assert len(list(next(loaded.steps).attempts())) == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "mine.toml: title: a text is needed"),
        ("[[x\n", "mine.toml: .*line 1"),
        ('title = "t"', r"mine.toml: has no \[\[group\]\]"),
        ('title = "t"\ngroup = 3', "group: write"),
        ('title = "t"\n[[group]]\nname = "g"', r"mine.toml, group 'g': has no \[\[group.step\]\]"),
        ('title = "t"\n' + STEP + 'kind = "dns"\nto = "a"\nwhat = 1', "mine.toml, group 'g', step 's': unknown: what"),
        ('title = "t"\n' + STEP + 'kind = "smoke"\nto = "a"', "kind: one of http, tcp, udp, dns"),
        ('title = "t"\n' + STEP + 'kind = "http"\nto = "example.com"', "to: 'example.com' is not what a http step goes to"),
        ('title = "t"\n' + STEP + 'kind = "tcp"\nto = "example.com"\nbody = "x"', "is not what a tcp step goes to"),
        ('title = "t"\n' + STEP + 'kind = "tcp"\nto = "a:99999"\nbody = "x"', "is not what a tcp step goes to"),
        ('title = "t"\n' + STEP + 'kind = "tcp"\nto = "a:1"', "body: what shall it send"),
        ('title = "t"\n' + STEP + 'kind = "udp"\nto = "a:1"\nbody = "x"\nbeats = 2', "unknown: beats"),
        ('title = "t"\n' + STEP + 'kind = "dns"\nto = []', "to: a text or a list of texts"),
        ('title = "t"\n' + STEP + 'kind = "dns"\nto = "a"\nip = 5', "ip: 4, 6 or a list"),
        ('title = "t"\n' + STEP + 'kind = "dns"\nto = "a"\ntimes = -1', "times: a number from 0"),
        ('title = "t"\n' + STEP + 'kind = "http"\nto = "http://a/"\nupload = true', "says nowhere where its {token} goes"),
        ('title = "t"\n' + STEP + 'kind = "http"\nto = ["http://a/{token}", "http://a/"]\nupload = true', "says nowhere"),
        ('title = "t"\n' + STEP + 'kind = "http"\nto = "http://a/{token}"', "carries a {token}, but is no upload"),
        ('title = "t"\n' + STEP + 'kind = "http"\nto = "http://a/"\nheaders = { a = 1 }', "headers: a table of texts"),
        ('title = "t"\nlike = "nothing"', "like: no scenario 'nothing'"),
        ('title = "t"\nlike = "everyday"\nendless = true', "unknown: endless"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ScenarioError, match=told):
        load(tmp_path, text)


def test_a_scenario_is_found_by_name_or_by_file(tmp_path: Path) -> None:
    assert scenario.find("everyday").name == "everyday.toml"
    file = tmp_path / "mine.toml"
    file.write_text("")
    assert scenario.find(str(file)) == file
    with pytest.raises(ScenarioError, match="redmi-1s-2014"):
        scenario.find("no-such")
