"""The owner's file, read: [[rule]] tables, and under [packs] what of the packs is switched on or off."""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from rules.expression import ExpressionError, parse_rule
from rules.places import Places
from rules.policy import DEFAULT
from rules.problem import Problem, RuleError
from rules.rule import ACTIONS, MINE, Pack, Rule

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rules.expression import Expression
    from rules.verdict import Verdict

KEYS: Final = ("action", "match", "note", "id", "enabled")
SWITCHES: Final = ("on", "off")
_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_TOML_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Owned:
    """What the file says. `on` and `off` hold packs ("tiktok") and single rules of theirs ("xiaomi/1")."""

    rules: tuple[Rule, ...]
    on: tuple[str, ...] = ()
    off: tuple[str, ...] = ()


def read(name: str, text: str, packs: Sequence[Pack]) -> Owned:
    """Raises RuleError with every problem that was found. `name` is the file's, for the problems."""
    return _OwnersFile(name, text, packs).read()


def switched(packs: Sequence[Pack], on: Collection[str], off: Collection[str]) -> tuple[Pack, ...]:
    """The packs with their rules enabled as the owner wants; what is said of one rule counts more than of its pack."""

    def enabled(pack: Pack, rule: Rule) -> bool:
        for word in (rule.id, pack.name):
            if word in on or word in off:
                return word in on
        return rule.enabled

    return tuple(
        replace(pack, rules=tuple(replace(rule, enabled=enabled(pack, rule)) for rule in pack.rules)) for pack in packs
    )


class _OwnersFile:
    """Gathers everything that is wrong, so that the owner is told once."""

    def __init__(self, name: str, text: str, packs: Sequence[Pack]) -> None:
        self._name = name
        self._text = text
        self._places = Places(text)
        self._services = tuple(service.id for pack in packs for service in pack.services)
        self._switchable = tuple(word for pack in packs for word in (pack.name, *(rule.id for rule in pack.rules)))
        self._problems: list[Problem] = []

    def read(self) -> Owned:
        """Raises RuleError."""
        document = self._document()
        for key in document:
            if key not in {"rule", "packs"}:
                self._wrong(self._places.top(key), 0, f"unknown key {key!r}", "rules stand under [[rule]]")
        on, off = self._switches(document.get("packs", {}))
        tables = document.get("rule", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self._wrong(self._places.top("rule"), 0, "rule is no list of tables", "write [[rule]] above each rule")
            tables = []
        taken = {DEFAULT}
        ids = [self._id(at, table, taken) for at, table in enumerate(tables)]  # chosen ones come before made ones
        rules = [self._rule(at, table, ids[at], taken) for at, table in enumerate(tables)]
        if self._problems:
            raise RuleError(tuple(sorted(self._problems, key=lambda problem: (problem.line, problem.column))))
        return Owned(tuple(rule for rule in rules if rule is not None), on, off)

    def _switches(self, table: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """[packs]: what is on and what is off."""
        if not isinstance(table, dict):
            line = self._places.top("packs")
            self._wrong(line, 0, "packs is no table", 'write [packs] and below it off = ["tiktok"]')
            return (), ()
        for key in table:
            if key not in SWITCHES:
                self._wrong(*self._places.packs(key), f"unknown key {key!r}", f"known: {', '.join(SWITCHES)}")
        on, off = (self._words(table, key) for key in SWITCHES)
        for word in (word for word in off if word in on):
            self._wrong(*self._places.packs("off", word), f"{word} is on and off", "leave it in one of the two lists")
        return on, off

    def _words(self, table: dict[str, Any], key: str) -> tuple[str, ...]:
        words = table.get(key, [])
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            self._wrong(*self._places.packs(key), f"{key} is no list of texts", f'write {key} = ["xiaomi/1"]')
            return ()
        for word in words:
            if word not in self._switchable:
                close = difflib.get_close_matches(word, self._switchable, n=1)
                remedy = f"did you mean {close[0]}?" if close else "`consentry rules list` shows them"
                place = self._places.packs(key, word)
                self._wrong(*place, f"no pack, and no rule of a pack, is called {word!r}", remedy)
        return tuple(words)

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
