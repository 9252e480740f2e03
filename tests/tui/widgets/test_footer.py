from __future__ import annotations

import time

from judge import TooLate
from textual.app import App
from textual.binding import Binding
from textual.widgets._footer import FooterKey

from tui.widgets.footer import Footer


class Counting(Footer):
    made = 0

    async def recompose(self):
        self.made += 1
        await super().recompose()


class Host(App):
    BINDINGS = [Binding("a", "allow", "allow"), Binding("b", "block", "block"), Binding("n", "nothing", "nothing", show=False)]
    may: bool | None = True

    def compose(self):
        yield Counting()

    def check_action(self, action, parameters):
        return self.may if action == "block" else True

    async def shows(self, pilot, *keys):
        until = time.monotonic() + 30
        while [(key.description, key.has_class("-disabled")) for key in self.query(FooterKey)] != list(keys):
            if time.monotonic() > until:
                raise TooLate
            await pilot.pause(0.02)


async def test_keys_are_made_anew_only_when_they_are_others():
    app = Host()
    async with app.run_test() as pilot:
        await app.shows(pilot, ("allow", False), ("block", False))
        footer = app.query_one(Counting)
        for may, keys in ((None, [("allow", False), ("block", True)]), (False, [("allow", False)]), (True, [("allow", False), ("block", False)])):
            made = footer.made
            for _ in range(3):
                app.screen.refresh_bindings()
                await pilot.pause()
            app.may = may
            app.screen.refresh_bindings()
            await app.shows(pilot, *keys)
            assert footer.made == made + 1
