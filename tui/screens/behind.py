"""The consent that let a flow through, and the key that takes it back."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content

from firewall.control import NoGateway, Refused
from tui import consenting
from tui.screens.box import Box

WIDEST = 76  # cells of text
SECONDS = 1.0


class Behind(Box):
    """`number`: the consent's."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("x,delete", "revoke", "revoke", key_display="x")]

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number
        self._consent: dict[str, Any] | None = None
        self._told_at = 0.0
        self._trouble = ""

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).border_title = f"consent {self._number}"
        self.show(Content("asking the gateway"))
        self.set_interval(SECONDS, self._draw)
        self.read()

    @work(exclusive=True, group="read")
    async def read(self) -> None:
        try:
            consents = (await self.gate.ask("consents", ended=True)).items
        except (NoGateway, Refused) as error:
            self._trouble = self.gate.why(error)
        else:
            self._consent = next((one for one in consents if one["id"] == self._number), None)
            self._told_at = time.monotonic()
            self._trouble = "" if self._consent else "the gateway does not remember this consent any more"
        self._draw()
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "revoke":
            return self._consent is not None and self._consent["state"] != consenting.ENDED
        return super().check_action(action, parameters)

    @work(exclusive=True, group="act")
    async def action_revoke(self) -> None:
        try:
            done = (await self.gate.ask("consents.revoke", id=self._number)).done
        except (NoGateway, Refused) as error:
            self._trouble = self.gate.why(error)
            self._draw()
            return
        self.dismiss()
        self.gate.stir()
        self.gate.say(self.gate.revoked(done), trouble=bool(done.get("trouble")))

    def _draw(self) -> None:
        lines = []
        if self._consent is not None:
            room = max(20, min(WIDEST, self.size.width - 6))
            passed = time.monotonic() - self._told_at
            lines = consenting.in_full(self._consent, passed, time.time(), room, self.gate.glyphs)
            if self._consent["state"] != consenting.ENDED:
                keys = "x revokes it now: its running flows are reset, the next try is refused and asked again"
                lines += [Content(""), Content.assemble((keys, "$muted"))]
        if self._trouble:
            lines.append(Content.assemble((self._trouble, "$error")))
        if lines:
            self.show(Content("\n").join(lines))
