"""The wizard of `consentry setup`: one screen of questions, and below it what will be done and why, or what is missing.

A program of its own (`python -m tui.setup FOUND ANSWERS`): it gets what was found on the box as a file, and leaves the
answers as one; without answers nothing is changed. The same `choose` that the flags go through says what they mean.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Footer, Input, Select, Static

from firewall.box.choose import SSID, Found, Radio, choose, wishes_from
from firewall.box.plan import AP, INLINE, ONE_ARMED, PlanError, parse
from firewall.text import inert
from tui.theme import THEME

if TYPE_CHECKING:
    from collections.abc import Iterable

AUTO: Final = ""
MODES: Final = (
    ("choose by what this box has", AUTO),
    ("access point: the phones join this box's Wi-Fi", AP),
    ("inline: an access point is plugged into a second wire", INLINE),
    ("one-armed: beside an access point, on the same wire", ONE_ARMED),
)
SECURITIES: Final = (
    ("what the radio can", AUTO), ("WPA3, and WPA2 for phones that cannot", "wpa3-transition"),
    ("WPA3 only", "wpa3"), ("WPA2 only", "wpa2"),
)
BEGIN: Final = (
    ("watch: all passes but phone to phone, and is noted", "watch"),
    ("enforce: refuse from the first packet", "enforce"),
)
SERVICE: Final = (("by hand: sudo consentry run", "no"), ("with the machine, by systemd", "yes"))
ROWS: Final = (  # id, label, whether only an access point has it
    ("mode", "this box is", False), ("radio", "phones are at", False), ("uplink", "internet at", False),
    ("ssid", "network name", True), ("country", "country", True), ("channel", "channel", True),
    ("security", "security", True), ("begin", "it begins to", False), ("service", "it starts", False),
)


class Setup(App[dict[str, Any]]):
    """Returns the answers; None if its owner leaves."""

    TITLE = "consentry setup"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: $background; color: $foreground; }
    #title { height: 1; background: $panel; padding: 0 1; text-style: bold; }
    .row { height: 1; padding: 0 1; }
    .row > Static { width: 15; color: $muted; }
    .row > Select { width: 1fr; }
    .row > Input { width: 1fr; background: $surface; }
    .row > Input:focus { background: $panel; }
    #what { height: 1fr; border-top: solid $line; padding: 0 1; scrollbar-size-vertical: 1; }
    #go { margin: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "go", "set it up", priority=True),
        Binding("tab", "app.focus_next", "next", show=True),
        Binding("escape", "leave", "leave, nothing changes", priority=True),
    ]

    def __init__(self, found: Found, before: dict[str, Any]) -> None:
        super().__init__()
        self._found, self._before = found, before
        self._stands = parse(before["plan"]) if "plan" in before else None
        self.register_theme(THEME)
        self.theme = THEME.name

    def compose(self) -> ComposeResult:
        yield Static(" This box becomes the phones' gateway", id="title", markup=False)
        with Vertical():
            for name, label, _ in ROWS:
                with Horizontal(classes="row", id=f"row-{name}"):
                    yield Static(label, markup=False)
                    yield self._field(name)
            yield Button("Set it up", id="go", compact=True, action="app.go")
            with VerticalScroll(id="what", can_focus=False):
                yield Static(id="said", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self._look()

    def _field(self, name: str) -> Input | Select[str]:
        before = str(self._before.get(name, ""))
        if name in {"ssid", "country"}:
            there = before or {"ssid": SSID, "country": self._found.country}[name]
            hint = "two letters, like DE: its law says which channels may be used" if name == "country" else ""
            return Input(there, placeholder=hint, id=name, compact=True, max_length=2 if name == "country" else 32)
        options = [(Content(label), value) for label, value in self._options(name)]
        chosen = before if before in {value for _, value in options} else options[0][1]
        return Select(options, value=chosen, allow_blank=False, compact=True, id=name)

    def _options(self, name: str) -> Iterable[tuple[str, str]]:
        found = self._found
        match name:
            case "mode":
                return MODES
            case "radio":
                radios = [(inert(f"{one.name}: {one.words}"), one.name) for one in found.radios]
                return [("choose", AUTO), *radios, *((f"{name}: a wire", name) for name in found.wired)]
            case "uplink":
                has = f", now {found.uplink}" if found.uplink else ", nobody now"
                return [(f"whoever has the default route{has}", AUTO), *((name, name) for name in found.wired)]
            case "channel":
                usable: dict[tuple[str, int], None] = {}
                for radio in found.radios:
                    usable |= dict.fromkeys((band, one) for band, those in radio.channels.items() for one in those)
                told = [(f"{one} of {band} GHz", f"{band}/{one}") for band, one in usable]
                return [("a usual one", AUTO), *told]
            case "security":
                return SECURITIES
            case "begin":
                return BEGIN
        return SERVICE

    # -- what it means -----------------------------------------------------------------------------------------------

    @property
    def answers(self) -> dict[str, Any]:
        """As `consentry setup` understands them: the words of Wishes, and "service"."""
        told: dict[str, Any] = {word: self.query_one(f"#{word}", Input).value.strip() for word in ("ssid", "country")}
        for name in ("mode", "radio", "uplink", "security", "channel", "begin", "service"):
            told[name] = str(self.query_one(f"#{name}", Select).value)
        band, _, channel = told.pop("channel").partition("/")
        if channel:
            told |= {"band": band, "channel": int(channel)}
        told["watch"] = told.pop("begin") == "watch"
        told["service"] = told["service"] == "yes"
        return told

    def on_input_changed(self) -> None:
        self._look()

    def on_select_changed(self) -> None:
        self._look()

    def _look(self) -> None:
        said = self.query_one("#said", Static)
        try:
            choice = choose(self._found, wishes_from(self.answers), bytes, self._stands)
        except PlanError as error:
            said.update(Content.assemble(("not yet: ", "$warning bold"), inert(str(error))))
            self.query_one("#go", Button).disabled = True
            self._show_rows(wifi=self.answers["mode"] in {AUTO, AP})
            return
        self.query_one("#go", Button).disabled = False
        self._show_rows(wifi=choice.plan.mode == AP)
        kept = "; the passphrase stays as it is"
        if not self._before.get("ssid"):
            kept = "; a new passphrase is shown at the end"
        six = str(choice.plan.subnet6)
        new = self._stands is None or str(self._stands.subnet6) != six
        told = (why.replace(six, "a random IPv6 one") if new else why for why in choice.why)
        lines = [*map(inert, told), f"ctrl+s sets it up{kept if choice.plan.wifi else ''}"]
        said.update(Content("\n").join(Content(f"· {line}") for line in lines))

    def _show_rows(self, *, wifi: bool) -> None:
        for name, _, only in ROWS:
            self.query_one(f"#row-{name}").display = wifi or not only

    def action_go(self) -> None:
        if not self.query_one("#go", Button).disabled:
            self.exit(self.answers)

    def action_leave(self) -> None:
        self.exit(None)


def found_from(told: dict[str, Any]) -> Found:
    """As JSON has brought it."""
    lists = {word: tuple(told[word]) for word in ("wired", "taken", "managers", "links")}
    radios = tuple(
        Radio(**one | {"channels": {band: tuple(those) for band, those in one["channels"].items()}})
        for one in told["radios"]
    )
    return Found(radios, uplink=told["uplink"], country=told["country"], **lists)


def main(found: Path, answers: Path) -> int:
    """Exit status 1: its owner left."""
    told = json.loads(found.read_text("utf-8"))
    result = Setup(found_from(told["found"]), told["before"]).run()
    if result is None:
        return 1
    answers.write_text(json.dumps(result), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
