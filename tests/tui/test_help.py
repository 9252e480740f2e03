"""Bindings, the line of keys, `?`, `consentry tui --help` and docs/tui.md tell the same."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from askkeeper import consent, question
from gatekeeper import rule
from textual.widgets import Static

from tui.screens.help import KEYS
from tui.widgets.tabs import PAGES

DOCS = (Path(__file__).parents[2] / "docs" / "tui.md").read_text("utf-8")
# What every list and every terminal has, and second keys for the same act
USUAL = re.compile(r"up|down|left|right|page(up|down)|home|end|insert|delete|(shift\+)?tab|ctrl\+.*|super\+.*|[1-6]|question_mark|q")
NAMES = {"slash": "/", "escape": "esc"}


def told(mode):
    """Key -> words, as `?` tells them; what shares words is told together: `J K down, up`."""
    found = {}
    for part in KEYS[mode].split("   "):
        keys = re.match(r"((?:enter|esc|space|/|[a-zA-Z])(?: |$))+", part)[0].split()
        words = part.split(" ", len(keys))[-1]
        assert words
        found |= dict.fromkeys(keys, words)
    return found


@pytest.fixture
def full(gate, phone, episode):
    """Every screen has a row to act on."""
    gate.rules = [rule(1, "k3f7", "block", "port:853", "mine"), rule(2, "xiaomi/1")]
    gate.phones = [phone(1, "phone1"), phone(2, "phone2")]
    gate.questions, gate.consents = [question(1)], [consent(7), consent(8, state="suspended"), consent(9, state="ended", why="its time is up")]
    return [episode(1, "a.example.com", verdict="ask")]


@pytest.mark.parametrize("mode", PAGES)
async def test_in_the_lab_the_line_of_keys_is_seen_whole_as_well(screen, full, mode):
    async with screen(*full, lab=True) as s:
        await s.press(PAGES[mode][0])
        await s.until(lambda: s.app.current_mode == mode and s.app.screen.focused is not None and s.app.screen.focused.pointed is not None)
        for _ in s.app.screen.focused.rows:
            await s.pilot.pause()
            assert s.lines[-1].rstrip().endswith("q ends")
            await s.press("down")


@pytest.mark.parametrize("mode", PAGES)
async def test_the_keys_that_work_are_those_that_help_tells(screen, full, mode):
    async with screen(*full) as s:
        await s.press(PAGES[mode][0])
        await s.until(lambda: s.app.current_mode == mode and s.app.screen.focused is not None and s.app.screen.focused.pointed is not None)
        keys = set()
        for _ in s.app.screen.focused.rows:
            await s.pilot.pause()
            keys |= s.app.screen.active_bindings.keys()
            assert s.lines[-1].rstrip().endswith("q quit")  # the line of keys is seen whole, in 80 cells
            await s.press("down")
        assert {NAMES.get(key, key) for key in keys if not USUAL.fullmatch(key)} == told(mode).keys()
        await s.press("question_mark")
        await s.shows(f"help: {PAGES[mode][2:]}")
        text = " ".join(" ".join(str(one.content) for one in s.app.screen.query(Static)).split())
        assert all(part in text for part in KEYS[mode].split("   "))


def test_the_docs_have_the_same_keys():
    for mode, title in PAGES.items():
        section = DOCS.split(f"\n## {title}\n")[1].split("\n## ")[0]
        rows = dict(re.findall(r"^\| ((?:`[^`]+` ?)+)\| (.*) \|$", section, re.MULTILINE))
        assert {key: words for keys, words in rows.items() for key in keys.replace("`", "").split()} == told(mode)


def test_the_command_line_tells_the_screens():
    done = subprocess.run([sys.executable, "-m", "firewall.cli", "tui", "--help"], capture_output=True, text=True, timeout=60, check=True)
    words = " ".join(done.stdout.split())
    assert all(title in words for title in PAGES.values())
    assert "? explains the screen" in words
    assert "q leaves" in words
