"""rules.toml and the packs: the one place of this package that reads files."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import stat
import tomllib
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from rules.expression import ExpressionError, parse_rule
from rules.matchers.name import parse_pattern
from rules.networks import parse_network
from rules.places import Places
from rules.policy import DEFAULT, Policy, compile_policy
from rules.problem import Problem, RuleError
from rules.rule import ACTIONS, MINE, Pack, Rule
from rules.service import Entry, Service
from rules.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from rules.expression import Expression

LARGEST: Final = 1 << 20  # bytes of a rules file
PACKS: Final = ("baseline", "xiaomi", "cnnic-own")  # in the order in which their rules are asked
KEYS: Final = ("action", "match", "note", "id", "enabled")
_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_TOML_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

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
    return compile_policy(_OwnersFile(name, text, packs).rules(), packs, revision)


def load_packs() -> tuple[Pack, ...]:
    """What ships with Consentry. A pack that cannot be read is a fault of ours and raises."""
    folder = resources.files("rules") / "packs"
    return tuple(_pack(name, folder / f"{name}.toml") for name in PACKS)


# -- the owner's file --------------------------------------------------------------------------------------------------


def _read(path: Path) -> str:
    """Opened first and looked at then, so that it cannot become another file in between."""

    def wrong(message: str, remedy: str, line: int = 0) -> RuleError:
        return RuleError((Problem(path.name, line, 0, message, remedy),))

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise wrong(f"cannot be read: {error.strerror}", "check its rights") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise wrong("is no regular file", "put the rules into a file of their own")
        if mode & stat.S_IWOTH:
            raise wrong("can be written by everybody", f"chmod o-w {path}")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise wrong(f"cannot be read: {error.strerror}", "try again") from None
    finally:
        os.close(descriptor)
    if len(data) > LARGEST:
        raise wrong(f"is larger than {LARGEST} bytes", "use packs for many names")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise wrong("is not UTF-8", "save it as UTF-8", data[: error.start].count(b"\n") + 1) from None


class _OwnersFile:
    """Gathers everything that is wrong, so that the owner is told once."""

    def __init__(self, name: str, text: str, packs: Sequence[Pack]) -> None:
        self._name = name
        self._text = text
        self._places = Places(text)
        self._services = tuple(service.id for pack in packs for service in pack.services)
        self._problems: list[Problem] = []

    def rules(self) -> list[Rule]:
        """Raises RuleError."""
        document = self._document()
        for key in document:
            if key != "rule":
                self._wrong(self._places.top(key), 0, f"unknown key {key!r}", "rules stand under [[rule]]")
        tables = document.get("rule", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self._wrong(self._places.top("rule"), 0, "rule is no list of tables", "write [[rule]] above each rule")
            tables = []
        taken = {DEFAULT}
        ids = [self._id(at, table, taken) for at, table in enumerate(tables)]  # chosen ones come before made ones
        rules = [self._rule(at, table, ids[at], taken) for at, table in enumerate(tables)]
        if self._problems:
            raise RuleError(tuple(sorted(self._problems, key=lambda problem: (problem.line, problem.column))))
        return [rule for rule in rules if rule is not None]

    def _document(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            found = _TOML_PLACE.search(str(error))
            end = max(self._text.rstrip("\n").count("\n") + 1, 1)
            line, column = (int(found[1]), int(found[2])) if found and found[1] else (end, 0)
            message = _TOML_PLACE.sub("", str(error))
            self._wrong(line, column, message[:1].lower() + message[1:], "see docs/rules.md")
        except RecursionError:
            self._wrong(0, 0, "is nested too deeply", "see docs/rules.md")
        raise RuleError(tuple(self._problems))

    def _id(self, at: int, table: dict[str, Any], taken: set[str]) -> str:
        """What the owner calls the rule; "" if a name is to be made."""
        given = table.get("id", "")
        if "id" not in table:
            return ""
        if not isinstance(given, str) or not _ID.fullmatch(given):
            self._wrong_at(at, "id", f"{given!r} is no id", "up to 32 characters of a-z, 0-9 and -")
            return ""
        if given in taken:
            whose = "stands for no rule at all" if given == DEFAULT else "is taken by a rule above"
            self._wrong_at(at, "id", f"id {given!r} {whose}", "choose another")
        taken.add(given)
        return given

    def _rule(self, at: int, table: dict[str, Any], given_id: str, taken: set[str]) -> Rule | None:
        for key in table:
            if key not in KEYS:
                close = difflib.get_close_matches(key, KEYS, n=1)
                remedy = f"did you mean {close[0]}?" if close else f"known: {', '.join(KEYS)}"
                self._wrong_at(at, key, f"unknown key {key!r}", remedy)
        note, enabled = table.get("note", ""), table.get("enabled", True)
        if not isinstance(note, str):
            self._wrong_at(at, "note", "note is no text", "put it into quotes")
        if not isinstance(enabled, bool):
            self._wrong_at(at, "enabled", "enabled is neither true nor false", "write true or false, without quotes")
        action, expression = self._action(at, table.get("action")), self._expression(at, table.get("match"))
        if action is None or expression is None:
            return None
        return Rule(given_id or _id(f"{action} {expression}", taken), action, expression, note, MINE, enabled)

    def _action(self, at: int, word: object) -> Verdict | None:
        action = next((action for action in ACTIONS if action == word), None)
        if action is None:
            given = "is missing" if word is None else f"{word!r} is none"
            self._wrong_at(at, "action", f"action: {given}", f"one of {', '.join(ACTIONS)}")
        return action

    def _expression(self, at: int, match: object) -> Expression | None:
        if isinstance(match, str):
            try:
                return parse_rule(match, self._services)
            except ExpressionError as error:
                self._wrong_at(at, "match", error.message, error.remedy, error.start)
        else:
            message = "match: a text is missing" if match is None else "match is no text"
            self._wrong_at(at, "match", message, 'match = "" matches everything')
        return None

    def _wrong_at(self, rule: int, key: str, message: str, remedy: str, offset: int = 0) -> None:
        self._wrong(*self._places.value(rule, key, offset), message, remedy)

    def _wrong(self, line: int, column: int, message: str, remedy: str) -> None:
        self._problems.append(Problem(self._name, line, column, message, remedy))


def _id(text: str, taken: set[str]) -> str:
    """Four letters that stay the same as long as the rule says the same, wherever it stands."""
    for attempt in range(1_000):
        number = int.from_bytes(hashlib.sha256(f"{text}#{attempt}".encode()).digest()[:4])
        letters = "abcdefghijkmnpqrstuvwxyz23456789"  # without those that look alike
        found = "".join(letters[number >> shift & 31] for shift in (0, 5, 10, 15))
        if found not in taken:
            taken.add(found)
            return found
    raise RuleError((Problem("", 0, 0, f"a thousand rules say {text!r}", "one is enough"),))


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
