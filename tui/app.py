"""The screen: a client of the gateway's control socket, and a process of its own."""

from __future__ import annotations

import locale
import os
import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.app import App
from textual.binding import Binding, BindingType

from firewall.control import AsyncClient, NoGateway
from firewall.text import inert
from tui import glyphs, link
from tui.feed import Feed
from tui.pulse import Pulse
from tui.screens.live import Live
from tui.screens.page import Page
from tui.theme import THEME
from tui.widgets.header import Header

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from textual.screen import Screen

    from firewall.control import Refused, Reply
    from firewall.episode import Episode

DRAW_SECONDS: Final = 0.1  # however much happens, rows are drawn ten times a second
HEADER_SECONDS: Final = 0.5
KEY_NAMES: Final = {"enter": "enter", "slash": "/", "question_mark": "?", "escape": "esc"}


def _history() -> Screen[None]:
    from tui.screens.history import History  # noqa: PLC0415  the first frame does not wait for it

    return History()


def _rules() -> Screen[None]:
    from tui.screens.rules import Rules  # noqa: PLC0415  the first frame does not wait for it

    return Rules()


class Consentry(App[None]):
    """`lab`: leaving ends the lab as well, which is its starter's business."""

    TITLE = "consentry"
    CSS_PATH = "consentry.tcss"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {"live": Live, "history": _history, "rules": _rules}
    DEFAULT_MODE = "live"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "switch_mode('live')", show=False),
        Binding("3", "switch_mode('history')", show=False),
        Binding("4", "switch_mode('rules')", show=False),
        Binding("question_mark", "help", "help"),
        Binding("ctrl+c", "quit", show=False, priority=True),
    ]

    def __init__(self, socket: Path, *, lab: bool, look: glyphs.Glyphs = glyphs.UNICODE) -> None:
        super().__init__()
        self.socket = socket
        self.lab = lab
        self.glyphs = look
        self.pulse = Pulse(time.time())
        self.feed = Feed()
        self.leaving = "ends the lab" if lab else "leaves, the gate goes on"
        self.bind("q", "quit", description=self.leaving)
        self.register_theme(THEME)
        self.theme = THEME.name

    def on_mount(self) -> None:
        self.set_class(self.glyphs is glyphs.ASCII, "-ascii")
        self.run_worker(link.follow(self.socket, self))
        self.set_interval(DRAW_SECONDS, self._draw)
        self.set_interval(HEADER_SECONDS, self._draw_headers)

    async def ask(self, verb: str, **args: object) -> Reply:
        """Raises NoGateway or Refused. Has a connection of its own, so that it never waits behind the rows."""
        async with AsyncClient(self.socket) as client:
            return await client.ask(verb, **args)

    def why(self, error: NoGateway | Refused) -> str:
        """In words for the screen."""
        if isinstance(error, NoGateway):
            return inert(f"no gateway answers: {str(error).removeprefix(f'{self.socket}: ')}")
        return inert(str(error))

    def open_detail(self, episode: Episode | None) -> None:
        if episode is not None:
            from tui.screens.detail import Detail  # noqa: PLC0415  the first frame does not wait for it

            self.push_screen(Detail(episode))

    def action_help(self) -> None:
        if isinstance(self.screen, Page):
            from tui.screens.help import Help  # noqa: PLC0415  the first frame does not wait for it

            self.push_screen(Help(self.screen.MODE, self.screen.HELP))

    def get_key_display(self, binding: Binding) -> str:
        """Keys by words that every terminal can draw."""
        return binding.key_display or KEY_NAMES.get(binding.key, binding.key)

    # -- what the link tells (tui/link.py)

    def met(self) -> None:
        self.feed.restart()

    def heard(self, item: dict[str, Any]) -> None:
        if "episode" in item:
            self.feed.put(item["episode"])
        elif "status" in item:
            self.pulse.hear(item["status"], time.monotonic(), time.time())
            self._draw_headers()
        else:
            self.feed.skipped += item["skipped"]

    def lost(self, error: NoGateway | Refused) -> None:
        self.pulse.lose(self.why(error), time.time())
        self._draw_headers()

    # -- drawing

    def _draw(self) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, Page) and screen.is_mounted:
                screen.tick()

    def _draw_headers(self) -> None:
        for screen in self.screen_stack:
            for header in screen.query(Header):
                header.tick()


def main(socket: Path, *, lab: bool) -> int:
    """Show the gateway behind `socket` until the owner leaves. The exit status is 0 unless the screen has crashed."""
    locale.setlocale(locale.LC_CTYPE, "")
    look = glyphs.choose(locale.nl_langinfo(locale.CODESET), os.environ.get("TERM", ""))
    app = Consentry(socket, lab=lab, look=look)
    app.run()
    return app.return_code or 0
