"""What holds for every file. (The import contracts themselves are import-linter's, one step before pytest.)"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PACKAGES = ("rules", "firewall", "tui")
LINES = 450  # what one person reads in one sitting
LINES_OF_TESTS = 600  # a list of cases may be longer

# Standard library that does things instead of computing them: files, sockets, clocks, threads, processes, chance.
WORLD = frozenset({
    "asyncio", "concurrent", "ctypes", "fcntl", "http", "logging", "mmap", "multiprocessing", "os", "pathlib", "queue", "random",
    "secrets", "select", "selectors", "shutil", "signal", "socket", "socketserver", "sqlite3", "ssl", "subprocess", "tempfile",
    "threading", "time", "urllib",
})
VOCABULARY = frozenset({  # shapes, with at most a property or a `__str__`: whatever uses them tests them
    "rules/observation.py", "rules/problem.py", "rules/verdict.py",
    "firewall/commands.py", "firewall/episode.py", "firewall/events.py", "firewall/inputs.py",
})
PURE_THIRD_PARTIES = frozenset({  # QUIC's keys, HTTP/2, numbers in payloads, domains, edits of rules.toml
    "cryptography", "hpack", "phonenumbers", "publicsuffixlist", "tomlkit",
})


def modules(*places: str) -> list[str]:
    """Paths of Python files below `places`, relative to the project."""
    found = (path for place in places for path in (ROOT / place).rglob("*.py"))
    return sorted(str(path.relative_to(ROOT)) for path in found)


def pure_modules() -> list[str]:
    """The rules but for their store, and what the import contract calls the pure middle."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (middle,) = (contract["source_modules"] for contract in contracts if contract["name"].startswith("the pure middle"))
    found = set(modules("rules")) - {"rules/store.py"}
    for name in middle:
        path = name.replace(".", "/")
        found.update([f"{path}.py"] if (ROOT / f"{path}.py").exists() else modules(path))
    return sorted(found)


def mirrored_modules() -> list[str]:
    """Pure modules that do something."""
    doing = (path for path in pure_modules() if any(isinstance(node, ast.FunctionDef) for node in ast.walk(tree(path))))
    return [path for path in doing if path not in VOCABULARY]


def tree(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text("utf-8"), path)


def imported(module: ast.Module) -> Iterator[str]:
    """Top-level names of everything a module imports, wherever in it."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def texts() -> Iterator[Path]:
    """Every file of ours that a person reads, without what tools have made."""
    made = {".git", ".venv", "__pycache__", "results", "node_modules"}
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if path.is_file() and not made.intersection(parts) and not any(part.endswith("_cache") for part in parts):
            yield path


@pytest.mark.parametrize("path", modules(*PACKAGES))
def test_every_module_says_what_it_is_for(path: str) -> None:
    assert ast.get_docstring(tree(path)), f"{path} needs a docstring: one sentence for someone who opens it first"


@pytest.mark.parametrize("path", pure_modules())
def test_pure_modules_compute_and_do_nothing_else(path: str) -> None:
    allowed = (sys.stdlib_module_names - WORLD) | PURE_THIRD_PARTIES | {"rules", "firewall"}
    assert not set(imported(tree(path))) - allowed, f"{path} is pure: no I/O, no clock, no thread (docs/adr/0001)"


@pytest.mark.parametrize("path", mirrored_modules())
def test_tests_mirror_the_pure_modules(path: str) -> None:
    module = Path(path)
    name = module.parent.name if module.stem == "__init__" else module.stem
    mirror = "tests" / module.parent / f"test_{name}.py"
    assert (ROOT / mirror).exists(), f"{path} is tested in {mirror}"


@pytest.mark.parametrize("path", [*modules(*PACKAGES, "tests", "bench"), "consentry"])
def test_files_stay_readable(path: str) -> None:
    lines = (ROOT / path).read_text("utf-8").count("\n")
    most = LINES_OF_TESTS if path.startswith("tests/") else LINES
    assert lines <= most, f"{path} has {lines} lines: which of its concerns wants a file of its own?"


def test_deciding_needs_neither_the_gate_nor_the_screen_nor_a_loop() -> None:
    """In a process of its own, since this one has long loaded everything."""
    code = "import json, sys, rules.decide; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, timeout=30))
    assert "rules" in loaded
    assert not {"firewall", "tui", "textual", "click", "tomlkit", "dnslib", "asyncio", "sqlite3", "socket"}.intersection(loaded)


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the machine's configuration."""
    registry = re.compile(r"pypi\.|pythonhosted\.|registry\.npmjs|index-[u]rl")
    for path in texts():
        found = registry.search(path.read_text("utf-8", errors="replace"))
        assert not found, f"{path.relative_to(ROOT)} names {found and found[0]}"


def test_our_own_programs_are_never_looked_for_in_the_working_directory() -> None:
    """Root may stand in a folder of anybody's, with a `firewall` in it (python -P)."""
    for file in [*(ROOT / "firewall").rglob("*.py"), *(ROOT / "tui").rglob("*.py")]:
        assert not re.search(r'sys\.executable, "-m"|sys\.executable, "-c"', file.read_text("utf-8")), file
