"""Edits of rules.toml, from text to text: what nobody touched stays byte for byte.

Rules keep their ids: one whose id is made from its text gets it written down when an edit would change it, so that hits
and history go on.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from rules import owner
from rules.expression import Expression, Term
from rules.layout import PACKS, Layout, Piece, Unwritable
from rules.matchers.phone import PhoneMatcher
from rules.sentence import parse_sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rules.rule import Pack, Rule

ACTS: Final = ("add", "change", "move", "enable", "disable", "remove")
RENAMED: Final = re.compile(r'renamed "([^"]*)" to "([^"]*)", in \d+ rules?')  # in names there are no quotes
NAME: Final = "rules.toml"


class EditError(ValueError):
    """It cannot be done; says why, and what would help."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One act. Positions count from 1 in the whole list, the owner's rules first."""

    act: str
    rule: str = ""  # id or position; for enable and disable also the name of a pack
    text: str | None = None  # "block name:example.com"
    at: int | None = None
    note: str | None = None  # "" takes it away
    was: str | None = None  # the rule as whoever edits it has seen it


@dataclass(frozen=True, slots=True)
class Edited:
    text: str
    id: str  # of the rule; the pack's name for a whole pack
    position: int  # where it is now, or was; 0 for a whole pack
    words: str  # what was done


def apply(text: str, edit: Edit, packs: Sequence[Pack]) -> Edited:
    """`text` is one that owner.read accepts. Raises EditError; ExpressionError with its place in `edit.text`."""
    return _Editing(text, edit, packs).result()


def names_phone(rule: Rule, name: str) -> bool:
    return any(term.key == PhoneMatcher.key and name in term.matcher.values for term in rule.expression.terms)


def _renamed(term: Term, old: str, new: str) -> Term:
    if term.key != PhoneMatcher.key:
        return term
    values = dict.fromkeys(new if value == old else value for value in term.matcher.values)
    return replace(term, matcher=PhoneMatcher(tuple(values)))


class _Editing:
    def __init__(self, text: str, edit: Edit, packs: Sequence[Pack]) -> None:
        self._edit = edit
        self._text = text
        self._packs = packs
        owned = owner.read(NAME, text, packs)
        self._mine = owned.rules
        self._theirs = [rule for pack in owner.switched(packs, owned.on, owned.off) for rule in pack.rules]
        self._on, self._off = list(owned.on), list(owned.off)
        self._services = [service.id for pack in packs for service in pack.services]
        self._layout = Layout.of(text)
        self._ids = [rule.id for rule in self._mine]  # as they have to be afterwards; "" for a new one
        if len(self._layout.rules()) != len(self._mine):
            raise EditError("the rules are not written under [[rule]] headers, so they can only be edited by hand")

    def result(self) -> Edited:
        acts: dict[str, Callable[[], tuple[str, int, str]]] = {
            "add": self._add, "change": self._change, "move": self._move, "remove": self._remove,
            "enable": self._switch, "disable": self._switch, "rename": self._rename,
        }
        act = acts.get(self._edit.act)
        if act is None:
            raise EditError(f"act: {self._edit.act!r} is none of {', '.join(ACTS)}")
        try:
            id_, position, words = act()
            self._keep_ids()
        except Unwritable as error:
            raise EditError(str(error)) from None
        text = str(self._layout)
        if not id_:
            id_ = owner.read(NAME, text, self._packs).rules[position - 1].id
        return Edited(text, id_, position, words)

    # -- acts --------------------------------------------------------------------------------------------------------

    def _add(self) -> tuple[str, int, str]:
        if self._edit.text is None:
            raise EditError("text: the rule is missing, as in: block name:example.com")
        sentence = parse_sentence(self._edit.text, self._services)
        at = self._place(len(self._mine) + 1)
        self._layout.insert(at, f'[[rule]]\naction = "{sentence.action}"\n')
        piece = self._layout.rules()[at]
        self._layout.set(piece, "match", str(sentence.expression))
        if self._edit.note:
            self._layout.set(piece, "note", self._edit.note)
        self._ids.insert(at, "")
        return "", at + 1, f"added {sentence} at {at + 1}"

    def _change(self) -> tuple[str, int, str]:
        at, rule = self._own()
        piece = self._layout.rules()[at]
        said = []
        if self._edit.text is not None:
            sentence = parse_sentence(self._edit.text, self._services)
            if sentence.action != rule.action:
                self._layout.set(piece, "action", str(sentence.action))
            if str(sentence.expression) != str(rule.expression):
                self._layout.set(piece, "match", str(sentence.expression))
            if str(sentence) != str(rule):
                said.append(f"changed {rule.id} from {rule} to {sentence}")
        if self._edit.note is not None and self._edit.note != rule.note:
            self._layout.set(piece, "note", self._edit.note or None)
            said.append(f"noted on {rule.id}: {self._edit.note}" if self._edit.note else f"took the note of {rule.id}")
        if not said:
            raise EditError(f"rule {rule.id} says that already: {rule}")
        return rule.id, at + 1, ", ".join(said)

    def _move(self) -> tuple[str, int, str]:
        at, rule = self._own()
        if self._edit.at is None:
            raise EditError("at: the position to move to is missing")
        to = self._place(len(self._mine))
        if to == at:
            raise EditError(f"rule {rule.id} is at {at + 1} already")
        self._layout.move(at, to)
        self._ids.insert(to, self._ids.pop(at))
        return rule.id, to + 1, f"moved {rule.id} ({rule}) from {at + 1} to {to + 1}"

    def _remove(self) -> tuple[str, int, str]:
        at, rule = self._own()
        self._layout.remove(at)
        del self._ids[at]
        return rule.id, at + 1, f"removed {rule.id} ({rule})"

    def _switch(self) -> tuple[str, int, str]:
        enable = self._edit.act == "enable"
        pack = next((pack for pack in self._packs if pack.name == self._edit.rule), None)
        if pack is not None:
            rules = [rule for rule in self._theirs if rule.id.startswith(f"{pack.name}/")]
            if all(rule.enabled is enable for rule in rules):
                raise EditError(f"pack {pack.name} is {self._edit.act}d already")
            self._switch_packs(pack.name, [rule.id for rule in rules], enable=enable)
            return pack.name, 0, f"{self._edit.act}d pack {pack.name}"
        at, rule = self._found()
        if rule.enabled is enable:
            raise EditError(f"rule {rule.id} is {self._edit.act}d already")
        if at < len(self._mine):
            piece = self._layout.rules()[at]
            commented = re.search(r"^[ \t]*enabled[^\n]*#", piece.core, re.MULTILINE)
            self._layout.set(piece, "enabled", enable if commented or not enable else None)
        else:
            self._switch_packs(rule.id, [rule.id], enable=enable)
        return rule.id, at + 1, f"{self._edit.act}d {rule.id} ({rule})"

    def _rename(self) -> tuple[str, int, str]:
        """The phone `rule` is called `text` in all rules of the owner's; packs name no phones."""
        old, new = self._edit.rule, self._edit.text or ""
        found = [at for at, rule in enumerate(self._mine) if names_phone(rule, old)]
        for at in found:
            terms = (_renamed(term, old, new) for term in self._mine[at].expression.terms)
            self._layout.set(self._layout.rules()[at], "match", str(Expression(tuple(terms))))
        if not found:
            raise EditError(f"no rule of yours names {old!r}")
        rules = f"{len(found)} rule{'s' * (len(found) != 1)}"
        return self._mine[found[0]].id, found[0] + 1, f'renamed "{old}" to "{new}", in {rules}'

    # -- which one ---------------------------------------------------------------------------------------------------

    def _found(self) -> tuple[int, Rule]:
        """The rule meant and where it is (from 0), and that it is still what was seen."""
        wanted = self._edit.rule
        rules = [*self._mine, *self._theirs]
        found = [at for at, rule in enumerate(rules) if rule.id == wanted]
        if not found and wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= len(rules):
            found = [int(wanted) - 1]
        if not found:
            raise EditError(f"there is no rule {wanted!r}; `consentry rules list` shows ids and positions")
        rule = rules[found[0]]
        if self._edit.was is not None and self._edit.was != str(rule):
            was = self._edit.was
            raise EditError(f"rule {rule.id} has been changed meanwhile: it was {was!r}, it is {str(rule)!r}")
        return found[0], rule

    def _own(self) -> tuple[int, Rule]:
        at, rule = self._found()
        if at >= len(self._mine):
            name = rule.id.partition("/")[0]
            remedy = "it can be enabled and disabled; a rule of yours above overrules it"
            raise EditError(f"rule {rule.id} is of pack {name}: {remedy}")
        return at, rule

    def _place(self, most: int) -> int:
        at = 1 if self._edit.at is None else self._edit.at
        if not 1 <= at <= most:
            raise EditError(f"at: {at} is not among your rules; they stand at 1 to {most}, above the packs'")
        return at - 1

    # -- writing -----------------------------------------------------------------------------------------------------

    def _switch_packs(self, name: str, ids: list[str], *, enable: bool) -> None:
        """As few words as say it: first take back what says otherwise, then say it if that was not enough."""
        to, other = (self._on, self._off) if enable else (self._off, self._on)
        for word in {name, *ids}.intersection(other):
            other.remove(word)
        packs = owner.switched(self._packs, self._on, self._off)
        if any(rule.enabled is not enable for pack in packs for rule in pack.rules if rule.id in ids):
            to.append(name)
        if enable and name not in ids:  # single rules that the pack's word would not reach any more
            to[:] = [word for word in to if word not in ids]
        piece = next((piece for piece in self._layout.pieces if piece.kind == PACKS), None)
        written = tomllib.loads(self._text).get("packs")
        if piece is None and written is not None:
            raise Unwritable("packs is not written under a [packs] header, so it can only be edited by hand")
        if piece is None:
            piece = self._new_packs()
        for key, words in (("on", self._on), ("off", self._off)):
            if words != (written or {}).get(key, []):
                self._layout.set(piece, key, words or None)

    def _new_packs(self) -> Piece:
        layout = self._layout
        if layout.pieces:
            gap = layout.pieces[-1].gap
            layout.pieces[-1].gap = gap + ("" if gap.endswith(f"{layout.newline}{layout.newline}") else layout.newline)
        elif layout.head.strip():
            layout.head = layout.head.rstrip("\r\n") + layout.newline * 2
        piece = Piece(PACKS, f"[packs]{layout.newline}")
        layout.pieces.append(piece)
        return piece

    def _keep_ids(self) -> None:
        """Write down the ids that would be others now."""
        for _ in self._ids:  # one that is written down can change the made id of another that says the same
            found = owner.read(NAME, str(self._layout), self._packs).rules
            changed = [at for at, id_ in enumerate(self._ids) if id_ and found[at].id != id_]
            if not changed:
                return
            self._layout.set(self._layout.rules()[changed[0]], "id", self._ids[changed[0]])
