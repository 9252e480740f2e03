"""Scenarios: what phones do, as data. Read by player.py; shipped ones are in scenarios/.

    title = "..."              what it shows, in one line
    like = "other"             play the other scenario's groups; all that may stand beside it is title and moved
    moved = false              whether the services that once moved have done so (names.toml)
    endless = false            play the groups again and again until ended

    [[group]]                  groups are played one after the other
    name = "..."
    together = 8               how many steps at once
    pause = 0.0                seconds to wait after the group

    [[group.step]]             steps of a group begin in the order in which they stand here
    name = "..."
    kind = "http"              http: a request. tcp, udp: bytes to an echo. dns: a question to the phone's resolver
    to = "http://name/path"    or a list, taken in turn. tcp and udp: "host:port", dns: a name
    phones = "phone1"          or a list: each of them plays the step
    ip = 4                     4, 6 or [4, 6] in turn, where `to` is a name. dns: asks for A or AAAA
    times = 1                  how often; 0: once for each `to` and `ip`
    upload = false             true: carries a token that must not get out unasked; `{token}` says where
    method = "GET"             http
    headers = {}               http
    body = ""                  http; what tcp and udp send
    over = "udp"               dns: "udp" or "tcp"
    beats = 1                  http, tcp: how often `body` is sent, on the one connection or as chunks of one request
    every = 1.0                http, tcp: seconds between beats

`{token}` and `{n}`, the count of this step, are replaced in `to`, `headers` and `body`.
"""

from __future__ import annotations

import itertools
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from firewall.lab.topology import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SHIPPED: Final = Path(__file__).with_name("scenarios")
TOKEN: Final = "{token}"  # noqa: S105  a placeholder
SECONDS: Final = 1e6


class Attempt(NamedTuple):
    """One thing to do: the nth time of a step, at one place."""

    step: Step
    n: int
    to: str
    ip: int


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    kind: str
    to: tuple[str, ...]
    phones: tuple[str, ...] = ("phone1",)
    ip: tuple[int, ...] = (4,)
    times: int = 1
    upload: bool = False
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    over: str = "udp"
    beats: int = 1
    every: float = 1.0

    def attempts(self) -> Iterator[Attempt]:
        places = list(itertools.product(self.ip, self.to))
        turns = itertools.islice(itertools.cycle(places), self.times or len(places))
        return (Attempt(self, n, to, ip) for n, (ip, to) in enumerate(turns))


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    steps: tuple[Step, ...]
    together: int = 8
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    title: str
    groups: tuple[Group, ...]
    moved: bool = False
    endless: bool = False

    @property
    def steps(self) -> Iterator[Step]:
        return (step for group in self.groups for step in group.steps)

    @property
    def phones(self) -> tuple[str, ...]:
        """Who plays in it, in a stable order."""
        return tuple(dict.fromkeys(phone for step in self.steps for phone in step.phones))


class ScenarioError(LabError):
    """A scenario that cannot be played; the text names file, group and step."""


def find(name: str) -> Path:
    """The file of a shipped scenario, or the file of that name. Raises ScenarioError."""
    shipped = SHIPPED / f"{name}.toml"
    if shipped.is_file():
        return shipped
    if Path(name).is_file():
        return Path(name)
    raise ScenarioError(f"no scenario {name!r}: neither a file nor one of {', '.join(names())}")


def names() -> list[str]:
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def load(path: Path) -> Scenario:
    """Raises ScenarioError for a file that is not a scenario, OSError for one that cannot be read."""
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path.name}: {error}") from error
    top = Reader(path.name, values)
    title, moved, like = top.text("title"), top.flag("moved"), top.text("like", "")
    if like:
        top.done()
        other = SHIPPED / f"{like}.toml"
        if not other.is_file() or other == path:
            raise top.error(f"like: no scenario {like!r}, only {', '.join(names())}")
        return replace(load(other), name=path.stem, title=title, moved=moved)
    endless = top.flag("endless")
    groups = tuple(_group(reader) for reader in top.tables("group"))
    top.done()
    if not groups:
        raise top.error("has no [[group]]")
    return Scenario(path.stem, title, groups, moved, endless)


def _group(reader: Reader) -> Group:
    name = reader.text("name")
    reader.where += f", group {name!r}"
    steps = tuple(_step(step) for step in reader.tables("step"))
    together, pause = int(reader.number("together", 8, 1, 256)), reader.number("pause", 0.0, 0.0, SECONDS)
    reader.done()
    if not steps:
        raise reader.error("has no [[group.step]]")
    return Group(name, steps, together, pause)


def _step(reader: Reader) -> Step:
    name = reader.text("name")
    reader.where += f", step {name!r}"
    kind = reader.choice("kind", ("http", "tcp", "udp", "dns"))
    step = Step(name, kind, to=reader.texts("to"), phones=reader.texts("phones", "phone1"), ip=reader.versions("ip"),
                times=int(reader.number("times", 1, 0, 1e6)), upload=reader.flag("upload"))  # fmt: skip
    if kind == "http":
        step = replace(step, method=reader.text("method", "GET"), headers=reader.mapping("headers"))
    if kind == "dns":
        step = replace(step, over=reader.choice("over", ("udp", "tcp"), "udp"))
    else:
        step = replace(step, body=reader.text("body", ""))
    if kind in ("http", "tcp"):
        beats, every = int(reader.number("beats", 1, 1, 1e6)), reader.number("every", 1.0, 0.0, SECONDS)
        step = replace(step, beats=beats, every=every)
    reader.done()
    _check(step, reader)
    return step


def _check(step: Step, reader: Reader) -> None:
    for to in step.to:
        try:
            place = urlsplit(to if step.kind == "http" else f"//{to}")
            whole = bool(place.hostname) and (step.kind in ("http", "dns") or place.port is not None)
        except ValueError:
            whole = False
        if not whole or (step.kind == "http" and place.scheme not in ("http", "https")):
            raise reader.error(f"to: {to!r} is not what a {step.kind} step goes to")
    everywhere = all(TOKEN in text for text in step.to) or TOKEN in step.body or TOKEN in "".join(step.headers.values())
    anywhere = everywhere or any(TOKEN in text for text in step.to)
    if step.upload and not everywhere:
        raise reader.error(f"is an upload, but says nowhere where its {TOKEN} goes")
    if anywhere and not step.upload:
        raise reader.error(f"carries a {TOKEN}, but is no upload")
    if step.kind in ("tcp", "udp") and not step.body:
        raise reader.error("body: what shall it send?")


class Reader:
    """A TOML table that is used up key by key, so that what is left over is a mistake."""

    def __init__(self, where: str, values: dict[str, Any]) -> None:
        self.where = where
        self._values = values

    def error(self, text: str) -> ScenarioError:
        return ScenarioError(f"{self.where}: {text}")

    def has(self, key: str) -> bool:
        return key in self._values

    def done(self) -> None:
        if self._values:
            raise self.error(f"unknown: {', '.join(self._values)}")

    def text(self, key: str, default: str | None = None) -> str:
        value = self._values.pop(key, default)
        if not isinstance(value, str) or (default is None and not value):
            raise self.error(f"{key}: a text is needed")
        return value

    def texts(self, key: str, default: str | None = None) -> tuple[str, ...]:
        value = self._values.pop(key, default)
        many = value if isinstance(value, list) else [value]
        if not many or not all(isinstance(text, str) and text for text in many):
            raise self.error(f"{key}: a text or a list of texts is needed")
        return tuple(many)

    def versions(self, key: str) -> tuple[int, ...]:
        value = self._values.pop(key, 4)
        many = value if isinstance(value, list) else [value]
        if not many or not all(version in (4, 6) for version in many):
            raise self.error(f"{key}: 4, 6 or a list of them")
        return tuple(many)

    def flag(self, key: str) -> bool:
        value = self._values.pop(key, False)
        if not isinstance(value, bool):
            raise self.error(f"{key}: true or false")
        return value

    def number(self, key: str, default: float, least: float, most: float) -> float:
        value = self._values.pop(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise self.error(f"{key}: a number from {least:g} to {most:g}")
        return value

    def choice(self, key: str, words: Iterable[str], default: str | None = None) -> str:
        value = self._values.pop(key, default)
        if value not in words:
            raise self.error(f"{key}: one of {', '.join(words)}")
        assert isinstance(value, str)
        return value

    def mapping(self, key: str) -> dict[str, str]:
        value = self._values.pop(key, {})
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise self.error(f"{key}: a table of texts")
        return value

    def tables(self, key: str) -> list[Reader]:
        value = self._values.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
            raise self.error(f"{key}: write [[{key}]] for each")
        return [Reader(self.where, dict(table)) for table in value]
