"""Where things stand in a TOML text: tomllib does not tell, so the text is looked through again when it matters."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property
from typing import Final

_STRING_OR_COMMENT: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'" r"|#[^\n]*", re.DOTALL
)
_HEADER: Final = re.compile(r"^[ \t]*\[\[[ \t]*rule[ \t]*\]\]", re.MULTILINE)
_OPENING: Final = re.compile(r'"""\n?|\'\'\'\n?|"|\'|')
_CONTINUED: Final = re.compile(r"(?:\\[ \t]*\n\s*)*")  # a line that ends in a backslash goes on without the break
_CHARACTER: Final = re.compile(r"\\(?:u.{4}|U.{8}|.)|.", re.DOTALL)  # as TOML 1.0 writes it in "..."


class Places:
    """Of a text that tomllib has read. Lines and columns count from 1; (0, 0) stands for the file as a whole."""

    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")

    def top(self, key: str) -> int:
        """The line of a key or table outside of all rules; 0 if it cannot be found."""
        found = re.search(rf"^[ \t]*\[*[ \t]*{re.escape(key)}\b", self._bare, re.MULTILINE)
        return self._place(found.start())[0] if found else 0

    def value(self, rule: int, key: str, offset: int = 0) -> tuple[int, int]:
        """The value of a key of the rule (counted from 0), `offset` characters into it; its header if there is none."""
        if rule >= len(self._headers):
            return 0, 0
        begin = self._headers[rule]
        end = self._headers[rule + 1] if rule + 1 < len(self._headers) else len(self._bare)
        found = re.compile(rf"^[ \t]*{re.escape(key)}[ \t]*=[ \t]*", re.MULTILINE).search(self._bare, begin, end)
        return self._place(self._into(found.end(), offset)) if found else (self._place(begin)[0], 0)

    def packs(self, key: str, word: str = "") -> tuple[int, int]:
        """A key under [packs], and the word in its list; the line of [packs] if it is written in another way."""
        header = re.search(r"^[ \t]*\[[ \t]*packs[ \t]*\]", self._bare, re.MULTILINE)
        if header is None:
            return self.top("packs"), 0
        found = re.compile(rf"^[ \t]*{re.escape(key)}[ \t]*=", re.MULTILINE).search(self._bare, header.end())
        if found is None:
            return self._place(header.start())[0], 0
        quoted = re.compile(rf"([\"']){re.escape(word)}\1").search(self._text, found.end()) if word else None
        return self._place(quoted.start() + 1 if quoted else found.start())

    @cached_property
    def _bare(self) -> str:
        """The text, as long as it is, with nothing in its strings and comments that could be taken for a key."""
        return _STRING_OR_COMMENT.sub(lambda found: re.sub(r"[^\n]", "_", found[0]), self._text)

    @cached_property
    def _headers(self) -> list[int]:
        return [found.start() for found in _HEADER.finditer(self._bare)]

    @cached_property
    def _lines(self) -> list[int]:
        """Where each line begins."""
        return [0, *(found.end() for found in re.finditer("\n", self._text))]

    def _place(self, at: int) -> tuple[int, int]:
        line = bisect_right(self._lines, at)
        return line, at - self._lines[line - 1] + 1

    def _into(self, at: int, offset: int) -> int:
        """Where in the text the character stands that is the string's at `offset`."""
        opening = _OPENING.match(self._text, at)
        assert opening is not None  # it matches everywhere
        if not opening[0]:
            return at
        at = opening.end()
        if opening[0][0] == "'":
            return at + offset
        for _ in range(offset):
            written = _CHARACTER.match(self._text, _continued(self._text, at))
            at = written.end() if written else at
        return _continued(self._text, at)


def _continued(text: str, at: int) -> int:
    found = _CONTINUED.match(text, at)
    return found.end() if found else at
