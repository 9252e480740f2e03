"""Rows of the history as a file: with the caller's rights, whole or not at all, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from firewall.control import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from firewall.control import Client

PAGE: Final = 2_000  # rows asked for at once
FORMS: Final = ("csv", "json", "jsonl")
COLUMNS: Final = (
    "id", "when", "first", "last", "phone", "group", "verdict", "name", "names", "dst", "dport", "proto", "via",
    "country", "operator_country", "asn", "organisation", "operator", "service", "rule", "reason", "revision", "count",
    "bytes_up", "bytes_down", "src", "consent", "signs",
)
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a spreadsheet may compute (OWASP, CSV injection)


class Pages:
    """Rows of one page after the other, until there are `limit`; `more` then says where to go on."""

    def __init__(self, client: Client, filter_text: str, limit: int | None, before: str | None = None) -> None:
        self._client = client
        self._filter = filter_text
        self._left = limit
        self.more = before

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while self._left is None or self._left > 0:
            page = PAGE if self._left is None else min(PAGE, self._left)
            reply = self._client.ask("history", filter=self._filter, limit=page, before=self.more)
            yield from reply.items
            self.more = reply.done["more"]
            if self._left is not None:
                self._left -= len(reply.items)
            if self.more is None:
                return


def write(rows: Iterable[dict[str, Any]], form: str, file: IO[str]) -> None:
    if form == "csv":
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for row in rows:
            table.writerow(map(_cell, map(_flat(row).get, COLUMNS)))
    elif form == "json":
        before = "[\n"
        for row in rows:
            file.write(before + json.dumps(row))
            before = ",\n"
        file.write("[]\n" if before == "[\n" else "\n]\n")
    else:
        for row in rows:
            file.write(json.dumps(row) + "\n")


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    names = " ".join(f"{name['source']}:{name['name']}" for name in row["names"])
    when = datetime.fromtimestamp(row["last"], UTC).isoformat(timespec="seconds")
    return {**row, **row.get("place", {}), "names": names, "when": when, "signs": " ".join(row.get("signs", ()))}


def _cell(value: object) -> object:
    """What a phone has said is text and never a formula."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value


@contextmanager
def begun(path: Path, *, force: bool, remedy: str = "choose another name") -> Iterator[IO[str]]:
    """A file that stands under its name only when all of it is written. Raises Refused."""
    if path.exists() and not force:
        raise Refused(f"{path} is there already; {remedy}")
    part = None
    try:
        number, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # for its owner alone
        with os.fdopen(number, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if force:
            Path(part).replace(path)
        else:
            path.hardlink_to(part)  # never over what came meanwhile
    except FileExistsError:
        raise Refused(f"{path} is there already; {remedy}") from None
    except OSError as error:
        raise Refused(f"{path} was not written: {error.strerror}") from None
    finally:
        if part is not None:
            with suppress(OSError):
                Path(part).unlink()


def form_of(path: str, chosen: str | None) -> str | None:
    """By the end of the name, unless it was chosen; None if neither says."""
    if chosen:
        return chosen
    suffix = Path(path).suffix.removeprefix(".").lower()
    return "jsonl" if path == "-" else suffix if suffix in FORMS else None


def counted(rows: Iterable[dict[str, Any]], every: int = 5_000) -> Iterator[dict[str, Any]]:
    """The same, with progress on a terminal's stderr."""
    shown = sys.stderr.isatty()
    for number, row in enumerate(rows, 1):
        if shown and number % every == 0:
            sys.stderr.write(f"\r{number} rows ... ")
            sys.stderr.flush()
        yield row
