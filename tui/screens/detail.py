"""Everything that is known about an episode, and what the rules would say of it now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from firewall.control import NoGateway, Refused
from tui import story
from tui.format import endpoint
from tui.screens.box import Box

if TYPE_CHECKING:
    from firewall.episode import Episode


class Detail(Box):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "act('allow')", "allow"),
        Binding("b", "act('block')", "block"),
        Binding("c", "consent", "consent"),
    ]

    def __init__(self, episode: Episode) -> None:
        super().__init__()
        self._episode = episode

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).border_title = "everything known"
        self.show(story.everything(self._episode, "asking the gateway", self.gate.glyphs))
        self.explain()

    def action_act(self, action: str) -> None:
        self.gate.act_on((self._episode,), action)

    def action_consent(self) -> None:
        self.gate.consent_on((self._episode,), "detail")

    @work
    async def explain(self) -> None:
        episode = self._episode
        about: dict[str, Any] = {"phone": episode.phone, "what": endpoint(episode.name or episode.dst, episode.dport)}
        if episode.proto != "dns":  # a question that was refused: nobody knows what would have followed it
            about["proto"] = episode.proto
        now = await self._told(**about)
        then: dict[str, Any] | str = {}
        if isinstance(now, dict) and episode.rule and now.get("revision") != episode.revision:
            then = await self._told(**about, revision=episode.revision, rule=episode.rule)
        self.show(story.everything(episode, now, self.gate.glyphs, then))

    async def _told(self, **args: object) -> dict[str, Any] | str:
        """The gateway's answer, or why there is none."""
        try:
            return (await self.gate.ask("explain", **args)).done
        except (NoGateway, Refused) as error:
            return f"the gateway cannot say: {self.gate.why(error)}"
