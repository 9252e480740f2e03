"""Stories: what a phone does and its owner answers, in chapters. Shipped ones are in stories/.

    title = "..."              what it shows, in one line

    [[chapter]]                chapters are told one after the other
    name = "..."
    time = "+10m"              what the lab's clock is told first (consentry lab time)
    owner = ["consents ..."]   then what the owner types, each behind `consentry`
    play = "redmi-1s-2014"     then the scenario that is played to its end
    beside = "..."             and one that is begun, and goes on beside the chapters behind it

An owner's command that fails ends the story: it would go on with another one than is told.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from firewall.lab import scenario
from firewall.lab.scenario import Reader
from firewall.lab.topology import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

    from firewall.lab.lab import Lab, Row

SHIPPED: Final = Path(__file__).with_name("stories")
BEGUN_SECONDS: Final = 20.0  # within which what goes on beside the next chapters has arrived, if it may at all
LOOK_SECONDS: Final = 0.1
OWNER_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Chapter:
    name: str
    time: str = ""
    owner: tuple[str, ...] = ()
    play: str = ""
    beside: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    name: str
    title: str
    chapters: tuple[Chapter, ...]


def names() -> list[str]:
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def load(name: str) -> Story:
    """A shipped one. Raises ScenarioError for a file that is no story."""
    path = SHIPPED / f"{name}.toml"
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise scenario.ScenarioError(f"{path.name}: {error}") from error
    top = Reader(path.name, values)
    title = top.text("title")
    chapters = tuple(_chapter(reader) for reader in top.tables("chapter"))
    top.done()
    if not chapters:
        raise top.error("has no [[chapter]]")
    return Story(path.stem, title, chapters)


def _chapter(reader: Reader) -> Chapter:
    name = reader.text("name")
    reader.where += f", chapter {name!r}"
    chapter = Chapter(
        name,
        time=reader.text("time", ""),
        owner=reader.texts("owner") if reader.has("owner") else (),
        play=reader.text("play", ""),
        beside=reader.text("beside", ""),
    )
    reader.done()
    for played in filter(None, (chapter.play, chapter.beside)):
        scenario.find(played)
    return chapter


@dataclass(slots=True)
class Telling:
    """One story as it is told. Every row has its chapter; what the owner typed is a row with `owner`."""

    lab: Lab
    socket: Path  # of the gateway
    on_row: Callable[[Row], None]
    _beside: list[threading.Thread] = field(default_factory=list)

    def tell(self, story: Story) -> Row:
        """To its end; returns a summary. Raises LabError."""
        began = time.monotonic()
        chapters = [self._chapter(chapter) for chapter in story.chapters]
        for one in self._beside:
            one.join()
        return {"story": story.name, "chapters": chapters, "seconds": round(time.monotonic() - began, 1)}

    def _chapter(self, chapter: Chapter) -> Row:
        self.on_row({"chapter": chapter.name})
        if chapter.time:
            self._owner(chapter, f"lab time {chapter.time}")
        for line in chapter.owner:
            self._owner(chapter, line)
        if chapter.beside:
            self._begin(chapter)
        return {"chapter": chapter.name} | (self._play(chapter, chapter.play) if chapter.play else {})

    def _begin(self, chapter: Chapter) -> None:
        """What goes on beside the next chapters has begun when the first of it has arrived."""
        played = scenario.load(scenario.find(chapter.beside))
        hosts = {urlsplit(to).hostname for step in played.steps for to in step.to}
        known = {row["id"] for row in self.lab.sinks()}
        playing = threading.Thread(target=self._play, args=(chapter, chapter.beside), daemon=True)
        playing.start()
        self._beside.append(playing)
        until = time.monotonic() + BEGUN_SECONDS
        while playing.is_alive() and time.monotonic() < until:
            new = [row for row in self.lab.sinks() if row["id"] not in known and row["name"] in hosts and row["bytes"]]
            if len(new) >= played.groups[0].together:
                return
            time.sleep(LOOK_SECONDS)

    def _play(self, chapter: Chapter, played: str) -> Row:
        return self.lab.play(played, on_result=lambda row: self.on_row({"chapter": chapter.name} | row))

    def _owner(self, chapter: Chapter, line: str) -> None:
        environment = os.environ | {"CONSENTRY_LAB": self.lab.name, "CONSENTRY_SOCKET": str(self.socket)}
        done = subprocess.run(
            [sys.executable, "-P", "-m", "firewall.cli", *shlex.split(line)],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment, check=False,
            timeout=OWNER_SECONDS,
        )  # fmt: skip
        said: list[Any] = done.stdout.splitlines()
        if "--json" in line:
            said = [json.loads(one) for one in said]
        self.on_row({"chapter": chapter.name, "owner": line, "status": done.returncode, "said": said})
        if done.returncode:
            raise LabError(f"chapter {chapter.name!r}: consentry {line}: {done.stderr.strip() or done.returncode}")
