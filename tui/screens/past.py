"""What the history itself says: who did what to the gate, and whether its rows are as they were sealed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from textual import work
from textual.containers import VerticalScroll
from textual.content import Content

from firewall.control import NoGateway, Refused
from firewall.text import inert
from tui.format import count, moment
from tui.screens.box import Box

if TYPE_CHECKING:
    from firewall.control import Reply

MOST_NOTES = 500


class Told(Box):
    """One verb's answer as a text."""

    VERB, ABOUT, WAITING = "", "", "asking the gateway"
    ARGS: dict[str, int] = {}

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).border_title = self.ABOUT
        self.show(Content(self.WAITING))
        self.look()

    @work
    async def look(self) -> None:
        try:
            reply = await self.gate.ask(self.VERB, **self.ARGS)
        except (NoGateway, Refused) as error:
            self.show(Content.assemble((self.gate.why(error), "$error")))
        else:
            self.show(self.told(reply))

    def told(self, reply: Reply) -> Content:
        raise NotImplementedError


class Notes(Told):
    VERB, ABOUT = "history.notes", "who did what to the gate"
    ARGS = {"limit": MOST_NOTES}

    def told(self, reply: Reply) -> Content:
        now = time.time()
        lines = [
            Content.assemble(
                (f"{moment(note['at'], now):<10}", "$muted"), f"{inert(note['kind']):<9}", inert(note["text"]),
                (f"  {inert(note['who'])}" if note["who"] else "", "bold"),
            )
            for note in reply.items
        ]
        return Content("\n").join(lines or [Content("Nothing was done yet: edits, modes and troubles are noted here.")])


class Verified(Told):
    VERB, ABOUT, WAITING = "history.verify", "is the history as it was written?", "hashing all rows; this can take long"

    def told(self, reply: Reply) -> Content:
        done: dict[str, Any] = reply.done
        now = time.time()
        lines = [
            Content.assemble(
                (f"BROKEN  seal {link['seal']}, {moment(link['minute'], now)}: ", "$error bold"), inert(link["what"])
            )
            for link in done["broken"]
        ]
        if not lines:
            lines.append(Content.assemble(("The chain is whole.", "$success bold")))
        lines.append(Content(
            f"{count(done['minutes'], 'seal')}; the rows of {done['forgotten']} are forgotten; "
            f"{count(done['unsealed'], 'row is', 'rows are')} too new to be sealed."
        ))
        if not done["complete"]:
            lines.append(Content("Rows of an older version are still being moved; they are sealed afterwards."))
        if done["seal"]:
            lines.append(Content(f"Newest seal: {inert(done['seal'])}"))
        return Content("\n").join([*lines, Content(""), Content(inert(done["says"]))])
