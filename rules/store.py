"""rules.toml and the packs: the one place of this package that reads files."""

from __future__ import annotations

import os
import stat
import tomllib
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from rules import owner
from rules.expression import parse_rule
from rules.matchers.name import parse_pattern
from rules.networks import parse_network
from rules.policy import Policy, compile_policy
from rules.problem import Problem, RuleError
from rules.rule import Pack, Rule
from rules.service import Entry, Service
from rules.verdict import Verdict

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from pathlib import Path

LARGEST: Final = 1 << 20  # bytes of a rules file
PACKS: Final = (  # in the order in which their rules are asked
    "baseline", "bypass", "xiaomi", "huawei", "samsung", "oppo-realme", "vivo", "tiktok", "cnnic-own",
    "cnnic-registered", "strict",
)


def load(path: Path | None, revision: int) -> Policy:
    """The owner's rules (none if the file does not exist) and all packs, compiled.

    Raises RuleError with every problem that was found; nothing is used then.
    """
    if path is None:
        return compiled("", "", revision)
    return compiled(path.name, decode(path.name, read(path)), revision)


def compiled(name: str, text: str, revision: int) -> Policy:
    """The policy that a rules file with this text makes. Raises RuleError."""
    packs = load_packs()
    owned = owner.read(name, text, packs)
    return compile_policy(owned.rules, owner.switched(packs, owned.on, owned.off), revision)


def load_packs() -> tuple[Pack, ...]:
    """What ships with Consentry. A pack that cannot be read is a fault of ours and raises."""
    folder = resources.files("rules") / "packs"
    return tuple(_pack(name, folder / f"{name}.toml") for name in PACKS)


# -- the owner's file --------------------------------------------------------------------------------------------------


def read(path: Path) -> bytes:
    """b"" if there is no such file. Raises RuleError if it cannot be read, or must not be trusted.

    Opened first and looked at then, so that it cannot become another file in between.
    """

    def wrong(message: str, remedy: str) -> RuleError:
        return RuleError((Problem(path.name, 0, 0, message, remedy),))

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
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
    return data


def decode(name: str, data: bytes) -> str:
    """Raises RuleError."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise RuleError((Problem(name, line, 0, "is not UTF-8", "save it as UTF-8"),)) from None


# -- packs -------------------------------------------------------------------------------------------------------------


def _pack(name: str, file: Traversable) -> Pack:
    document = tomllib.loads(file.read_text("utf-8"))
    date = document["date"]
    source = f"{name} {date[:7]}"
    services = tuple(_service(table) for table in document.get("service", ()))
    rules = tuple(
        Rule(
            f"{name}/{n}", Verdict(table["action"]), parse_rule(table["match"]), table["note"], source,
            table.get("enabled", not document.get("off", False)),
        )
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
