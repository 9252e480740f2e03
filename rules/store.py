"""rules.toml and the packs: the one place of this package that reads files."""

from __future__ import annotations

import difflib
import hashlib
import re
import stat
import tomllib
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from rules.expression import Expression, ExpressionError, parse_rule
from rules.matchers.name import parse_pattern
from rules.networks import parse_network
from rules.policy import Policy, UnknownServiceError, compile_policy
from rules.problem import Problem, RuleError
from rules.rule import ACTIONS, MINE, Pack, Rule
from rules.service import Entry, Service
from rules.verdict import Verdict

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from pathlib import Path

LARGEST: Final = 1 << 20  # bytes of a rules file
PACKS: Final = ("baseline", "xiaomi", "cnnic-own")  # in the order in which their rules are asked
KEYS: Final = ("action", "match", "note", "id", "enabled")
_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_TOML_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_HEADER: Final = re.compile(r"\s*\[\[\s*rule\s*\]\]")

DEFAULT_TEXT: Final = """\
# Your rules, asked from top to bottom before the packs'; the first that matches decides.
# docs/rules.md explains the language; `consentry rules check` reads this file without using it.
#
# [[rule]]
# action = "block"                       # allow, ask or block
# match  = "name:tracker.example phone:phone1"
# note   = "why, for whoever reads this later"
"""


def load(path: Path | None, revision: int) -> Policy:
    """The owner's rules (none if the file does not exist) and all packs, compiled.

    Raises RuleError with every problem that was found; nothing is used then.
    """
    packs = load_packs()
    text = _read(path) if path is not None else ""
    name = path.name if path is not None else ""
    rules, places = _owner_rules(name, text)
    try:
        return compile_policy(rules, packs, revision)
    except UnknownServiceError as error:
        close = difflib.get_close_matches(error.service, error.known, n=1)
        remedy = f"did you mean {close[0]}?" if close else f"known services: {', '.join(error.known)}"
        at = rules.index(error.rule)
        line, column = places.value(at, "match")
        offset = places.text(at, "match").find(error.service)
        column += max(offset, 0) if column else 0
        raise RuleError((Problem(name, line, column, f"unknown service {error.service!r}", remedy),)) from None


def load_packs() -> tuple[Pack, ...]:
    """What ships with Consentry. A pack that cannot be read is a fault of ours and raises."""
    folder = resources.files("rules") / "packs"
    return tuple(_pack(name, folder / f"{name}.toml") for name in PACKS)


# -- the owner's file --------------------------------------------------------------------------------------------------


def _read(path: Path) -> str:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise RuleError((Problem(path.name, 0, 0, "is no regular file", "put the rules into a file of their own"),))
        if found.st_mode & stat.S_IWOTH:
            raise RuleError((Problem(path.name, 0, 0, "can be written by everybody", f"chmod o-w {path}"),))
        if found.st_size > LARGEST:
            raise RuleError((Problem(path.name, 0, 0, f"is larger than {LARGEST} bytes", "use lists for many names"),))
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise RuleError((Problem(path.name, 0, 0, f"cannot be read: {error.strerror}", "check its rights"),)) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise RuleError((Problem(path.name, line, 0, "is not UTF-8", "save it as UTF-8"),)) from None


def _owner_rules(file: str, text: str) -> tuple[list[Rule], _Places]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _TOML_PLACE.search(str(error))
        lines = text.splitlines()
        line, column = (int(found[1]), int(found[2])) if found and found[1] else (max(len(lines), 1), 0)
        message = _TOML_PLACE.sub("", str(error))
        message = message[:1].lower() + message[1:]
        raise RuleError((Problem(file, line, column, message, "see docs/rules.md"),)) from None
    except RecursionError:
        raise RuleError((Problem(file, 0, 0, "is nested too deeply", "see docs/rules.md"),)) from None
    places = _Places(text)
    problems = [
        Problem(file, places.top(key), 0, f"unknown key {key!r}", "rules stand under [[rule]]")
        for key in document if key != "rule"
    ]
    tables = document.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        line = places.top("rule")
        problems.append(Problem(file, line, 0, "rule is no list of tables", "write [[rule]] above each rule"))
        tables = []
    rules: list[Rule] = []
    taken: set[str] = set()
    for at, table in enumerate(tables):
        rule = _owner_rule(file, at, table, places, problems, taken)
        if rule is not None:
            taken.add(rule.id)
            rules.append(rule)
    if problems:
        raise RuleError(tuple(problems))
    return rules, places


def _owner_rule(
    file: str, at: int, table: dict[str, Any], places: _Places, problems: list[Problem], taken: set[str]
) -> Rule | None:
    before = len(problems)

    def wrong(key: str, message: str, remedy: str, offset: int = 0) -> None:
        line, column = places.value(at, key)
        problems.append(Problem(file, line, column + offset if column else 0, message, remedy))

    for key in table:
        if key not in KEYS:
            close = difflib.get_close_matches(key, KEYS, n=1)
            wrong(key, f"unknown key {key!r}", f"did you mean {close[0]}?" if close else f"known: {', '.join(KEYS)}")
    action, match = table.get("action"), table.get("match")
    if action not in ACTIONS:
        given = "is missing" if action is None else f"{action!r} is none"
        wrong("action", f"action: {given}", f"one of {', '.join(ACTIONS)}")
    expression = Expression()
    if not isinstance(match, str):
        message = "match: a text is missing" if match is None else "match is no text"
        wrong("match", message, 'match = "" matches everything')
    else:
        try:
            expression = parse_rule(match)
        except ExpressionError as error:
            wrong("match", error.message, error.remedy, error.start)
    note, enabled, given_id = table.get("note", ""), table.get("enabled", True), table.get("id")
    if not isinstance(note, str):
        wrong("note", "note is no text", "put it into quotes")
    if not isinstance(enabled, bool):
        wrong("enabled", "enabled is neither true nor false", "write true or false, without quotes")
    if given_id is not None and (not isinstance(given_id, str) or not _ID.fullmatch(given_id)):
        wrong("id", f"{given_id!r} is no id", "up to 32 characters of a-z, 0-9 and -")
    elif given_id in taken:
        wrong("id", f"id {given_id!r} is taken by a rule above", "ids are unique")
    if len(problems) > before or action is None:
        return None
    return Rule(given_id or _id(f"{action} {expression}", taken), Verdict(action), expression, note, MINE, enabled)


def _id(text: str, taken: set[str]) -> str:
    """Four letters that stay the same as long as the rule says the same, wherever it stands."""
    for attempt in range(1_000):
        number = int.from_bytes(hashlib.sha256(f"{text}#{attempt}".encode()).digest()[:4])
        letters = "abcdefghijkmnpqrstuvwxyz23456789"  # without those that look alike
        found = "".join(letters[number >> shift & 31] for shift in (0, 5, 10, 15))
        if found not in taken:
            return found
    raise RuleError((Problem("", 0, 0, f"a thousand rules say {text!r}", "one is enough"),))


class _Places:
    """Where keys and values stand in a TOML text. tomllib does not tell, so it is looked up only when it is needed."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._headers = [number for number, line in enumerate(self._lines) if _HEADER.match(line)]

    def top(self, key: str) -> int:
        pattern = re.compile(rf"\s*\[*\s*[\"']?{re.escape(key)}\b")
        return next((number + 1 for number, line in enumerate(self._lines) if pattern.match(line)), 0)

    def value(self, rule: int, key: str) -> tuple[int, int]:
        """Line and column (both from 1) of a value's first character; of the rule's header if the key is not there."""
        line, _, column = self._find(rule, key)
        return line, column

    def text(self, rule: int, key: str) -> str:
        """The rest of the line from the value's first character on."""
        return self._find(rule, key)[1]

    def _find(self, rule: int, key: str) -> tuple[int, str, int]:
        if rule >= len(self._headers):
            return 0, "", 0
        begin = self._headers[rule]
        end = self._headers[rule + 1] if rule + 1 < len(self._headers) else len(self._lines)
        pattern = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=\s*[\"']*")
        for number in range(begin + 1, end):
            found = pattern.match(self._lines[number])
            if found:
                return number + 1, self._lines[number][found.end() :], found.end() + 1
        return begin + 1, "", 0


# -- packs -------------------------------------------------------------------------------------------------------------


def _pack(name: str, file: Traversable) -> Pack:
    document = tomllib.loads(file.read_text("utf-8"))
    date = document["date"]
    source = f"{name} {date[:7]}"
    services = tuple(_service(table) for table in document.get("service", ()))
    rules = tuple(
        Rule(f"{name}/{n}", Verdict(table["action"]), parse_rule(table["match"]), table["note"], source)
        for n, table in enumerate(document["rule"], 1)
    )
    return Pack(name, document["title"], date, services, rules)


def _service(table: dict[str, Any]) -> Service:
    entries = tuple(
        Entry(
            parse_pattern(entry["name"]) if "name" in entry else "",
            parse_network(entry["network"]) if "network" in entry else None,
            entry["source"], entry["date"], entry["why"],
        )
        for entry in table["entry"]
    )
    return Service(table["id"], table["title"], table["breaks"], entries)
