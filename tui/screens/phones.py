"""The phones: who they are, what they did today, and what their owner says of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import work
from textual.binding import Binding, BindingType
from textual.content import Content

from firewall.control import NoGateway, Refused
from firewall.text import inert
from tui import filtering
from tui.format import count, cut, moment
from tui.offers import term
from tui.screens.prompted import Prompted
from tui.widgets.phone_table import TODAY, PhoneTable, watched

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rules.row_filter import Row

SOME: Final = 5  # phones that are called by their names in a sentence
FRESH_SECONDS: Final = 3.0  # phones are asked for again after this
DID: Final = {"allow": "allowed", "ask": "asked", "block": "blocked", "watch": "would be refused"}
WATCH_ALL: Final = (
    "Watch the whole gate: from then on nothing is blocked, but for phones set to enforce; what would be refused "
    "passes, and is noted. What phones send each other stays refused."
)
ENFORCE_ALL: Final = "Enforce on the whole gate: what the rules refuse is blocked again, but for phones set to watch."


class Phones(Prompted):
    MODE = "phones"
    HELP = """\
Every phone that has spoken since the gate knows it, and its tries of today: allowed, asked, blocked, and watched \
(would be refused, and passes). A bar is measured against the phone with most of it.
A phone that nobody has named (amber) is unknown: it is of group strict, whose traffic is asked by default. n gives \
it a name; p puts it into a group, which rules can speak of: allow group:home service:ID.
random: the phone invents its hardware address and may come back as another one. Switch that off for this network in \
the phone, or let j join the newcomer to the phone it is: what it was called is then gone, its history stays.
w watches this phone or enforces on it again; W does so for the whole gate. While watched, nothing is blocked but \
what phones send each other.
enter shows what a phone did in the last 24 hours, by service. x forgets a phone: it is unknown when it comes back.
space marks a row; enter, p, w, j and x are then for all that are marked, and esc lets go of them.
/ narrows the list: phone:NAME  group:NAME  addr:10.0.0.0/8 (its own address)  last:1h, and any word of its row or of \
what stands below: a maker, a MAC in quotes, watch, unknown. A leading - means not; esc shows all."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "name", "name"),
        Binding("p", "group", "group"),
        Binding("w", "watch", "watch"),
        Binding("W", "watch_all", "all", key_display="W"),
        Binding("j", "join", "join"),
        Binding("x,delete", "forget", "forget", key_display="x"),
        Binding("u", "undo", show=False),  # of rules; the line of keys has to fit 80 cells
        Binding("slash", "filter", show=False),
        Binding("escape", "back", show=False),
    ]
    ACTS: ClassVar[frozenset[str]] = frozenset({"name", "group", "watch", "watch_all", "join", "forget"})
    TERMS = filtering.PHONES
    table: PhoneTable

    def __init__(self) -> None:
        super().__init__()
        self.table = PhoneTable(self.gate.glyphs)
        self._read_at = 0.0
        self._told_mode = ""  # the gate's, when the rows were told: they never contradict the header

    @property
    def gate_mode(self) -> str:
        return str(self.gate.pulse.last_known.get("mode", "enforce"))

    def row(self, told: dict[str, Any]) -> Row:
        return filtering.of_phone(told, "watch" if watched(told, self.gate_mode) else "enforce")

    # -- what stands

    def tick(self) -> None:
        if self.gate_mode != self._told_mode or time.monotonic() - self._read_at > FRESH_SECONDS:
            self.read()

    @work(exclusive=True, group="read")
    async def read(self) -> None:
        self._read_at, self._told_mode = time.monotonic(), self.gate_mode
        try:
            phones = (await self.gate.ask("phones")).items
        except (NoGateway, Refused) as error:
            self.table.tell([], self.gate_mode)
            self.tell(Content(""), self.gate.why(error))
            return
        self.table.tell(phones, self.gate_mode)
        unknown = sum(not phone["named"] for phone in phones)
        strangers = f", {unknown} unknown: n names" if unknown else ""
        style = "$warning" if unknown else "$muted"
        lesson = f"No phone has joined yet. Connect one to {self.gate.pulse.network}; it then stands here."
        self.tell(Content.assemble((f"{count(len(phones), 'phone')}{strangers}", style)), lesson)

    def on_table_pointed(self) -> None:
        phone = self.table.pointed
        width = max(20, self.size.width - 2)
        told = self.marks(width)
        if told is None:
            told = Content("") if phone is None else in_full(phone, self.gate_mode, width)
        self.in_full.update(told)
        self.refresh_bindings()

    def called(self, row: dict[str, Any]) -> str:
        return inert(row["name"])

    def with_marked(self) -> str:
        word = "watches" if self._to_watch(self.table.marked) == "watch" else "enforces on"
        return f"enter what they did   p group   w {word} them   j join   x forget"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A name is for one."""
        return not (action == "name" and self.table.marked) and super().check_action(action, parameters)

    def on_table_opened(self) -> None:
        if chosen := self.chosen():
            self.gate.open_history(f"{term('phone', *names(chosen))} last:24h", "service")

    # -- acts

    def action_name(self) -> None:
        if chosen := self._asked():
            (name,) = chosen
            words = f"Call {inert(name)}: no quotes, commas or colons. Rules of yours that name it follow."
            self.prompt.ask(words, name, lambda text: self.act("phones.set", chosen, name=text))

    def action_group(self) -> None:
        if chosen := self._asked():
            groups = sorted({one["group"] for one in self.table.told} | {"home", "strict"})
            known = ", ".join(map(inert, groups))
            words = f"Put {listed(chosen)} into a group. Known: {known}; another word makes one."
            self.prompt.ask(words, "", lambda text: self.act("phones.set", chosen, group=text), groups)

    def action_join(self) -> None:
        if chosen := self._asked():
            others = [one["name"] for one in self.table.told if one["name"] not in chosen]
            its, name = ("Their", "these names go") if len(chosen) > 1 else ("Its", "this name goes")
            are = "are" if len(chosen) > 1 else "is"
            words = f"{listed(chosen)} {are} really which phone? {its} addresses become that phone's; {name} for good."
            self.prompt.ask(words, "", lambda text: self.act("phones.join", chosen, into=text), others)

    def action_forget(self) -> None:
        if chosen := self._asked():
            if len(chosen) > 1:
                words = "their names, groups and modes go for good, their history stays. One that comes back is unknown"
            else:
                words = "its name, group and mode go for good, its history stays. If it comes back it is unknown"
            words = f"Forget {listed(chosen)}: {words}, of group strict."
            self.prompt.confirm(words, lambda _: self.act("phones.forget", chosen))

    def action_watch(self) -> None:
        """Several become alike: watched, unless all of them are."""
        if chosen := self.chosen():
            wanted = self._to_watch(chosen)
            self.act("phones.set", names(chosen), mode="" if wanted == self.gate_mode else wanted)

    def _to_watch(self, phones: Iterable[dict[str, Any]]) -> str:
        return "enforce" if all(watched(phone, self.gate_mode) for phone in phones) else "watch"

    def action_watch_all(self) -> None:
        watching = self.gate_mode == "watch"
        self._make_room()
        self.prompt.confirm(
            ENFORCE_ALL if watching else WATCH_ALL,
            lambda _: self.act("mode", [], mode="enforce" if watching else "watch"),
        )

    def _asked(self) -> list[str]:
        """The names of the phones that are meant, and room to ask about them."""
        chosen = names(self.chosen())
        if chosen:
            self._make_room()
        return chosen

    def _make_room(self) -> None:
        self.in_full.display = False
        self.call_after_refresh(self.refresh_bindings)

    @work(group="act")
    async def act(self, verb: str, phones: list[str], **args: str) -> None:
        """One after the other; what the gate refuses is said, and does not keep the others."""
        done, became, troubles = [], dict[str, Any](), []
        for phone in phones or [""]:
            about = {"phone": phone} if phone else {}
            try:
                became = (await self.gate.ask(verb, **about, **args)).done
            except (NoGateway, Refused) as error:
                troubles.append(self.gate.why(error))
            else:
                done.append(phone)
        said = [self._outcome(verb, done, args, became)] if done else []
        self.table.unmark()
        self.gate.say("; ".join((*said, *dict.fromkeys(troubles))), trouble=bool(troubles))
        self.read()

    def _outcome(self, verb: str, phones: list[str], args: dict[str, str], done: dict[str, Any]) -> str:
        """`done`: what the last of them is now."""
        who, is_ = listed(phones), "are" if len(phones) > 1 else "is"
        match verb:
            case "mode":
                if args["mode"] == "watch":
                    return "watching: nothing is blocked but phone to phone"
                return "enforcing: the rules block again"
            case "phones.forget":
                return f"{who} {is_} forgotten"
            case "phones.join":
                return f"{who} {is_} {inert(args['into'])} now"
        if "name" in args:
            return f"{who} {is_} called {inert(done['name'])} now, of group {inert(done['group'])}"
        if "group" in args:
            return f"{who} {is_} of group {inert(done['group'])} now"
        if watched(done, self.gate_mode):
            return f"{who} {is_} watched: nothing of {'them' if len(phones) > 1 else 'it'} is blocked; w enforces again"
        return f"enforcing on {who}: the rules block again"


def names(phones: Iterable[dict[str, Any]]) -> list[str]:
    return [phone["name"] for phone in phones]


def listed(phones: list[str]) -> str:
    """In a sentence, inert."""
    most = ", ".join(map(inert, phones[:SOME]))
    return f"{most} and {len(phones) - SOME} others" if len(phones) > SOME else most


def in_full(phone: dict[str, Any], gate_mode: str, width: int) -> Content:
    """Four lines: who; where; since when; what today, and what the keys would do."""
    now = time.time()
    known = "" if phone["named"] else "  unknown: nobody has named it, so what it wants is asked. n names it"
    whose = "set for this phone" if phone["mode"] else "as the gate"
    mode = "watched, nothing of it is blocked" if watched(phone, gate_mode) else "enforced"
    made = "invents its address (random): may come back as another" if phone["random"] else inert(phone["vendor"])
    if phone.get("host"):
        made = f"calls itself {inert(phone['host'])}, {made or 'maker unknown'}"
    where = "  ".join((*phone["addresses"], *phone["macs"]))
    today = ", ".join(f"{phone['today'].get(word, 0):,} {DID[word]}" for word in TODAY)
    times = f"first {moment(phone['first'], now)}, last {moment(phone['last'], now)}"
    head = Content.assemble((inert(phone["name"]), "bold"), f"  group {inert(phone['group'])}", (known, "$warning"))
    return Content("\n").join((
        head.truncate(width),
        Content.assemble((cut(f"{inert(where)}  {made or 'maker unknown'}", width), "$muted")),
        Content(cut(f"{mode} ({whose})   {times}{near(phone)}", width)),
        Content(cut(f"today: {today}", width)),
    ))


def near(phone: dict[str, Any]) -> str:
    """Whether it is joined to our access point; "" where there is none, or it is away."""
    if not phone.get("joined"):
        return ""
    return "   joined" if phone["signal"] is None else f"   joined, {phone['signal']} dBm"
