"""The text of rules.toml in pieces that belong together: a table with the comments that stand right above it.

Put together again they are the text, byte for byte. A rule that moves takes its comments along; the head of the file,
blank lines and comments that stand by themselves stay where they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import tomlkit

_STRING: Final = re.compile(
    r'("""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*')" r"|(#[^\n]*)", re.DOTALL
)
_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")
_HEADER: Final = re.compile(r"""[ \t]*(\[\[?)[ \t]*["']?([A-Za-z0-9_-]+)["']?[ \t]*\]""")
RULE, PACKS = "[[rule", "[packs"


class Unwritable(ValueError):  # noqa: N818  a state of the file, not a mistake
    """The file is right, and written in a way that is not changed here; says which, and what to write instead."""


@dataclass(slots=True)
class Piece:
    """`core`: comments right above, header, keys. `gap`: what stands between it and the next, or the end."""

    kind: str  # the header as "[[rule" or "[packs"
    core: str
    gap: str = ""


@dataclass(slots=True)
class Layout:
    """Of a text that tomllib has read."""

    head: str
    pieces: list[Piece] = field(default_factory=list)
    newline: str = "\n"

    @classmethod
    def of(cls, text: str) -> Layout:
        lines: list[str] = _LINE.findall(text)
        kinds = _kinds(text)
        layout = cls("", newline="\r\n" if lines and lines[0].endswith("\r\n") else "\n")
        headers = [at for at, kind in enumerate(kinds) if kind == "header"]
        starts = [_start(at, kinds) for at in headers]
        layout.head = "".join(lines[: starts[0]] if starts else lines)
        for header, start, after in zip(headers, starts, [*starts[1:], len(lines)], strict=False):
            end = max(at for at in range(header, after) if kinds[at] in {"header", "code"}) + 1
            while end < after and kinds[end] == "comment":
                end += 1
            found = _HEADER.match(lines[header])
            kind = found[1] + found[2] if found else ""
            layout.pieces.append(Piece(kind, "".join(lines[start:end]), "".join(lines[end:after])))
        return layout

    def __str__(self) -> str:
        parts = [_line(self.head, self.newline) if self.head and self.pieces else self.head]
        for piece in self.pieces:
            core, gap = piece.core, piece.gap
            last = piece is self.pieces[-1]
            if gap or not last:
                core = _line(core, self.newline)
            if not gap and not last and core.rstrip().rpartition("\n")[2].lstrip().startswith("#"):
                gap = self.newline  # else its last comment would be taken for the next one's
            parts += [core, gap]
        return "".join(parts)

    # -- rules -------------------------------------------------------------------------------------------------------

    def rules(self) -> list[Piece]:
        return [piece for piece in self.pieces if piece.kind == RULE]

    def insert(self, at: int, core: str) -> None:
        """A rule in front of the one at `at` (from 0), or behind the last."""
        new = Piece(RULE, core.replace("\n", self.newline), self.newline)
        rules = self.rules()
        if at < len(rules):
            place = _index(self.pieces, rules[at])
            if place == 0 and self.head.strip() and not _ends_blank(self.head):
                self.head = _line(self.head, self.newline) + self.newline
        elif rules:
            last = rules[-1]
            place = _index(self.pieces, last) + 1
            new.gap, last.gap = last.gap, self.newline
        else:
            place = 0
            if self.head.strip() and not _ends_blank(self.head):
                self.head = _line(self.head, self.newline) + self.newline
            new.gap = self.newline if self.pieces else ""
        self.pieces.insert(place, new)

    def move(self, at: int, to: int) -> None:
        rules = self.rules()
        cores = [piece.core for piece in rules]
        cores.insert(to, cores.pop(at))
        for piece, core in zip(rules, cores, strict=True):
            piece.core = core

    def remove(self, at: int) -> None:
        """With its own comments; one of the gaps around it goes as well."""
        piece = self.rules()[at]
        place = _index(self.pieces, piece)
        del self.pieces[place]
        before = self.pieces[place - 1].gap if place else self.head
        gap = piece.gap
        if not before or _ends_blank(before):
            gap = re.sub(r"\A(?:[ \t]*\r?\n)+", "", gap)
        if place:
            self.pieces[place - 1].gap = before + gap
        else:
            self.head = before + gap

    # -- keys --------------------------------------------------------------------------------------------------------

    def set(self, piece: Piece, key: str, value: object) -> None:
        """Give a key of this table a value; None takes the key away. Comments on its line stay with it."""
        document = tomlkit.parse(piece.core)
        table = document[piece.kind.strip("[")]
        if piece.kind == RULE:
            table = table[0]
        assert isinstance(table, dict)
        if value is None:
            if key in table:
                held: Any = table
                comment: str = held.item(key).trivia.comment
                table.pop(key)
                piece.core = self._own(tomlkit.dumps(document))
                if comment:  # it was its owner's: on a line of its own it stays
                    piece.core = _line(piece.core, self.newline) + comment + self.newline
            return
        written = literal(value) if isinstance(value, str) else tomlkit.item(value)
        if key in table:
            table[key] = written
            piece.core = self._own(tomlkit.dumps(document))
        else:
            lines: list[str] = _LINE.findall(piece.core)
            last = max(at for at, kind in enumerate(_kinds(piece.core)) if kind in {"header", "code"})
            lines[last] = _line(lines[last], self.newline)
            lines.insert(last + 1, f"{key} = {written.as_string()}{self.newline}")
            piece.core = "".join(lines)

    def _own(self, text: str) -> str:
        return re.sub(r"(?<!\r)\n", "\r\n", text) if self.newline == "\r\n" else text


def literal(text: str) -> tomlkit.items.String:
    """As a person would write it: in single quotes if there are double ones inside."""
    plain = '"' in text and "'" not in text and text.isprintable()
    return tomlkit.string(text, literal=plain)


def _kinds(text: str) -> list[str]:
    """Of each line: blank, comment, header or code, whatever its strings look like."""
    bare = _STRING.sub(lambda found: re.sub(r"[^\n]", "_" if found[1] else "#", found[0]), text)
    kinds = []
    depth = 0
    for line in _LINE.findall(bare):
        words = line.strip()
        if depth == 0 and words.startswith("["):
            kinds.append("header")
            continue
        kinds.append("blank" if not words else "comment" if words[0] == "#" else "code")
        depth += line.count("[") + line.count("{") - line.count("]") - line.count("}")
    return kinds


def _start(header: int, kinds: list[str]) -> int:
    while header and kinds[header - 1] == "comment":
        header -= 1
    return header


def _index(pieces: list[Piece], piece: Piece) -> int:
    return next(at for at, one in enumerate(pieces) if one is piece)


def _line(text: str, newline: str) -> str:
    return text if text.endswith("\n") else text + newline


def _ends_blank(text: str) -> bool:
    """Whether its last line is empty."""
    return bool(re.search(r"(?:\A|\n)[ \t]*\r?\n\Z", text))
